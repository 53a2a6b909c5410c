"""What PyJWT or joserfc accept and we refuse, each with its reason and a token that shows it; and the reverse."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from gateway.errors import Code
from gateway.identity.crafting import LEFT_OUT, Signer, encoded
from tests.corpus.form import nested

KID = "key-1"


class Seen(Struct, frozen=True):
    """A token as a lenient reader finds it: what the rows of the table look at."""

    token: bytes
    header: dict[str, Any]
    claims: dict[str, Any]
    texts: tuple[bytes, bytes]
    now: float


def seen(token: bytes) -> Seen:
    texts = [base64.urlsafe_b64decode(segment + b"==") for segment in token.split(b".")[:2]]
    return Seen(token, json.loads(texts[0]), json.loads(texts[1]), (texts[0], texts[1]), time.time())


class Difference(Struct, frozen=True):
    """What a library accepts and we refuse: our code, the reason, when it applies, and a token that shows it."""

    code: Code
    why: str
    applies: Callable[[Seen], bool]
    example: Callable[[Signer], bytes]


def holds_twice(text: bytes) -> bool:
    """Whether a JSON text has a member twice, in any object."""
    found: list[bool] = []

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found.append(len(dict(pairs)) != len(pairs))
        return dict(pairs)

    json.loads(text, object_pairs_hook=look)
    return any(found)


def holds_odd_number(text: bytes) -> bool:
    """Whether a JSON text has a number that is not finite, or one that is very long."""
    found: list[bool] = []
    json.loads(
        text,
        parse_constant=lambda _: found.append(True),
        parse_int=lambda digits: found.append(len(digits) > 20),
        parse_float=lambda digits: found.append(len(digits) > 40 or abs(float(digits)) == float("inf")),
    )
    return any(found)


def not_plain_utf8(text: bytes) -> bool:
    """Whether a text is JSON only for those who guess its encoding."""
    return text.startswith(b"\xef\xbb\xbf") or b"\0" in text


def half_a_pair(text: bytes) -> bool:
    """Whether a text decodes to half of a surrogate pair."""
    return any("\ud800" <= one <= "\udfff" for one in json.dumps(json.loads(text), ensure_ascii=False))


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, inner), default=0) if isinstance(value, dict | list) else 0


def no_time(value: object) -> bool:
    return isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 253_402_300_799


def payload(text: Callable[[bytes], bytes]) -> Callable[[Signer], bytes]:
    """An example: the good claims with their text changed."""
    return lambda signer: signer.seal(encoded(signer.header), text(encoded(signer.claims)))


DIFFERENCES = {
    "size": Difference(
        Code.TOKEN_TOO_LARGE,
        "A16: over 8 KiB nothing is read; the libraries have no such limit, or a larger one",
        lambda token: len(token.token) > 8192 or len(token.texts[0]) > 1500,
        lambda signer: signer.token(claims={"name": "x" * 9000}),
    ),
    "duplicate member": Difference(
        Code.TOKEN_MALFORMED,
        "R4: the last of two members is not what every reader takes",
        lambda token: any(map(holds_twice, token.texts)),
        payload(lambda text: b'{"user_id":"user-2",' + text[1:]),
    ),
    "number": Difference(
        Code.TOKEN_MALFORMED,
        "R3: NaN and the infinities are no JSON; a number beyond every column is no number",
        lambda token: any(map(holds_odd_number, token.texts)),
        payload(lambda text: text[:-1] + b',"level":NaN}'),
    ),
    "encoding": Difference(
        Code.TOKEN_MALFORMED,
        "RFC 8259 section 8.1: JSON travels in UTF-8 without a byte order mark",
        lambda token: any(map(not_plain_utf8, token.texts)),
        payload(lambda text: text.decode().encode("utf-16")),
    ),
    "surrogate": Difference(
        Code.TOKEN_MALFORMED,
        "R3: half of a surrogate pair can be stored, sent and logged by nobody",
        lambda token: any(map(half_a_pair, token.texts)),
        payload(lambda text: text[:-1] + b',"name":"\\ud800"}'),
    ),
    "depth": Difference(
        Code.TOKEN_MALFORMED,
        "A12: nobody needs claims that are deeper than 16",
        lambda token: max(depth(token.header), depth(token.claims)) > 16,
        payload(lambda text: text[:-1] + b',"deep":' + nested(20) + b"}"),
    ),
    "padding": Difference(
        Code.TOKEN_MALFORMED,
        "A13, RFC 7515 section 2: base64url without padding; PyJWT 2.15.1 takes it behind a signature",
        lambda token: token.token.endswith(b"="),
        lambda signer: signer.token() + b"=" * (-len(signer.token().rpartition(b".")[2]) % 4),
    ),
    "compressed": Difference(
        Code.TOKEN_MALFORMED,
        "R6: zip and enc belong to encrypted tokens",
        lambda token: not {"zip", "enc"}.isdisjoint(token.header),
        lambda signer: signer.token({"zip": "DEF"}),
    ),
    "extension": Difference(
        Code.CRIT_UNSUPPORTED,
        "A05, A06: no header extension, the one of RFC 7797 included",
        lambda token: not {"crit", "b64"}.isdisjoint(token.header),
        lambda signer: signer.token({"crit": ["b64"], "b64": True}),
    ),
    "kid": Difference(
        Code.KID_UNKNOWN,
        "R8: a token that names a key is verified by that key; the libraries are handed one key and do not look",
        lambda token: token.header.get("kid", KID) != KID,
        lambda signer: signer.token({"kid": "other"}),
    ),
    "time": Difference(
        Code.CLAIM_TYPE,
        "R13: a time is a number within four-digit years; PyJWT reads text, both take the year 30 million",
        lambda token: any(no_time(token.claims[name]) for name in ("exp", "nbf", "iat") if name in token.claims),
        lambda signer: signer.token(claims={"exp": 10**15}),
    ),
    "lifetime": Difference(
        Code.LIFETIME_TOO_LONG,
        "design 3.7: a day at most; the libraries have no such bound",
        lambda token: token.claims["exp"] - token.claims.get("iat", token.now) > 86_400,
        lambda signer: signer.token(claims={"exp": signer.now + 10 * 86_400}),
    ),
    "missing identity": Difference(
        Code.USER_ID_MISSING,
        "design 4: a token says who somebody is",
        lambda token: "user_id" not in token.claims,
        lambda signer: signer.token(claims={"user_id": LEFT_OUT, "email": LEFT_OUT}),
    ),
    **{
        code: Difference(
            code,
            "design 4: who somebody is, is no matter of the libraries",
            lambda token: not {"user_id", "email", "email_verified"}.isdisjoint(token.claims),
            lambda signer, claims=claims: signer.token(claims=claims),  # type: ignore[misc]  # mypy wants no default
        )
        for code, claims in {
            Code.USER_ID_INVALID: {"user_id": " user-1"},
            Code.USER_ID_PLACEHOLDER: {"user_id": "null"},
            Code.EMAIL_INVALID: {"email": "ada"},
            Code.EMAIL_MISMATCH: {"user_id": "eve@example.com"},
        }.items()
    },
    "identity of another type": Difference(
        Code.CLAIM_TYPE,
        "design 4: an id is text or an integer, an email is text, a flag is a boolean",
        lambda token: (
            isinstance(token.claims.get("user_id"), bool)
            or not isinstance(token.claims.get("user_id", ""), str | int)
            or not isinstance(token.claims.get("email"), str | None)
            or not isinstance(token.claims.get("email_verified", True), bool)
        ),
        lambda signer: signer.token(claims={"user_id": ["user-1"]}),
    ),
}

# The other way round there is one: what we never look at may be of any type, and `sub` is an id like another.
_TEXTS_OF_HEADER = ("typ", "cty", "jku", "x5u", "x5t", "x5t#S256")


def is_only_theirs(token: Seen) -> bool:
    """Whether a token holds what we leave alone and a library checks: types of header members, and of `sub`."""
    header = token.header
    return (
        not all(isinstance(header.get(name, ""), str) for name in _TEXTS_OF_HEADER)
        or not isinstance(header.get("jwk", {}), dict)
        or not (isinstance(chain := header.get("x5c", []), list) and all(isinstance(one, str) for one in chain))
        or not isinstance(token.claims.get("sub", ""), str)
    )
