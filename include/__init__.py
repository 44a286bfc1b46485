"""What datasets-server maintenance does, in plain Python without Airflow."""
