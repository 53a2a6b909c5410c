"""Ids that mean nobody: what front ends send when nobody is logged in, or a template was not filled.

A correctly signed placeholder makes one person of everybody (threat T3, S8, C09). The list is the union of what the
trade refuses (facts: peers 1b) and of the seed's own.
"""

from __future__ import annotations

import re
import unicodedata

PLACEHOLDERS = frozenset(
    {
        "undefined",
        "null",
        "none",
        "nil",
        "nan",
        "n/a",
        "na",
        "unknown",
        "anonymous",
        "guest",
        "test",
        "user",
        "user_id",
        "userid",
        "id",
        "email",
        "default",
        "true",
        "false",
        "not_authenticated",
        "distinct_id",
        "distinctid",
        "[object object]",
        "0",
        "-1",
    }
)
_QUOTES = "\"'`\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb\u2039\u203a"
_TEMPLATE = re.compile(r"\{\{.*\}\}|\$\{.*\}|%[^%]*%|<.*>|:[a-z_][a-z0-9_]*", re.DOTALL)
_ZEROS_AND_DASHES = re.compile(r"[0-]+")


def is_placeholder(user_id: str) -> bool:
    """Whether an id is a placeholder after NFKC, case folding and removal of blanks and quotes around it."""
    plain = placeholder_spelling(user_id)
    if plain in PLACEHOLDERS or not plain:
        return True
    if _ZEROS_AND_DASHES.fullmatch(plain):
        return True
    if len(plain) > 3 and len(set(plain)) == 1:
        return True
    return _TEMPLATE.fullmatch(plain) is not None


def placeholder_spelling(text: str) -> str:
    """The spelling in which an id is compared with the list."""
    if text.isascii():
        return text.lower().strip(_QUOTES + " ")
    return unicodedata.normalize("NFKC", text).casefold().strip(_QUOTES + " \t\r\n\u00a0\u3000")
