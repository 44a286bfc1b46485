"""The services that maintenance talks to, on one machine: MongoDB, S3, the Hub's stand-in, sample data.

``make run``, the tests and the benchmarks use them; ``dags/`` and ``plugins/`` do not.
"""
