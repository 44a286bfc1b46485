"""The Hugging Face Hub. Only this package imports ``huggingface_hub``.

The modules ``answers``, ``block_list`` and ``support`` do not, so that importing them costs nothing.
"""
