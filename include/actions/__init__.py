"""The actions: one module for each, named after it. They use the other packages of include/."""
