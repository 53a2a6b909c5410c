"""Values that tokens may hold, and what normalising makes of one: its spelling or the code of its refusal."""

from __future__ import annotations

import string
from typing import Any

from hypothesis import strategies as st

from gateway.errors import Code, Refusal
from gateway.identity.principal import IdRules, normalise_email, normalise_user_id

RULES = IdRules()
ID_CODES = {Code.CLAIM_TYPE, Code.USER_ID_INVALID, Code.USER_ID_PLACEHOLDER}
EMAIL_CODES = {Code.CLAIM_TYPE, Code.EMAIL_INVALID}


def id_of(value: object, rules: IdRules = RULES) -> str:
    """The normalised id, or the code of its refusal."""
    try:
        return normalise_user_id(value, rules)
    except Refusal as refusal:
        assert refusal.field == "user_id"  # noqa: PT017 - a refusal is one of two right outcomes
        return refusal.code


def email_of(value: object) -> str:
    """The normalised email, or the code of its refusal."""
    try:
        return normalise_email(value)
    except Refusal as refusal:
        assert refusal.field == "email"  # noqa: PT017 - a refusal is one of two right outcomes
        return refusal.code


# Every character that Python can hold, halves of surrogate pairs among them, and those that spell trouble more often.
_TROUBLE = (
    "\0\t\n\r \u00a0\u00ad\u0130\u0131\u017f\u0301\u200b\u200d\u202e\u2060\u212a\u3000\u3164\ufe0f\ufeff"
    "\uff20\ud800\udfff\"'@.-0"
)
CHARACTERS = st.characters(codec=None, categories=None) | st.sampled_from(_TROUBLE)
TEXTS = st.text(CHARACTERS, max_size=12) | st.text(string.ascii_letters + string.digits + "@._-", max_size=12)
NUMBERS = st.integers() | st.integers(-(10**400), 10**400) | st.floats()
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def deep(depth: int) -> Any:
    """A list within a list, as deep as asked."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


EMAILS = st.builds(
    "{}@{}".format,
    st.text(string.ascii_letters + string.digits + "._+-" + "\u00e9\u0131'=!", min_size=1, max_size=70),
    st.lists(
        st.text(string.ascii_letters + string.digits + "-\u00fc\uff4f", min_size=1, max_size=65)
        | st.sampled_from(
            ["example", "com", "test", "local", "localhost", "arpa", "xn--mnchen-3ya", "invalid", "onion", "a--b"]
        ),
        min_size=1,
        max_size=6,
    ).map(".".join),
)
