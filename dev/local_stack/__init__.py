"""The services that maintenance talks to, on one machine: MongoDB, S3, the Hub's stand-in, sample data.

``make run``, the tests and the benchmarks use it. Nothing in ``dags/`` or ``plugins/`` does.
"""
