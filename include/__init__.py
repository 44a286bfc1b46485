"""What datasets-server maintenance does, in plain Python: nothing below this package knows Airflow."""
