"""The only package that knows MongoDB: the cache, the queue, and our own database."""
