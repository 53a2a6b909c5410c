"""Other people's programs for the tests."""

from __future__ import annotations

import os
import shutil

import pytest


def needed(program: str, package: str) -> str:
    """The path of a program that a test needs; without it the test is skipped, and fails in CI, which has them all."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    return path or missing(f"{program} is not installed (Debian package: {package})")


def missing(message: str) -> str:
    """Skip the test, in CI fail it."""
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
