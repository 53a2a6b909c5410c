"""A keyring: the keys that are ours to sign with, or a messenger's secrets, in one private file.

```json
{"version": 3, "keys": [{"kid": "...", "alg": "ES256", "material": "(PEM, or a secret)",
  "created_at": 1790000000, "signs_from": 1790000600, "signs_until": null, "ends_at": null, "platforms": []}]}
```

Times alone decide what a key does, so nothing has to run when one of them comes: a key verifies from the moment it
lies in the file until `ends_at`, and signs from `signs_from` until `signs_until`. Times are whole seconds, UTC; None
means that nobody has said so yet. Every change raises `version`, which a rotation compares (`keys/keyring_file.py`).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from keys.errors import KeyMaterialError
from keys.files import read_private
from keys.jwk import HMAC, key_from_jwk, key_from_secret, signing_key_from_pem, signing_key_from_secret, thumbprint
from keys.keyset import KeySet

if TYPE_CHECKING:
    from pathlib import Path

    from keys.jwk import SigningKey, VerificationKey


_KID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class KeyState(StrEnum):
    """What a key does at some moment."""

    NEXT = "next"
    """It verifies, and will sign."""
    SIGNING = "signing"
    """It verifies and signs."""
    VERIFYING = "verifying"
    """It verifies, until somebody retires it."""
    RETIRING = "retiring"
    """It verifies until its tokens are dead."""
    ENDED = "ended"
    """It does nothing any more, and goes with the next change."""


class KeyringEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One key of a keyring. `material` is a private key in PEM, or the text of a shared secret."""

    kid: str
    alg: str
    material: str
    created_at: int
    signs_from: int
    signs_until: int | None = None
    ends_at: int | None = None
    platforms: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Without the material."""
        return f"KeyringEntry(kid={self.kid!r}, alg={self.alg!r})"

    @property
    def is_secret(self) -> bool:
        """Whether it is a shared secret, which somebody else signs with too."""
        return self.alg in HMAC

    def verifies(self, now: float) -> bool:
        """Whether its signatures are good."""
        return self.ends_at is None or now < self.ends_at

    def signs(self, now: float) -> bool:
        """Whether it may sign; of several, the newest does."""
        return self.signs_from <= now and (self.signs_until is None or now < self.signs_until) and self.verifies(now)

    def signing_key(self) -> SigningKey:
        """The key to sign with; `KeyMaterialError` when the material is none."""
        if self.is_secret:
            return signing_key_from_secret(self.material, self.kid, self.alg)
        return signing_key_from_pem(self.material.encode(), self.alg, self.kid)

    def verification_key(self) -> VerificationKey:
        """The key to verify with; it permits its one algorithm (R7). Raises `KeyMaterialError`."""
        if self.is_secret:
            return key_from_secret(self.material, self.kid, (self.alg,), frozenset(self.platforms))
        return key_from_jwk(self.signing_key().public_jwk())


class Keyring(Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of one issuer, as they lie in its file."""

    version: int = 0
    keys: tuple[KeyringEntry, ...] = ()

    @property
    def verification_keys(self) -> list[VerificationKey]:
        """Each of its keys to verify with, whatever the time; raises `KeyMaterialError`."""
        return [entry.verification_key() for entry in self.keys]

    @property
    def holds_secrets(self) -> bool:
        """Whether these are shared secrets; False also when it is empty."""
        return any(entry.is_secret for entry in self.keys)

    def published(self, now: float) -> tuple[KeyringEntry, ...]:
        """The keys that verify."""
        return tuple(entry for entry in self.keys if entry.verifies(now))

    def signing(self, now: float) -> KeyringEntry | None:
        """The key that signs: the newest that may."""
        able = [entry for entry in reversed(self.keys) if entry.signs(now)]
        return max(able, key=lambda entry: (entry.signs_from, entry.created_at), default=None)

    def state(self, entry: KeyringEntry, now: float) -> KeyState:
        """What one of its keys does."""
        if not entry.verifies(now):
            return KeyState.ENDED
        if now < entry.signs_from:
            return KeyState.NEXT
        signing = self.signing(now)
        if signing is not None and signing.kid == entry.kid:
            return KeyState.SIGNING
        return KeyState.VERIFYING if entry.ends_at is None else KeyState.RETIRING

    def entry(self, kid: str) -> KeyringEntry:
        """The key with this id; `KeyMaterialError` when there is none."""
        for entry in self.keys:
            if entry.kid == kid:
                return entry
        raise KeyMaterialError(f"the keyring has no key {kid}")

    def public_jwks(self, now: float) -> dict[str, Any]:
        """The public halves of the keys that verify (RFC 7517 section 5); a shared secret has none (R11)."""
        return {"keys": [entry.signing_key().public_jwk() for entry in self.published(now)]}


def load_keyring(path: Path) -> Keyring:
    """The keyring of a file that its owner alone may read; `KeyMaterialError` names the path, and the key in it."""
    return parse_keyring(read_private(path), path)


def parse_keyring(content: bytes, path: Path) -> Keyring:
    """A keyring, each of its keys checked as if it came from elsewhere; `KeyMaterialError` names the path."""
    try:
        keyring = msgspec.json.decode(content, type=Keyring)
    except msgspec.ValidationError as error:  # only the place: its text may quote what stands there
        place = str(error).rpartition(" - at ")[2] if " - at " in str(error) else "`$`"
        raise KeyMaterialError(f"{path}: not a keyring (at {place})") from None
    except (msgspec.DecodeError, RecursionError):
        raise KeyMaterialError(f"{path}: not JSON") from None
    try:
        check_keyring(keyring)
    except KeyMaterialError as error:
        raise KeyMaterialError(f"{path}: {error}") from error
    return keyring


def check_keyring(keyring: Keyring) -> None:
    """Refuse what could never be used: weak or broken keys, a kid that is another key's, secrets beside key pairs."""
    keys = []
    for index, entry in enumerate(keyring.keys):
        try:
            keys.append(entry.verification_key())
        except KeyMaterialError as error:
            raise KeyMaterialError(f"keys[{index}]: {error}") from error
        if not entry.is_secret and thumbprint(entry.signing_key().public_jwk()) != entry.kid:
            raise KeyMaterialError(f"keys[{index}]: the kid is not the thumbprint of the key (RFC 7638)")
        if not _KID.fullmatch(entry.kid):
            raise KeyMaterialError(f"keys[{index}]: an id has 1 to 64 letters, digits, dashes, dots and underscores")
    KeySet(keys)
    if len({entry.is_secret for entry in keyring.keys}) > 1:
        raise KeyMaterialError("shared secrets and key pairs never share a keyring")


def encode_keyring(keyring: Keyring) -> bytes:
    """A keyring as it lies in its file."""
    return msgspec.json.format(msgspec.json.encode(keyring), indent=1) + b"\n"
