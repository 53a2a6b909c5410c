"""Checking the installation on this machine, without changing anything. `run.py` gives the order."""
