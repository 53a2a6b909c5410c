"""Keys: one to verify with, one to sign with, and how they come from JWK and PEM (RFC 7517, RFC 7518 section 6).

The key decides which algorithms it permits (R7, advisory A02). What is weak or meant for something else never becomes a
key: RSA below 2048 bits, an even or small exponent, a curve that is not listed, `use` other than `sig`, a private or
symmetric member in a public set (R10, R11, A27).
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError
from msgspec import Struct

from keys.errors import KeyMaterialError, KeyOfOtherUse, SecretPublished
from keys.secrets import checked_secret
from keys.strength import check_edwards, check_rsa

if TYPE_CHECKING:
    from collections.abc import Mapping

HMAC = frozenset({"HS256", "HS384", "HS512"})
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_ED = frozenset({"EdDSA", "Ed25519", "Ed448"})
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_LOADERS = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
_TEXT_MEMBERS = ("kty", "kid", "alg", "use", "crv", "n", "e", "x", "y")
_JWK_CURVES = {"EC": frozenset({"P-256", "P-384", "P-521"}), "OKP": frozenset({"Ed25519", "Ed448"})}
_THUMBPRINT_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}


class VerificationKey(Struct, frozen=True):
    """A key to verify with: its id, its kind (`oct`, `RSA`, `EC`, `OKP`) and the algorithms that it permits.

    `platforms` names those that a shared secret is enabled for; empty means all.
    """

    kid: str | None
    kind: str
    algorithms: frozenset[str]
    material: Any
    platforms: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        """Without the material."""
        return f"VerificationKey(kid={self.kid!r}, kind={self.kind!r}, algorithms={sorted(self.algorithms)})"


class SigningKey(Struct, frozen=True):
    """A key to sign with: its id, its one algorithm, and the private material (bytes for a shared secret)."""

    kid: str | None
    algorithm: str
    material: Any

    def __repr__(self) -> str:
        """Without the material."""
        return f"SigningKey(kid={self.kid!r}, algorithm={self.algorithm!r})"

    def public_jwk(self) -> dict[str, Any]:
        """The public half as a JWK with `kid`, `alg` and `use`; `KeyMaterialError` for a shared secret (R11)."""
        if isinstance(self.material, bytes):
            raise KeyMaterialError("a shared secret has no public half")
        return public_jwk(self.material.public_key(), kid=self.kid, algorithm=self.algorithm)

    def private_pem(self) -> bytes:
        """The private key as unencrypted PKCS#8 PEM, for a file that only its owner reads."""
        pem: bytes = self.material.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return pem


def key_from_secret(
    text: str,
    kid: str | None = None,
    algorithms: tuple[str, ...] = ("HS256",),
    platforms: frozenset[str] = frozenset(),
) -> VerificationKey:
    """A shared secret as a key; `KeyMaterialError` when it is short, common or a public key."""
    return VerificationKey(kid, "oct", frozenset(algorithms), checked_secret(text, algorithms), platforms)


def key_from_jwk(jwk: Mapping[str, Any]) -> VerificationKey:
    """A public key from its JWK.

    Raises `KeyMaterialError` for what is weak, private, symmetric or not well formed, and its kind `KeyOfOtherUse` for
    a key that was not made to verify, or whose type is none of ours.
    """
    kind, kid, declared = jwk.get("kty"), jwk.get("kid"), jwk.get("alg")
    if not isinstance(kind, str) or not all(isinstance(jwk.get(name, ""), str) for name in _TEXT_MEMBERS):
        raise KeyMaterialError("the JWK has no kty, or a member that is not a string")
    if kind == "oct" or _PRIVATE_MEMBERS & jwk.keys():
        raise SecretPublished("the JWK is symmetric or holds private members; only public keys verify")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list):
        raise KeyMaterialError("the JWK's key_ops is not a list")
    if jwk.get("use", "sig") != "sig" or "verify" not in operations:
        raise KeyOfOtherUse("the JWK is not meant to verify signatures")
    if kind not in _LOADERS:
        raise KeyOfOtherUse("the JWK is not an RSA, EC or OKP public key")
    if kind != "RSA" and "crv" in jwk and jwk["crv"] not in _JWK_CURVES[kind]:
        raise KeyOfOtherUse("the JWK's curve is not P-256, P-384, P-521, Ed25519 or Ed448")
    try:
        material = _LOADERS[kind].from_jwk(dict(jwk))  # type: ignore[attr-defined]
    except (PyJWTError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        raise KeyMaterialError(f"the JWK is not a well-formed {kind} key") from None  # the cause may quote it
    permitted = permitted_algorithms(material)
    if declared is None:
        return VerificationKey(kid, kind, permitted, material)
    if declared not in permitted:
        known = declared in HMAC | _RSA | _ED or declared in _CURVES.values()
        raise (KeyMaterialError if known else KeyOfOtherUse)("the JWK's alg does not suit its key")
    # RFC 9864 renames EdDSA: the old and the new name are the same algorithm.
    same = permitted if kind == "OKP" else frozenset({declared})
    return VerificationKey(kid, kind, same, material)


def key_from_pem(pem: bytes, kid: str | None = None) -> VerificationKey:
    """A public key from PEM; `KeyMaterialError` for a private one, a weak one, or none at all."""
    try:
        material = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyMaterialError("this is not a public key in PEM") from None
    permitted = permitted_algorithms(material)
    kind = "RSA" if isinstance(material, rsa.RSAPublicKey) else "OKP" if "EdDSA" in permitted else "EC"
    return VerificationKey(kid, kind, permitted, material)


def signing_key_from_secret(text: str, kid: str | None = None, algorithm: str = "HS256") -> SigningKey:
    """A shared secret to sign with."""
    return SigningKey(kid, algorithm, checked_secret(text, (algorithm,)))


def signing_key_from_pem(pem: bytes, algorithm: str | None = None, kid: str | None = None) -> SigningKey:
    """A private key from PEM; its id is the RFC 7638 thumbprint unless one is given."""
    try:
        material = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyMaterialError("this is not an unencrypted private key in PEM") from None
    permitted = permitted_algorithms(material.public_key())
    algorithm = algorithm or min(permitted & {"RS256", "ES256", "ES384", "ES512", "Ed25519", "Ed448"})
    if algorithm not in permitted:
        raise KeyMaterialError(f"the key does not suit {algorithm}")
    kid = kid or thumbprint(public_jwk(material.public_key()))
    return SigningKey(kid, algorithm, material)


def generate_signing_key(algorithm: str) -> SigningKey:
    """A new private key for an asymmetric algorithm; its id is the RFC 7638 thumbprint of its public half."""
    material: Any
    if algorithm in _RSA:
        material = rsa.generate_private_key(65537, 2048)
    elif algorithm in _CURVES.values():
        curve = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}[algorithm]
        material = ec.generate_private_key(curve)
    elif algorithm in {"EdDSA", "Ed25519"}:
        material = ed25519.Ed25519PrivateKey.generate()
    elif algorithm == "Ed448":
        material = ed448.Ed448PrivateKey.generate()
    else:
        raise KeyMaterialError(f"no asymmetric key is made for {algorithm}")
    return SigningKey(thumbprint(public_jwk(material.public_key())), algorithm, material)


def permitted_algorithms(material: object) -> frozenset[str]:
    """The algorithms that suit a public key; `KeyMaterialError` when it is too weak for any."""
    if isinstance(material, rsa.RSAPublicKey):
        check_rsa(material)
        return _RSA
    if isinstance(material, ec.EllipticCurvePublicKey) and material.curve.name in _CURVES:
        return frozenset({_CURVES[material.curve.name]})
    if isinstance(material, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        check_edwards(material)
        return frozenset({"EdDSA", "Ed25519" if isinstance(material, ed25519.Ed25519PublicKey) else "Ed448"})
    raise KeyMaterialError("only public keys of RSA, P-256, P-384, P-521, Ed25519 and Ed448 verify")


def public_jwk(material: Any, *, kid: str | None = None, algorithm: str | None = None) -> dict[str, Any]:
    """A public key as a JWK."""
    kind = "RSA" if isinstance(material, rsa.RSAPublicKey) else "EC"
    if isinstance(material, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        kind = "OKP"
    jwk: dict[str, Any] = _LOADERS[kind].to_jwk(material, as_dict=True)  # type: ignore[attr-defined]
    jwk.pop("key_ops", None)
    named = {"kid": kid, "alg": algorithm, "use": "sig" if kid else None}
    return {**jwk, **{name: value for name, value in named.items() if value}}


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """The RFC 7638 SHA-256 thumbprint of a public JWK, in base64url."""
    members = {name: jwk[name] for name in _THUMBPRINT_MEMBERS[jwk["kty"]]}
    digest = hashlib.sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
