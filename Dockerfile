# The Airflow image without extra providers: the pinned lists name every package that is installed.
FROM apache/airflow:slim-3.3.2-python3.11

COPY requirements.txt requirements/containers.txt /requirements/
RUN pip install --no-cache-dir --requirement /requirements/requirements.txt --requirement /requirements/containers.txt

# The mount point of the directories to clean.
USER root
RUN install --directory --owner airflow --group root --mode 0775 /storage
USER airflow

COPY dags /opt/airflow/dags
COPY include /opt/airflow/include
COPY plugins /opt/airflow/plugins
ENV PYTHONPATH=/opt/airflow:/opt/airflow/plugins
