"""How the actions of datasets-server maintenance run on Airflow: settings, hooks and operators."""
