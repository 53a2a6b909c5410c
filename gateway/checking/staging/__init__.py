"""Checking a running gateway from outside, as its clients meet it. `run.py` gives the order."""
