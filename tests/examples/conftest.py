"""The examples are projects of their own: `tests/test_pytest_plugin.py` runs each in a folder of its own."""

collect_ignore_glob = ["*"]
