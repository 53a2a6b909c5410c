"""Making tokens: for tests, for development, for our own assertions."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.identity.jose import sign

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keys.jwk import SigningKey


def issue_token(
    claims: Mapping[str, Any],
    key: SigningKey,
    *,
    ttl: float | None,
    now: float,
    header: Mapping[str, Any] | None = None,
) -> str:
    """A signed token. `ttl` seconds make `iat` and `exp` unless the claims hold them; None leaves both out.

    `header` adds members or replaces `alg`, `typ` and `kid`; it does not change how the token is signed.
    """
    times = {} if ttl is None else {"iat": int(now), "exp": int(now + ttl)}
    members = {"alg": key.algorithm, "typ": "JWT", **({"kid": key.kid} if key.kid else {}), **(header or {})}
    signing_input = b".".join(encode_segment(msgspec.json.encode(part)) for part in (members, {**times, **claims}))
    return (signing_input + b"." + encode_segment(sign(signing_input, key))).decode()


def encode_segment(content: bytes) -> bytes:
    """Canonical unpadded base64url (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(content).rstrip(b"=")
