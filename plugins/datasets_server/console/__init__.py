"""The console: pages inside Airflow about the state of datasets-server, and what to do about it."""
