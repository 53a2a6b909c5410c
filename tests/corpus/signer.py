"""Whose tokens are broken, and what a broken one is. What makes them is `gateway.identity.crafting`."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from gateway.errors import Code
from gateway.identity.claims import ClaimPolicy
from gateway.identity.crafting import Signer
from keys.jwk import generate_signing_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    Cases = Iterator[tuple[str, bytes, Code]]


class BadToken(Struct, frozen=True):
    """A token, a name for it, and the code that refuses it."""

    name: str
    token: bytes
    code: Code

    @property
    def fits_a_header(self) -> bool:
        """Whether it can be sent as a bearer token: no blanks, no control characters, not larger than a header."""
        return 0 < len(self.token) <= 16384 and all(0x21 <= byte <= 0x7E for byte in self.token)


def shared_secret_signer(secret: bytes, now: float, *, kid: str | None = None, algorithm: str = "HS256") -> Signer:
    """A customer's back end in Messenger style: HS256, no `iss`."""
    header = {"alg": algorithm, "typ": "JWT", **({} if kid is None else {"kid": kid})}
    policy = ClaimPolicy(require_exp=False, max_lifetime=None, session_claim=True)
    return Signer(algorithm, secret, now, header, good_claims(now), policy)


def key_signer(
    algorithm: str,
    now: float,
    *,
    issuer: str,
    audience: str,
    key: Any = None,
    kid: str | None = None,
    beside_secrets: bool = False,
) -> Signer:
    """An issuer with `iss`, `aud` and a private key, which is made here unless it is given."""
    header = {"alg": algorithm, "typ": "JWT", **({} if kid is None else {"kid": kid})}
    claims = {**good_claims(now), "iss": issuer, "aud": audience}
    policy = ClaimPolicy(issuer=issuer, audience=(audience,))
    return Signer(algorithm, key or generate_key(algorithm), now, header, claims, policy, beside_secrets)


def good_claims(now: float) -> dict[str, Any]:
    """The claims of a person, ten minutes of life."""
    return {"user_id": "user-1", "email": "ada@example.com", "iat": int(now), "exp": int(now) + 600}


def generate_key(algorithm: str) -> Any:
    """A new private key (bytes for HS*) that suits an algorithm."""
    if algorithm.startswith("HS"):
        return base64.b64encode(os.urandom(64))
    return generate_signing_key(algorithm).material
