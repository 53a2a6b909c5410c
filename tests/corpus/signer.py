"""Who signs bad tokens, and what one is. Nothing here calls the gateway: bytes are made by hand."""

from __future__ import annotations

import base64
import hmac
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from msgspec import Struct

from gateway.errors import Code

if TYPE_CHECKING:
    from collections.abc import Iterator

    Cases = Iterator[tuple[str, bytes, Code]]

SHA: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_CURVE: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


class BadToken(Struct, frozen=True):
    """A token, a name for it, and the code that refuses it."""

    name: str
    token: bytes
    code: Code

    @property
    def fits_a_header(self) -> bool:
        """Whether it can be sent as a bearer token: no blanks, no control characters, not larger than a header."""
        return 0 < len(self.token) <= 16384 and all(0x21 <= byte <= 0x7E for byte in self.token)


class Signer(Struct, frozen=True):
    """Who signs: the header and the claims of a good token, and the key.

    `key` is bytes for HS*, else a private key of cryptography. `now` is the time, in seconds, around which the claims
    stand. `strict` says that the issuer insists on exp and on a lifetime of at most a day; `beside_secrets` that its
    workspace also takes Messenger tokens, whatever their iss: a wrong iss then ends at the algorithm.
    """

    algorithm: str
    key: Any
    now: float
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    strict: bool = True
    beside_secrets: bool = False

    @property
    def symmetric(self) -> bool:
        return isinstance(self.key, bytes)

    @property
    def public_key(self) -> Any:
        return self.key.public_key()

    def token(self, header: Mapping[str, Any] | None = None, claims: Mapping[str, Any] | None = None) -> bytes:
        """A token with these members set over the good ones; a member set to `LEFT_OUT` is left out."""
        return self.seal(encoded(over(self.header, header)), encoded(over(self.claims, claims)))

    def seal(self, header: bytes, payload: bytes) -> bytes:
        """Any two texts as a signed token."""
        return self.sign(b64(header), b64(payload))

    def sign(self, header_segment: bytes, payload_segment: bytes) -> bytes:
        """Any two segments as a signed token."""
        signing_input = header_segment + b"." + payload_segment
        return signing_input + b"." + b64(sign_bytes(self.algorithm, self.key, signing_input))


class _LeftOut:
    """The mark of a member that is not there."""


LEFT_OUT = _LeftOut()


def shared_secret_signer(secret: bytes, now: float, *, kid: str | None = None, algorithm: str = "HS256") -> Signer:
    """A customer's back end in Messenger style: HS256, no `iss`."""
    header = {"alg": algorithm, "typ": "JWT", **({} if kid is None else {"kid": kid})}
    return Signer(algorithm, secret, now, header, good_claims(now), strict=False)


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
    made = key or generate_key(algorithm)
    return Signer(algorithm, made, now, header, claims, beside_secrets=beside_secrets)


def good_claims(now: float) -> dict[str, Any]:
    """The claims of a person, ten minutes of life."""
    return {"user_id": "user-1", "email": "ada@example.com", "iat": int(now), "exp": int(now) + 600}


def generate_key(algorithm: str) -> Any:
    """A new private key (bytes for HS*) that suits an algorithm."""
    if algorithm.startswith("HS"):
        return base64.b64encode(os.urandom(64))
    if algorithm[:2] in {"RS", "PS"}:
        return rsa.generate_private_key(65537, 2048)
    if algorithm in _CURVE:
        return ec.generate_private_key(_CURVE[algorithm])
    return ed448.Ed448PrivateKey.generate() if algorithm == "Ed448" else ed25519.Ed25519PrivateKey.generate()


def sign_bytes(algorithm: str, key: Any, data: bytes) -> bytes:
    """A JWS signature (RFC 7518 section 3, RFC 8037 section 3.1)."""
    if algorithm.startswith("Ed"):
        return bytes(key.sign(data))
    family, size = algorithm[:2], algorithm[2:]
    digest = SHA[size]
    if family == "HS":
        return hmac.digest(key, data, f"sha{size}")
    if family == "RS":
        return bytes(key.sign(data, padding.PKCS1v15(), digest))
    if family == "PS":
        return bytes(key.sign(data, padding.PSS(padding.MGF1(digest), digest.digest_size), digest))
    return raw_signature(*decode_dss_signature(key.sign(data, ec.ECDSA(digest))), octets_of(key))


def raw_signature(r: int, s: int, octets: int) -> bytes:
    """R and S side by side (RFC 7518 section 3.4)."""
    return r.to_bytes(octets, "big") + s.to_bytes(octets, "big")


def octets_of(key: ec.EllipticCurvePrivateKey) -> int:
    """How many octets R and S have each."""
    return (key.curve.key_size + 7) // 8


def b64(data: bytes) -> bytes:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def encoded(value: object) -> bytes:
    """JSON without blanks, in ASCII."""
    return json.dumps(value, separators=(",", ":")).encode()


def over(base: Mapping[str, Any], members: Mapping[str, Any] | None) -> dict[str, Any]:
    merged = {**base, **(members or {})}
    return {name: value for name, value in merged.items() if value is not LEFT_OUT}
