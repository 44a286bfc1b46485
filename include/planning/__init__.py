"""What a dataset needs: its state goes in, and a plan comes out. Imports no other package of include/."""
