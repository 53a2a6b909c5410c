"""A keyring as the keys of an issuer: what verifies is decided by the time of each look-up, and by the file as it is.

The file is looked at once a second, so that a rotation or a leaked key's end acts in every process that verifies: also
in one that never reads its configuration again, and in one whose configuration has a problem elsewhere.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from keys.errors import KeyMaterialError
from keys.keyring import load_keyring
from keys.keyset import KeyHealth, KeySet, Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from keys.jwk import VerificationKey
    from keys.keyring import Keyring, KeyringEntry

LOOK_SECONDS = 1.0
"""How often the file is looked at: one `stat`, when somebody asks for a key at all."""


class KeyringSource(Standing):
    """A keyring as a `KeySource`; `path` is the file to follow.

    With no key left, every token meets an outage and none a verdict: whoever removed the last one may have done so
    because it leaked, and the keys that were trusted before must not come back. A file that cannot be used any more
    changes nothing (advisory B24); whoever reads the configuration again tells what is wrong with it.
    """

    def __init__(self, keyring: Keyring, clock: Callable[[], float], path: Path | None = None) -> None:
        self.keyring = keyring
        self._clock = clock
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._withdrawn = 0
        self._looked_at: float
        self._set: KeySet
        self._public: dict[str, Any]
        self._good_until: float
        self._next = self._publish(clock())

    @property
    def withdrawn(self) -> int:  # type: ignore[override]  # here it depends on the time
        """How many keys have ended, or went, since this was made."""
        self._now()
        return self._withdrawn

    @property
    def keys(self) -> Sequence[VerificationKey]:
        """The keys that verify now."""
        return self._now().keys

    def find(self, kid: str | None) -> Sequence[VerificationKey]:
        """The key with this exact kid, or every one when the token names none."""
        return self._now().find(kid)

    async def seek(self, kid: str | None) -> Sequence[VerificationKey]:
        """Nobody else can be asked; `KeysUnavailable` when no key is left."""
        return await self._now().seek(kid)

    def health(self) -> KeyHealth:
        """A keyring is as fresh as its file."""
        return KeyHealth(source="keyring", keys=len(self.keys), state="fresh" if self.keys else "none")

    def public_jwks(self) -> dict[str, Any]:
        """What may be published now, as a JWK set: nothing of a shared secret, which has no public half (R11)."""
        self._now()
        return self._public

    def signing(self) -> KeyringEntry | None:
        """The key that signs now; None where none does."""
        self._now()
        return self.keyring.signing(self._clock())

    def _now(self) -> KeySet:
        now = self._clock()
        if now >= self._next or now < self._looked_at:  # a clock that was put back keeps nobody from looking
            self._next = self._renew(now)
        return self._set

    def _renew(self, now: float) -> float:
        """Bring the set up to a moment; return when it is time to do so again."""
        before, self._looked_at = self._verifying, now
        if not self._read_again() and now < self._good_until:
            return min(self._good_until, now + LOOK_SECONDS)
        again = self._publish(now)
        self._withdrawn += len(before - self._verifying)
        return again

    def _read_again(self) -> bool:
        """Take over the file when it is another one; whether it was."""
        if self._path is None:
            return False
        try:
            status = self._path.stat()
            seen = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if seen == self._seen:
                return False
            keyring = load_keyring(self._path)
        except (OSError, KeyMaterialError):
            return False
        before, self.keyring, self._seen = self.keyring, keyring, seen
        return keyring != before

    def _publish(self, now: float) -> float:
        """Make the set of the keys that verify at a moment; return when it is time to look again."""
        self._looked_at = now
        entries = self.keyring.published(now)
        self._verifying = {(entry.kid, entry.alg, entry.material, entry.platforms) for entry in entries}
        self._good_until = min((entry.ends_at for entry in entries if entry.ends_at is not None), default=math.inf)
        self._public = {"keys": []} if self.keyring.holds_secrets else self.keyring.public_jwks(now)
        self._set = KeySet(entry.verification_key() for entry in entries)
        return self._good_until if self._path is None else min(self._good_until, now + LOOK_SECONDS)
