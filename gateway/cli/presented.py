"""A token as an argument, or from standard input."""

from __future__ import annotations

import os
import sys


def presented_token(token: str) -> bytes:
    """The bytes of a token; blanks around it, as copying leaves them, are no part of it."""
    content = sys.stdin.buffer.read(1024 * 1024) if token == "-" else os.fsencode(token)  # noqa: S105 - not a password
    return content.strip()
