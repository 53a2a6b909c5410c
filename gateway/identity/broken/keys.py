"""Tokens that play on algorithms, keys, headers and signatures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.errors import Code
from gateway.identity.broken.entry import (
    BrokenToken,
    asymmetric_only,
    elliptic_only,
    named_key_only,
    symmetric_only,
)
from gateway.identity.crafting import LEFT_OUT, Signer, encoded, over
from gateway.identity.issuing import encode_segment
from gateway.identity.unverified import ASSERTION_TYPE, decode_segment
from keys.jwk import generate_signing_key, public_jwk

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_ALLOWED, UNKNOWN, FORGED = Code.ALG_NOT_ALLOWED, Code.KID_UNKNOWN, Code.SIGNATURE_INVALID
_OF_NOBODY = "a secret of nobody, 32 bytes or longer, that no issuer was ever given: "
_DIGESTS = {"ES256": hashes.SHA256(), "ES384": hashes.SHA384(), "ES512": hashes.SHA512()}


def _header(**members: Any) -> Callable[[Signer], bytes]:
    """Well signed, with these members in the header."""
    return lambda signer: signer.token(members)


def _unsigned(algorithm: str) -> Callable[[Signer], bytes]:
    """An algorithm in the header, and an empty signature."""
    return lambda signer: signer.token({"alg": algorithm}).rsplit(b".", 1)[0] + b"."


def _lower_case(signer: Signer) -> bytes:
    return signer.token({"alg": signer.algorithm.swapcase()})


def _hmac_with(secret: Callable[[Signer], bytes]) -> Callable[[Signer], bytes]:
    """HS256, with something public as the secret."""

    def make(signer: Signer) -> bytes:
        header = {**signer.header, "alg": "HS256"}
        return Signer("HS256", secret(signer), signer.now, header, signer.claims).token()

    return make


def _public_pem(signer: Signer) -> bytes:
    pem: bytes = signer.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def _public_jwk(signer: Signer) -> bytes:
    return json.dumps(public_jwk(signer.public_key, kid=signer.header.get("kid"))).encode()


def stranger_of(signer: Signer) -> Signer:
    """Somebody who says the same as the signer, and has a key of his own."""
    if signer.symmetric:
        key: Any = (_OF_NOBODY * 2).encode()
    else:
        key = generate_signing_key(signer.algorithm).material
    return Signer(signer.algorithm, key, signer.now, signer.header, signer.claims)


def _by_a_stranger(**members: Any) -> Callable[[Signer], bytes]:
    return lambda signer: stranger_of(signer).token(members)


def _embedded_key(signer: Signer, **members: Any) -> bytes:
    stranger = stranger_of(signer)
    if signer.symmetric:
        jwk: dict[str, Any] = {"kty": "oct", "k": encode_segment(stranger.key).decode()}
    else:
        jwk = public_jwk(stranger.public_key)
    return stranger.token({"jwk": {**jwk, "kid": "stranger"}, **members})


def _unencoded(signer: Signer) -> bytes:
    header = encoded({**signer.header, "b64": False, "crit": ["b64"]})
    return signer.sign(encode_segment(header), b"$")


def _with_signature(change: Callable[[bytes], bytes]) -> Callable[[Signer], bytes]:
    """A good token whose signature is changed."""

    def make(signer: Signer) -> bytes:
        signing_input, signature = signer.token().rsplit(b".", 1)
        return signing_input + b"." + encode_segment(change(decode_segment(signature)))

    return make


def _other_payload(claims: Callable[[Signer], dict[str, Any]]) -> Callable[[Signer], bytes]:
    """The signature of a good token under other claims."""

    def make(signer: Signer) -> bytes:
        header, _, signature = signer.token().split(b".")
        return b".".join([header, encode_segment(encoded(over(signer.claims, claims(signer)))), signature])

    return make


def _der(signer: Signer) -> bytes:
    signing_input = signer.token().rsplit(b".", 1)[0]
    der = signer.key.sign(signing_input, ec.ECDSA(_DIGESTS[signer.algorithm]))
    return signing_input + b"." + encode_segment(der)


KEYS = (
    BrokenToken(
        "alg-none",
        NOT_ALLOWED,
        "`alg` is `none` and nothing is signed: anybody could write it (RFC 8725 section 2.1, CVE-2026-28802).",
        _unsigned("none"),
    ),
    BrokenToken(
        "alg-none-mixed-case",
        NOT_ALLOWED,
        "`alg` is `nOnE`: a filter that knows one spelling of `none` lets it through (RFC 8725 section 2.1).",
        _unsigned("nOnE"),
    ),
    BrokenToken(
        "alg-none-signed",
        NOT_ALLOWED,
        "`alg` is `none` over a good signature: the header must not decide whether the signature is looked at.",
        _header(alg="none"),
    ),
    BrokenToken(
        "alg-missing", Code.TOKEN_MALFORMED, "The header has no `alg` (RFC 7515 section 4.1.1).", _header(alg=LEFT_OUT)
    ),
    BrokenToken(
        "alg-not-text",
        Code.TOKEN_MALFORMED,
        "`alg` is a list: a lenient comparison finds the right name within it.",
        lambda signer: signer.token({"alg": [signer.algorithm]}),
    ),
    BrokenToken(
        "alg-other-case",
        NOT_ALLOWED,
        "`alg` in the other letter case: names of algorithms are compared exactly (RFC 7515 section 4.1.1).",
        _lower_case,
    ),
    BrokenToken(
        "alg-unknown",
        NOT_ALLOWED,
        "`alg` is ES256K, on nobody's list: the list decides, never the token (RFC 8725 section 3.1, CVE-2026-48523).",
        _header(alg="ES256K"),
    ),
    BrokenToken(
        "hs256-with-public-key",
        NOT_ALLOWED,
        "Signed with HS256 and the public key, in PEM, as a secret (CVE-2017-11424, CVE-2022-29217).",
        _hmac_with(_public_pem),
        asymmetric_only,
    ),
    BrokenToken(
        "hs256-with-public-jwk",
        NOT_ALLOWED,
        "Signed with HS256 and the public key, as published in the key set, as the secret (CVE-2026-48526).",
        _hmac_with(_public_jwk),
        asymmetric_only,
    ),
    BrokenToken(
        "wrong-secret",
        FORGED,
        "Signed with a secret that is not the workspace's: the plainest forgery.",
        _by_a_stranger(),
        symmetric_only,
    ),
    BrokenToken(
        "wrong-key",
        FORGED,
        "Signed with a private key that is not the issuer's, under its kid: the plainest forgery.",
        _by_a_stranger(),
        asymmetric_only,
    ),
    BrokenToken(
        "wrong-key-without-kid",
        FORGED,
        "Signed by a stranger, without a kid: each key of the issuer is tried, and none fits.",
        _by_a_stranger(kid=LEFT_OUT),
        named_key_only,
    ),
    BrokenToken(
        "unknown-kid",
        UNKNOWN,
        "Its kid is nobody's: no other key takes its place, and no stranger drives fetches (GHSA-2gx3-rcp4-g85q).",
        _header(kid="nobody"),
    ),
    BrokenToken(
        "kid-path",
        UNKNOWN,
        "Its kid is a path: where keys are files, it reads another one as the key (RFC 8725 section 3.10).",
        _header(kid="../../../../dev/null"),
    ),
    BrokenToken(
        "kid-sql",
        UNKNOWN,
        "Its kid is a piece of SQL: where keys are rows, it selects any key (RFC 8725 section 3.10).",
        _header(kid="' OR '1'='1"),
    ),
    BrokenToken(
        "kid-not-text",
        Code.TOKEN_MALFORMED,
        "Its kid is a number: ids of keys are text (RFC 7515 section 4.1.4).",
        _header(kid=1),
    ),
    BrokenToken(
        "embedded-jwk",
        FORGED,
        "Signed by a stranger who brings the key in the header: it would verify, and proves nothing (CVE-2026-27962).",
        _embedded_key,
    ),
    BrokenToken(
        "embedded-jwk-own-kid",
        UNKNOWN,
        "The same, with the kid of the embedded key: a key from the token never joins the issuer's (CVE-2026-27962).",
        lambda signer: _embedded_key(signer, kid="stranger"),
    ),
    BrokenToken(
        "jku",
        FORGED,
        "Signed by a stranger whose header says where his keys are: nobody asks there (RFC 8725 section 3.10).",
        _by_a_stranger(jku="http://127.0.0.1:9/jwks.json"),
    ),
    BrokenToken(
        "x5u",
        FORGED,
        "Signed by a stranger whose header says where his certificate is: nobody asks there (RFC 7515 section 4.1.5).",
        _by_a_stranger(x5u="http://127.0.0.1:9/certificate.pem"),
    ),
    BrokenToken(
        "crit",
        Code.CRIT_UNSUPPORTED,
        "An extension that nobody knows is declared critical (RFC 7515 section 4.1.11, CVE-2026-32597).",
        lambda signer: signer.token({"crit": ["http://example.com/x"], "http://example.com/x": True}),
    ),
    BrokenToken(
        "b64-false",
        Code.CRIT_UNSUPPORTED,
        "The payload stands there unencoded (RFC 7797): two readers see two texts, signed once (CVE-2026-48525).",
        _unencoded,
    ),
    BrokenToken(
        "identity-assertion",
        Code.AUDIENCE_MISMATCH,
        "Its `typ` says that it is for an upstream, and no login token (RFC 8725 section 3.11, CVE-2024-47616).",
        _header(typ=ASSERTION_TYPE),
    ),
    BrokenToken(
        "compressed",
        Code.TOKEN_MALFORMED,
        "The header asks for decompression: a few bytes would become a gigabyte (CVE-2024-28180).",
        _header(zip="DEF"),
    ),
    BrokenToken(
        "signature-empty",
        FORGED,
        "The signature is empty, under an honest `alg` (CVE-2026-28802).",
        _with_signature(lambda _signature: b""),
    ),
    BrokenToken(
        "signature-altered",
        FORGED,
        "One bit of the signature is turned.",
        _with_signature(lambda signature: bytes([signature[0] ^ 1]) + signature[1:]),
    ),
    BrokenToken(
        "signature-cut",
        FORGED,
        "The last byte of the signature is missing: a comparison of what is left would be guessed byte by byte.",
        _with_signature(lambda signature: signature[:-1]),
    ),
    BrokenToken(
        "payload-exchanged",
        FORGED,
        "Another person's id under the signature of a good token.",
        _other_payload(lambda signer: {signer.user_id_claim: "somebody-else@example.com"}),
    ),
    BrokenToken(
        "forged-and-expired",
        FORGED,
        "Forged, and past its time: the dangerous fault is the one to tell (CVE-2024-51744).",
        _other_payload(lambda signer: {"exp": int(signer.now) - 90_000, "iat": int(signer.now) - 90_600}),
    ),
    BrokenToken(
        "ecdsa-der",
        FORGED,
        "The ECDSA signature is in DER; a token holds R and S side by side (RFC 7518 section 3.4).",
        _der,
        elliptic_only,
    ),
    BrokenToken(
        "ecdsa-zero",
        FORGED,
        "R and S are zero, which a careless verifier takes for the signature of anything (CVE-2022-21449).",
        _with_signature(lambda signature: bytes(len(signature))),
        elliptic_only,
    ),
)
"""Steps 4 to 6 of the way of a token, and what its header says."""
