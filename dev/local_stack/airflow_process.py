"""Airflow's command line, for the components that fork processes to parse DAGs and run tasks.

It imports the packages that the DAGs use before it forks, because importing them takes longer than most
tasks. It imports no code of this project, so each task runs the current code.
"""

from __future__ import annotations

from importlib import import_module
from runpy import run_module

PACKAGES = (
    "airflow.providers.amazon.aws.hooks.s3",
    "airflow.providers.mongo.hooks.mongo",
    "airflow.providers.standard.operators.hitl",
    "huggingface_hub.hf_api",
    "pyarrow.compute",
    "pymongoarrow.api",
)

if __name__ == "__main__":
    for package in PACKAGES:
        import_module(package)
    run_module("airflow", run_name="__main__", alter_sys=True)
