"""The keys of one issuer.

A look-up is always inside one set, so a kid never reaches another issuer's key (B21, B25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keys.errors import KeyMaterialError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keys.jwk import VerificationKey

MAX_KEYS = 64


class KeySet:
    """Keys that were given once. What it does not check: whether an algorithm is on the issuer's own list."""

    def __init__(self, keys: Iterable[VerificationKey]) -> None:
        self.keys = tuple(keys)
        if len(self.keys) > MAX_KEYS:
            raise KeyMaterialError(f"a key set holds at most {MAX_KEYS} keys")
        named = [key.kid for key in self.keys if key.kid is not None]
        if len(named) != len(set(named)):
            raise KeyMaterialError("two keys have the same kid")
        self._by_kid = {key.kid: (key,) for key in self.keys if key.kid is not None}

    def find(self, kid: str | None) -> tuple[VerificationKey, ...]:
        """The key with this exact kid, or every key when the token names none; empty when nobody has it."""
        return self.keys if kid is None else self._by_kid.get(kid, ())
