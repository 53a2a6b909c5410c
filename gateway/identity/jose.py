"""Step 6: signatures, by PyJWT's algorithm objects over `cryptography`. The one file of the gateway that calls PyJWT.

`jwt.decode` is not used: its dictionary work costs ten times the signature of an HMAC (facts: performance), and what it
parses and checks is ours anyway, for safety.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jwt.algorithms import (
    Algorithm,
    ECAlgorithm,
    HMACAlgorithm,
    OKPAlgorithm,
    RSAAlgorithm,
    RSAPSSAlgorithm,
)
from msgspec import Struct

from gateway.errors import Code, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.identity.unverified import UnverifiedToken
    from keys.jwk import SigningKey, VerificationKey

ALGORITHMS: dict[str, Algorithm] = {
    "HS256": HMACAlgorithm(HMACAlgorithm.SHA256),
    "HS384": HMACAlgorithm(HMACAlgorithm.SHA384),
    "HS512": HMACAlgorithm(HMACAlgorithm.SHA512),
    "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
    "RS384": RSAAlgorithm(RSAAlgorithm.SHA384),
    "RS512": RSAAlgorithm(RSAAlgorithm.SHA512),
    "PS256": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA256),
    "PS384": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA384),
    "PS512": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA512),
    "ES256": ECAlgorithm(ECAlgorithm.SHA256),
    "ES384": ECAlgorithm(ECAlgorithm.SHA384),
    "ES512": ECAlgorithm(ECAlgorithm.SHA512),
    "EdDSA": OKPAlgorithm(),
    "Ed25519": OKPAlgorithm(),
    "Ed448": OKPAlgorithm(),
}
"""Every algorithm that an issuer may list: RFC 7518 section 3.1, RFC 8037, and the names of RFC 9864."""


class SignedClaims(Struct, frozen=True):
    """Claims whose signature was verified with `key_id`'s key. Built in `verify_signature` and nowhere else."""

    claims: dict[str, Any]
    key_id: str | None


def verify_signature(token: UnverifiedToken, keys: Iterable[VerificationKey]) -> SignedClaims:
    """The claims, once one of the keys that permit the token's algorithm has verified it.

    Raises `Refusal(signature_invalid)`. HMACs are compared in constant time by PyJWT (advisory A20); an ECDSA signature
    has the exact length of its curve (RFC 7518 section 3.4).
    """
    algorithm = ALGORITHMS[token.algorithm]
    for key in keys:
        if token.algorithm in key.algorithms and algorithm.verify(token.signing_input, key.material, token.signature):
            return SignedClaims(token.unverified_claims, key.kid)
    raise Refusal(Code.SIGNATURE_INVALID, "no key of the issuer verifies the signature")


def sign(signing_input: bytes, key: SigningKey) -> bytes:
    """The signature of the bytes with a key and its own algorithm."""
    return ALGORITHMS[key.algorithm].sign(signing_input, key.material)
