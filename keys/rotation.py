"""What becomes of a keyring when a key is made, follows another, or goes. Each function returns the keyring after it.

A rotation never takes a good token's key away: the new key is published (it verifies) at once and signs later, when
everybody who keeps a copy of the published keys has read them again; the old key signs until then, and verifies until
the last token that it can have signed is dead. With shared secrets somebody else signs, who must be given the new one
first: there the old one verifies until it is retired.
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from keys.errors import KeyMaterialError
from keys.jwk import HMAC, generate_signing_key, signing_key_from_pem
from keys.keyring import Keyring, KeyringEntry, check_keyring

if TYPE_CHECKING:
    from collections.abc import Callable

PUBLISH_AHEAD = 600
"""Seconds between a key's publication and its first signature: readers of a key set look again within minutes."""

_SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}


class RotationRefused(KeyMaterialError):
    """The keyring stays as it is: what was asked would take away more than was said."""


def new_material(algorithm: str, random_bytes: Callable[[int], bytes]) -> str:
    """A new private key in PEM, or a new secret: as many random bytes as its hash has, in hex."""
    if algorithm in HMAC:
        return random_bytes(_SECRET_BYTES[algorithm]).hex()
    key = generate_signing_key(algorithm)
    while (key.kid or "").startswith("-"):  # on a command line it would be taken for an option
        key = generate_signing_key(algorithm)
    return key.private_pem().decode()


def new_entry(  # noqa: PLR0913 - what a key is, and in which keyring
    keyring: Keyring,
    algorithm: str,
    material: str,
    now: int,
    *,
    kid: str | None = None,
    platforms: tuple[str, ...] = (),
) -> KeyringEntry:
    """An entry that signs from now on. A key pair's id is its RFC 7638 thumbprint, a secret's is given or made.

    Raises `KeyMaterialError` for what is weak, broken or no material of the algorithm at all.
    """
    if algorithm in HMAC:
        kid = kid or _free_id(keyring, now)
    elif kid or platforms:
        raise RotationRefused("the id of a key pair is its thumbprint (RFC 7638), and it serves all platforms")
    else:
        kid = signing_key_from_pem(material.encode(), algorithm).kid or ""
    entry = KeyringEntry(
        kid=kid, alg=algorithm, material=material, created_at=now, signs_from=now, platforms=tuple(sorted(platforms))
    )
    entry.verification_key()
    return entry


def added(keyring: Keyring, entry: KeyringEntry, now: int) -> Keyring:
    """The keyring with one more key, beside those that stand: another secret, or the first key pair."""
    for standing in keyring.published(now):
        if standing.kid == entry.kid:
            raise RotationRefused(f"the keyring has a key {entry.kid} already")
        if hmac.compare_digest(standing.material.encode(), entry.material.encode()):  # advisory A20
            raise RotationRefused(f"the keyring has this very key already, as {standing.kid}")
        if not entry.is_secret and standing.signs_until is None:
            raise RotationRefused("the keyring has a key that signs: a rotation makes its successor")
    return _changed(keyring, (*keyring.published(now), entry))


def rotated(keyring: Keyring, entry: KeyringEntry, now: int, *, publish_ahead: int, tokens_live: int | None) -> Keyring:
    """The keyring with `entry` as the successor of the key that signs.

    `publish_ahead` 0 is for the time after a leak: the new key signs at once, and a successor that waited is given up,
    for it lay in the same file. `tokens_live` is how many seconds after its signature a token may be accepted, leeway
    included; None when there is no such limit, and the old key verifies until it is retired.
    """
    standing = keyring.published(now)
    if not any(one.signs_until is None for one in standing):
        raise RotationRefused("the keyring has no key that signs, and none to follow it")
    waiting = [one for one in standing if now < one.signs_from]
    if waiting and publish_ahead:
        raise RotationRefused(f"a rotation is under way: {waiting[0].kid} is published, and will sign soon")
    signs_from = now + publish_ahead
    successor = msgspec.structs.replace(entry, signs_from=signs_from)
    kept = [_followed(one, signs_from, tokens_live) for one in standing if one.is_secret or one not in waiting]
    return added(msgspec.structs.replace(keyring, keys=tuple(kept)), successor, now)


def retired(keyring: Keyring, kid: str, now: int, *, tokens_live: int | None) -> Keyring:
    """The keyring in which a key signs no more, and verifies until the tokens that it can have signed are dead.

    Refused for the last key that stays, and where tokens live for ever.
    """
    entry = _standing(keyring, kid, now)
    if entry.ends_at is not None:
        raise RotationRefused(f"{kid} retires already: it ends when its tokens are dead")
    if not any(one.kid != kid and one.signs_until is None for one in keyring.published(now)):
        raise RotationRefused(
            f"{kid} is the last key that stays: without it, no token of this issuer could be verified"
        )
    if tokens_live is None:
        raise RotationRefused(f"its tokens have no longest lifetime, so {kid} would verify for ever")
    last = now if entry.signs_until is None else min(now, entry.signs_until)
    going = msgspec.structs.replace(entry, signs_until=last, ends_at=last + tokens_live)
    return _changed(keyring, tuple(going if one.kid == kid else one for one in keyring.published(now)))


def removed(keyring: Keyring, kid: str, now: int) -> Keyring:
    """The keyring without a key: it leaked, and its tokens end with it. A successor that waited signs at once."""
    _standing(keyring, kid, now)
    rest = [one for one in keyring.published(now) if one.kid != kid]
    if not any(one.signs(now) for one in rest):
        rest = [msgspec.structs.replace(one, signs_from=min(one.signs_from, now)) for one in rest]
    return _changed(keyring, tuple(rest))


def _followed(entry: KeyringEntry, signs_from: int, tokens_live: int | None) -> KeyringEntry:
    """A key whose successor signs from some moment on; a secret signs wherever the successor is not deployed yet."""
    if entry.is_secret:
        return msgspec.structs.replace(entry, signs_from=min(entry.signs_from, signs_from))
    if entry.signs_until is not None and entry.signs_until <= signs_from:
        return entry
    ends_at = None if tokens_live is None else signs_from + tokens_live
    return msgspec.structs.replace(entry, signs_until=signs_from, ends_at=ends_at)


def _standing(keyring: Keyring, kid: str, now: int) -> KeyringEntry:
    entry = keyring.entry(kid)
    if not entry.verifies(now):
        raise RotationRefused(f"{kid} has ended already")
    return entry


def _changed(keyring: Keyring, keys: tuple[KeyringEntry, ...]) -> Keyring:
    changed = Keyring(keyring.version + 1, keys)
    check_keyring(changed)
    return changed


def _free_id(keyring: Keyring, now: int) -> str:
    """An id for a secret: the day on which it was made, with a number behind it when that is taken."""
    day = datetime.fromtimestamp(now, UTC).date().isoformat()
    taken = {entry.kid for entry in keyring.keys}
    number = 1
    while (kid := day if number == 1 else f"{day}.{number}") in taken:
        number += 1
    return kid
