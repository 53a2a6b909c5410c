"""Step 2: the shape of a token, before anything in it is believed.

Stricter than any JOSE library (facts: security 4.2, peers 0.5 to 0.8): a size cap before any work, exactly three
segments, canonical unpadded base64url (RFC 7515 section 2), strict JSON objects (RFC 8259 in UTF-8, no byte order mark,
no duplicate member, no NaN, bounded depth and numbers). What a header says beyond `alg` and `kid` never chooses a key:
`jwk`, `jku`, `x5u` and `x5c` are not looked at (advisory A04); `crit` and `b64` are refused (A05, A06).
"""

from __future__ import annotations

import base64
import json
import math
import re
from functools import lru_cache
from typing import Any, NoReturn

import msgspec
from msgspec import Struct

from gateway.errors import Code, Refusal

TOKEN_LIMIT = 8 * 1024
"""The longest token, in bytes (facts: peers 4)."""

HEADER_LIMIT = 2 * 1024
DEPTH_LIMIT = 16
_INTEGER_DIGITS = 20

ASSERTION_TYPE = "identity-assertion+jwt"
"""The `typ` of what we sign for upstreams (`gateway/web/assertion.py`)."""


class UnverifiedToken(Struct, frozen=True):
    """The parts of a well-formed token. Nothing in it is true yet."""

    header: dict[str, Any]
    algorithm: str
    key_id: str | None
    unverified_claims: dict[str, Any]
    signing_input: bytes
    signature: bytes


class _Header(Struct, frozen=True):
    members: dict[str, Any]
    algorithm: str
    key_id: str | None


def parse_token(token: bytes) -> UnverifiedToken:
    """Take a token apart; raises `Refusal`: token_too_large, token_malformed, crit_unsupported."""
    if len(token) > TOKEN_LIMIT:
        raise Refusal(Code.TOKEN_TOO_LARGE, f"the token is longer than {TOKEN_LIMIT} bytes")
    segments = token.split(b".", 5)
    if len(segments) != 3:
        raise Refusal(Code.TOKEN_MALFORMED, "a signed token has three segments; encrypted ones are not taken")
    header_segment, payload_segment, signature_segment = segments
    header = _parse_header(header_segment)
    try:
        claims = strict_json_object(decode_segment(payload_segment))
    except ValueError as error:
        raise Refusal(Code.TOKEN_MALFORMED, f"the payload: {error}") from None
    try:
        signature = decode_segment(signature_segment)
    except ValueError as error:
        raise Refusal(Code.TOKEN_MALFORMED, f"the signature: {error}") from None
    signing_input = token[: len(header_segment) + 1 + len(payload_segment)]
    return UnverifiedToken(header.members, header.algorithm, header.key_id, claims, signing_input, signature)


@lru_cache(maxsize=256)
def _parse_header(segment: bytes) -> _Header:
    """The checked header. The same few headers come again and again, so they are remembered by their bytes."""
    if len(segment) > HEADER_LIMIT:
        raise Refusal(Code.TOKEN_TOO_LARGE, f"the header is longer than {HEADER_LIMIT} bytes")
    try:
        members = strict_json_object(decode_segment(segment))
    except ValueError as error:
        raise Refusal(Code.TOKEN_MALFORMED, f"the header: {error}") from None
    if "crit" in members or "b64" in members:
        raise Refusal(Code.CRIT_UNSUPPORTED, "no header extension is supported", field="crit")
    if _is_assertion(members.get("typ")):
        raise Refusal(Code.AUDIENCE_MISMATCH, "an identity assertion is for an upstream, no login token", field="typ")
    algorithm, key_id = members.get("alg"), members.get("kid")
    if not isinstance(algorithm, str):
        raise Refusal(Code.TOKEN_MALFORMED, "alg is not a string", field="alg")
    if "kid" in members and not isinstance(key_id, str):
        raise Refusal(Code.TOKEN_MALFORMED, "kid is not a string", field="kid")
    if "zip" in members or "enc" in members:
        raise Refusal(Code.TOKEN_MALFORMED, "compressed and encrypted tokens are not taken", field="zip")
    return _Header(members, algorithm, key_id)


def _is_assertion(typ: object) -> bool:
    """Whether a `typ` is that of our assertions; media types know no case (RFC 7515 section 4.1.9)."""
    return isinstance(typ, str) and typ.lower().removeprefix("application/") == ASSERTION_TYPE


def decode_segment(segment: bytes) -> bytes:
    """The bytes of a canonical, unpadded base64url text; `ValueError` for anything else (A13, R1)."""
    try:
        decoded = base64.b64decode(segment.translate(_TO_STANDARD) + b"==="[: -len(segment) % 4], validate=True)
    except ValueError:
        raise ValueError("not base64url") from None
    # The last letter may hold bits that no byte takes: only one spelling of the same bytes is canonical. The
    # comparison also refuses padding, the alphabet's other half (+ and /) and white space.
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != segment:
        raise ValueError("not canonical base64url")
    return decoded


_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


def strict_json_object(text: bytes) -> dict[str, Any]:
    """A JSON object; `ValueError` for what is no strict JSON or no object, without a word of the text."""
    try:
        value = msgspec.json.decode(text)
        # A text that is the compact encoding of its own value cannot hold a duplicate member, a number out of
        # bounds or a lone surrogate: nothing more is to be checked, unless it is nested.
        if type(value) is dict and msgspec.json.encode(value) == text and _is_flat(value):
            return value
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
        pass  # the slow way below says what is wrong
    return _strictly(text)


def _is_flat(value: dict[str, Any]) -> bool:
    """Whether no member needs another look: text, short integers, booleans, null."""
    for member in value.values():
        kind = type(member)
        if kind is str or kind is bool or member is None:
            continue
        if kind is int and -(2**63) <= member < 2**64:
            continue
        return False
    return True


def _strictly(text: bytes) -> dict[str, Any]:
    if _is_deep(text):
        raise ValueError(f"nested deeper than {DEPTH_LIMIT}, or unbalanced")
    try:
        decoded = text.decode("utf-8")
        value = json.loads(
            decoded,
            object_pairs_hook=_no_duplicates,
            parse_int=_bounded_integer,
            parse_float=_finite_float,
            parse_constant=_no_constant,
        )
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except json.JSONDecodeError:
        raise ValueError("not JSON") from None
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - a malformed text, not a caller's mistake
    # Half a surrogate pair can be written as an escape; it is no text that any store or header could carry.
    if "\\u" in decoded and _has_surrogate(value):
        raise ValueError("half of a surrogate pair")
    return value


def _is_deep(text: bytes) -> bool:
    """Whether a text is nested beyond the limit, or unbalanced; tells it without building anything, in linear time."""
    if text.count(b"{") + text.count(b"[") <= DEPTH_LIMIT:
        return False
    brackets = _STRING.sub(b"", text).translate(_ONE_BRACKET, delete=_NO_BRACKETS)
    for _ in range(DEPTH_LIMIT):
        brackets = brackets.replace(b"[]", b"")  # the innermost pairs: one level a round
    return bool(brackets)


_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_ONE_BRACKET = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


def _bounded_integer(digits: str) -> int:
    if len(digits) > _INTEGER_DIGITS:
        raise ValueError("an integer is too long")
    return int(digits)


def _finite_float(digits: str) -> float:
    number = float(digits)
    if len(digits) > 40 or not math.isfinite(number):
        raise ValueError("a number is out of bounds")
    return number


def _no_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")


def _has_surrogate(value: Any) -> bool:
    if isinstance(value, str):
        return any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, dict):
        return any(_has_surrogate(one) for pair in value.items() for one in pair)
    if isinstance(value, list):
        return any(_has_surrogate(one) for one in value)
    return False
