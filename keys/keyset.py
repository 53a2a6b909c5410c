"""The keys of one issuer.

A look-up is always inside one set, so a kid never reaches another issuer's key (B21, B25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Struct

from keys.errors import KeyMaterialError, KeysUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from keys.jwk import VerificationKey

MAX_KEYS = 64


class KeyHealth(Struct, frozen=True, kw_only=True):
    """What an operator wants to know of an issuer's keys.

    `age`: seconds since the publisher was last known to have them; None where nobody is asked. `error`: why the last
    try to ask failed, in words. `left_out`: what stands in the set and verifies nothing, and why. `exposed`: how many
    of those are secrets that anybody can read there.
    """

    source: str
    keys: int
    state: Literal["fresh", "stale", "none"]
    age: int | None = None
    error: str | None = None
    left_out: tuple[str, ...] = ()
    exposed: int = 0


class KeySource(Protocol):
    """Where the keys of one issuer come from; whether an algorithm is on the issuer's list is not its concern."""

    @property
    def withdrawn(self) -> int:
        """How often a key that verified was taken away: who remembers what one verified looks whether this grew."""

    @property
    def keys(self) -> Sequence[VerificationKey]:
        """The keys at hand."""

    def find(self, kid: str | None) -> Sequence[VerificationKey]:
        """The keys at hand with this exact kid, or all of them when the token names none. It never waits."""

    async def seek(self, kid: str | None) -> Sequence[VerificationKey]:
        """Where `find` found nothing: the same, once whoever publishes the keys was asked, if it is time to.

        Empty when the issuer has no such key; `KeysUnavailable` when nobody can say that now.
        """

    async def open(self) -> None:
        """Keep the keys current from now on; it waits a moment for the first ones, no longer. More than once is once.

        A source that is not open answers all the same, from what it is told to fetch by `seek` and `refresh`.
        """

    async def close(self) -> None:
        """Stop that."""

    async def refresh(self) -> None:
        """Ask the publisher now, for a command that shows what it says. What went wrong stands in `health`."""

    def health(self) -> KeyHealth:
        """How the keys are."""


class Standing:
    """What a `KeySource` is that asks nobody: it never changes by itself, and is as current as its configuration."""

    withdrawn = 0

    async def open(self) -> None:
        """Nothing needs to be kept current."""

    async def close(self) -> None:
        """Nothing needs to be stopped."""

    async def refresh(self) -> None:
        """Nobody needs to be asked."""


class KeySet(Standing):
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

    def health(self) -> KeyHealth:
        """Given keys are as fresh as their configuration."""
        return KeyHealth(source="given", keys=len(self.keys), state="fresh" if self.keys else "none")
