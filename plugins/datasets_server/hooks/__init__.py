"""Hooks: from an Airflow Connection to the stores, the Hub and the storages of include/."""
