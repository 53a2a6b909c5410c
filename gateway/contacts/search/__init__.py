"""Searches for contacts: a validated tree, read from a query and compiled to SQL."""
