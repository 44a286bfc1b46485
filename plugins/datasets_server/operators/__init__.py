"""Operators: one for each task of an action."""
