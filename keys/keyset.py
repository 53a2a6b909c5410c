"""The keys of one issuer.

A look-up is always inside one set, so a kid never reaches another issuer's key (B21, B25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from keys.errors import KeyMaterialError, KeysUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from keys.jwk import VerificationKey

MAX_KEYS = 64


class KeySource(Protocol):
    """Where the keys of one issuer come from; whether an algorithm is on the issuer's list is not its concern."""

    @property
    def keys(self) -> Sequence[VerificationKey]:
        """The keys at hand."""

    def find(self, kid: str | None) -> Sequence[VerificationKey]:
        """The keys at hand with this exact kid, or all of them when the token names none. It never waits."""

    async def seek(self, kid: str | None) -> Sequence[VerificationKey]:
        """Where `find` found nothing: the same, once whoever publishes the keys was asked, if it is time to.

        Empty when the issuer has no such key; `KeysUnavailable` when nobody can say that now.
        """


class KeySet:
    """Keys that were given once."""

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

    async def seek(self, kid: str | None) -> tuple[VerificationKey, ...]:
        """Nobody can be asked for more; `KeysUnavailable` when there are none at all."""
        if not self.keys:
            raise KeysUnavailable("the issuer has no keys")
        return self.find(kid)
