"""Hooks that turn Airflow Connections into the stores, the Hub client and the storages of include/."""
