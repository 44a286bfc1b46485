"""The only room that knows ``huggingface_hub``."""
