"""The operators: one for each task of an action.

Their argument ``preview`` is the parameter ``dry_run``, a name that BaseOperator already has for a method.
"""
