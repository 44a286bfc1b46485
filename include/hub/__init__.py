"""The Hugging Face Hub. Only this package imports ``huggingface_hub``.

The modules ``answers`` and ``block_list`` do not, so that importing them costs nothing.
"""
