"""Tools for development: the local stack and the benchmarks. Shipped code never imports them."""
