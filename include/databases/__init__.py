"""The only room that knows MongoDB: the cache, the queue, and our own database."""
