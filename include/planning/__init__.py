"""What a dataset needs: its state goes in, a plan comes out. Imports no other room."""
