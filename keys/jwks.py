"""A JWK set as somebody published it (RFC 7517 section 5): what of it verifies, and what is left out and why.

One bad member does not spoil a set (advisory A12): a strict reader who refused the whole of it would turn somebody's
slip into an outage. What is left out is named by its place, never by its content.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn

from msgspec import Struct

from keys.errors import KeyMaterialError, KeyOfOtherUse, SecretPublished
from keys.jwk import VerificationKey, key_from_jwk
from keys.keyset import MAX_KEYS

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCUMENT_LIMIT = 256 * 1024
"""The largest document, in bytes (facts: peers 4)."""

_PUBLIC_MEMBERS = ("kty", "kid", "alg", "use", "key_ops", "crv", "n", "e", "x", "y")


class PublishedSet(Struct, frozen=True):
    """The keys of a set that verify, their JWKs without anything else, and what was left out.

    `exposed` counts the members that are secrets: a symmetric key, or the private half of one. Whoever reads the set
    can sign with them, so they verify nothing here, and an operator is told loudly.
    """

    keys: tuple[VerificationKey, ...]
    jwks: tuple[dict[str, Any], ...]
    left_out: tuple[str, ...] = ()
    exposed: int = 0


def published_set(document: bytes) -> PublishedSet:
    """The set in a document; `KeyMaterialError` when it is none, is too large, or holds nothing that verifies.

    Keys for something else, encryption for instance, are left out in silence: they belong in many a set. When several
    keys have one kid, all of them are left out, be they the same: a token that names it would be verified by whichever
    stands first, and a set that somebody slipped a second key into must not choose between them.

    A set without any key that verifies is an error, not a withdrawal of all keys: publishers empty a set by accident,
    and what they withdraw in earnest they replace.
    """
    members = jwks_members(document)
    if len(members) > MAX_KEYS:
        raise KeyMaterialError(f"the set holds more than {MAX_KEYS} keys")
    sound: list[tuple[int, VerificationKey, dict[str, Any]]] = []
    left_out: list[tuple[int, str]] = []
    exposed = 0
    for index, member in enumerate(members):
        try:
            sound.append((index, _key(member), {name: member[name] for name in _PUBLIC_MEMBERS if name in member}))
        except KeyOfOtherUse:
            continue
        except SecretPublished as error:
            exposed += 1
            left_out.append((index, f"{error}: whoever reads the set can sign with it"))
        except KeyMaterialError as error:
            left_out.append((index, str(error)))
    kids = [key.kid for _, key, _ in sound if key.kid is not None]
    repeated = {kid for kid in kids if kids.count(kid) > 1}
    left_out += [(index, "another key has the same kid") for index, key, _ in sound if key.kid in repeated]
    kept = [(key, jwk) for _, key, jwk in sound if key.kid not in repeated]
    if not kept:
        raise KeyMaterialError("the set holds no key that verifies")
    return PublishedSet(
        keys=tuple(key for key, _ in kept),
        jwks=tuple(jwk for _, jwk in kept),
        left_out=tuple(f"keys[{index}]: {why}" for index, why in sorted(left_out)),
        exposed=exposed,
    )


def jwks_members(document: bytes) -> Sequence[Any]:
    """What stands in the list `keys` of a JWK set, unlooked at; `KeyMaterialError` when the document is none.

    An object with a member twice is None in it: which of the two counts is nobody's to say.
    """
    found = strict_json(document)
    members = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(members, list):
        raise KeyMaterialError('not a JWK set (an object with a list "keys")')
    return members


def strict_json(document: bytes) -> Any:
    """The value of a JSON document in UTF-8; `KeyMaterialError` for anything else, with nothing of it in the words."""
    try:
        return json.loads(document.decode(), object_pairs_hook=_without_repetition, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise KeyMaterialError("not JSON") from None  # the cause holds the document


def _key(member: Any) -> VerificationKey:
    if not isinstance(member, dict):
        raise KeyMaterialError("not an object, or one with a member twice")
    key = key_from_jwk(member)
    if key.kid is not None and not key.kid.isprintable():
        raise KeyMaterialError("the kid is not plain text")
    return key


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any] | None:
    table = dict(pairs)
    return table if len(table) == len(pairs) else None


def _no_number(_text: str) -> NoReturn:
    raise ValueError
