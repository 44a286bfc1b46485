"""The actions, each a module named after it: they bring the other rooms together."""
