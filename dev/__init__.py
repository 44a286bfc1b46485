"""What serves the development: the local stack and the benchmarks. Nothing that is shipped imports it."""
