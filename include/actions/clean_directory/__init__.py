"""The action ``clean-directory``: delete the expired temporary files and folders of the workers.

``rule`` says what to clean (it imports the standard library alone), ``cleaning`` does it, and ``report`` says
what it did.
"""
