"""Checking what stands: a gateway in staging (`staging/`), the installation on this machine (`local/`).

Each check is a row with what was expected and found. What could not be done is reported as not performed, with what
would make it possible, and never as passed (advisory A29).
"""
