"""Tokens that are no JWS of two JSON objects in their one spelling: size, segments, base64url, JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.errors import Code
from gateway.identity.broken.entry import BrokenToken, free_ids
from gateway.identity.crafting import encoded, over
from gateway.identity.issuing import encode_segment
from gateway.identity.unverified import TOKEN_LIMIT

if TYPE_CHECKING:
    from gateway.identity.crafting import Signer

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
MALFORMED = Code.TOKEN_MALFORMED


def _too_large(signer: Signer) -> bytes:
    return signer.token(claims={"name": "x" * TOKEN_LIMIT})


def _two_segments(signer: Signer) -> bytes:
    return signer.token().rsplit(b".", 1)[0]


def _four_segments(signer: Signer) -> bytes:
    token = signer.token()
    return token + b"." + token.rsplit(b".", 1)[1]


def _five_segments(signer: Signer) -> bytes:
    header, payload, signature = signer.token().split(b".")
    return b".".join([header, payload, signature, payload, signature])


def _detached(signer: Signer) -> bytes:
    header, _, signature = signer.token().split(b".")
    return header + b".." + signature


def _json_serialisation(signer: Signer) -> bytes:
    protected, payload, signature = (segment.decode() for segment in signer.token().split(b"."))
    return encoded({"protected": protected, "payload": payload, "signature": signature})


def _padded(signer: Signer) -> bytes:
    header, payload = _with_spare_bits(signer)
    return signer.sign(header, padded(payload))


def _spare_bits(signer: Signer) -> bytes:
    header, payload = _with_spare_bits(signer)
    return signer.sign(header, spare_bit_set(payload))


def _standard_alphabet(signer: Signer) -> bytes:
    # A row of tildes brings out one of the two letters in which the alphabets differ.
    header, payload, _ = signer.token(claims={"name": "~" * 8}).split(b".")
    return signer.sign(header, payload.replace(b"-", b"+").replace(b"_", b"/"))


def _duplicate_user_id(signer: Signer) -> bytes:
    payload = encoded(over(signer.claims, {signer.user_id_claim: "user-1"}))
    return signer.seal(
        encoded(signer.header), b"{" + encoded(signer.user_id_claim) + b':"somebody-else",' + payload[1:]
    )


def _duplicate_alg(signer: Signer) -> bytes:
    return signer.seal(b'{"alg":"none",' + encoded(signer.header)[1:], encoded(signer.claims))


def _not_json(signer: Signer) -> bytes:
    return signer.seal(encoded(signer.header), encoded(signer.claims)[:-1])


def _list(signer: Signer) -> bytes:
    return signer.seal(encoded(signer.header), encoded([signer.claims]))


def _utf_16(signer: Signer) -> bytes:
    return signer.seal(encoded(signer.header), encoded(signer.claims).decode().encode("utf-16"))


def _nan(signer: Signer) -> bytes:
    return signer.token(claims={"exp": float("nan")})


def _deep(signer: Signer) -> bytes:
    payload = b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"," + encoded(signer.claims)[1:]
    return signer.seal(encoded(signer.header), payload)


def _surrogate(signer: Signer) -> bytes:
    return signer.token(claims={signer.user_id_claim: "user\ud800"})


def _with_spare_bits(signer: Signer) -> tuple[bytes, bytes]:
    """Header and payload as segments, where the payload's last letter holds bits that no byte takes."""
    payload = encoded(signer.claims)
    return encode_segment(encoded(signer.header)), encode_segment(payload + b" " * ((1 - len(payload)) % 3))


def padded(segment: bytes) -> bytes:
    """A segment with its padding."""
    return segment + b"=" * (-len(segment) % 4)


def spare_bit_set(segment: bytes) -> bytes:
    """A segment whose last letter is the next one of the alphabet: to a lenient decoder the same bytes."""
    return segment[:-1] + _ALPHABET[(index := _ALPHABET.index(segment[-1:]) + 1) : index + 1]


FORM = (
    BrokenToken(
        "too-large",
        Code.TOKEN_TOO_LARGE,
        "Longer than 8 KiB: a size that is looked at late lets strangers buy memory and time (CVE-2025-61920).",
        _too_large,
    ),
    BrokenToken(
        "two-segments",
        MALFORMED,
        "The signature is missing with its dot: what is not signed is not a token (RFC 7515 section 3.1).",
        _two_segments,
    ),
    BrokenToken(
        "four-segments",
        MALFORMED,
        "A segment too many: a lenient split reads one token, the next program another.",
        _four_segments,
    ),
    BrokenToken(
        "five-segments",
        MALFORMED,
        "Five segments are an encrypted token (RFC 7516): they bring zip bombs and padding oracles (CVE-2024-28180).",
        _five_segments,
    ),
    BrokenToken(
        "detached-payload",
        MALFORMED,
        "The payload is left out, to be found elsewhere (RFC 7515 appendix F): whoever supplies it chooses the person.",
        _detached,
    ),
    BrokenToken(
        "json-serialisation",
        MALFORMED,
        "The JSON form of a signature (RFC 7515 section 7.2), which may carry several: a login token is compact.",
        _json_serialisation,
    ),
    BrokenToken(
        "padded-base64",
        MALFORMED,
        "The payload ends in `=`: a token has no padding, and one spelling (RFC 7515 section 2, GHSA-hxm8-2xgr-2p9m).",
        _padded,
    ),
    BrokenToken(
        "spare-bits",
        MALFORMED,
        "The last letter holds bits that no byte takes: a second spelling of one token (RFC 4648 section 3.5).",
        _spare_bits,
    ),
    BrokenToken(
        "standard-base64",
        MALFORMED,
        "Encoded with `+` and `/` instead of `-` and `_`: a second spelling of the same token (GHSA-hxm8-2xgr-2p9m).",
        _standard_alphabet,
    ),
    BrokenToken("payload-not-json", MALFORMED, "The payload is cut off: what is signed says nothing.", _not_json),
    BrokenToken(
        "payload-list", MALFORMED, "The payload is a list: claims are one JSON object (RFC 7519 section 3).", _list
    ),
    BrokenToken(
        "payload-utf-16",
        MALFORMED,
        "The payload is UTF-16: tokens are UTF-8, and two readers would see two texts (RFC 8725 section 3.7).",
        _utf_16,
    ),
    BrokenToken(
        "duplicate-user-id",
        MALFORMED,
        "The user id stands there twice: one program takes the first, the next one the last (RFC 7519 section 4).",
        _duplicate_user_id,
    ),
    BrokenToken(
        "duplicate-alg",
        MALFORMED,
        "`alg` stands in the header twice, `none` first: which one counts depends on the reader (RFC 7515 section 4).",
        _duplicate_alg,
    ),
    BrokenToken(
        "exp-nan",
        MALFORMED,
        "`exp` is NaN, which is no JSON and is smaller than no time: the token would never expire.",
        _nan,
    ),
    BrokenToken(
        "deeply-nested",
        MALFORMED,
        "2,000 lists within each other: a reader that recurses runs out of stack (GHSA-8wjv-2p76-3863).",
        _deep,
    ),
    BrokenToken(
        "user-id-surrogate",
        MALFORMED,
        "The user id holds half of a surrogate pair: no store, header or log can carry it, so it fails later.",
        _surrogate,
        free_ids,
    ),
)
"""Step 2 of the way of a token, but for what its header says."""
