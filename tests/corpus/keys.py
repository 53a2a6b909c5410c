"""Tokens that play on keys, algorithms, headers and signatures."""

from __future__ import annotations

import base64
import datetime as dt
import os
from itertools import product
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import import_key

from gateway.errors import Code
from gateway.identity.crafting import Signer, encoded
from gateway.identity.issuing import encode_segment
from tests.corpus.signer import generate_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.corpus.signer import Cases

FORGED = Code.SIGNATURE_INVALID


def header_cases(signer: Signer) -> Cases:
    """A03, A05, A06, R6, R7: `alg` is a name on the list, `kid` a string that we know, nothing is critical."""
    for letters in product("nN", "oO", "nN", "eE"):
        header, payload, _ = signer.token({"alg": "".join(letters)}).split(b".")
        yield f"alg {''.join(letters)}, no signature", header + b"." + payload + b".", Code.ALG_NOT_ALLOWED
    alg = signer.algorithm
    for name in (
        "",
        f"{alg} ",
        f" {alg}",
        f"{alg}\0",
        "ES521",
        "HS1",
        "dir",
        "RSA-OAEP",
        "*",
    ):
        yield f"alg {name!r}", signer.token({"alg": name}), Code.ALG_NOT_ALLOWED
    if not signer.symmetric:
        yield "alg of another family", signer.token({"alg": "HS256"}), Code.ALG_NOT_ALLOWED
    for shown, value in _WRONG_TYPES.items():
        yield f"alg {shown}", signer.token({"alg": value}), Code.TOKEN_MALFORMED
        yield f"kid {shown}", signer.token({"kid": value}), Code.TOKEN_MALFORMED
    yield "alg a list with none", signer.token({"alg": ["none"]}), Code.TOKEN_MALFORMED
    for kid in ("", "/dev/null", "x\0y", "a" * 500, "http://127.0.0.1/"):
        yield f"kid {kid[:20]!r}", signer.token({"kid": kid}), Code.KID_UNKNOWN
    crits: tuple[object, ...] = (["exp"], ["b64"], ["alg"], [], ["http://example.com/x"], "exp", None, {}, [1])
    for crit in crits:
        yield f"crit {crit!r}", signer.token({"crit": crit, "exp": 1, "http://example.com/x": 1}), Code.CRIT_UNSUPPORTED
    for b64_value in (False, True, "false", None):
        both = {"b64": b64_value, "crit": ["b64"]}
        yield f"b64 {b64_value!r}, critical", signer.token(both), Code.CRIT_UNSUPPORTED
        yield f"b64 {b64_value!r}, not critical", signer.token({"b64": b64_value}), Code.CRIT_UNSUPPORTED
    for typ in ("identity-assertion+jwt", "Identity-Assertion+JWT", "application/identity-assertion+jwt"):
        yield f"typ {typ}", signer.token({"typ": typ}), Code.AUDIENCE_MISMATCH
    yield "enc, the JWE member", signer.token({"enc": "A256GCM"}), Code.TOKEN_MALFORMED


_WRONG_TYPES: dict[str, object] = {"null": None, "number": 256, "true": True, "object": {}, "empty list": []}


def embedded_key_cases(signer: Signer) -> Cases:
    """A04, R8: a key that travels in the token, or that the token points to, verifies nothing."""
    key = generate_key(signer.algorithm)
    stranger = Signer(signer.algorithm, key, signer.now, signer.header, signer.claims)
    if signer.symmetric:
        embedded = {"kty": "oct", "k": encode_segment(key).decode(), "kid": "stranger"}
    else:
        embedded = _jwk(stranger.public_key, "stranger")
    url = "http://127.0.0.1:9/keys.json"
    headers: dict[str, dict[str, Any]] = {
        "jku of a file": {"jku": "file:///etc/passwd"},
        "all": {"jwk": embedded, "jku": url, "x5u": url, "x5t": "AAAA", "x5t#S256": "AAAA"},
    }
    if not signer.symmetric and signer.algorithm != "Ed448":
        headers["x5c"] = {"x5c": [base64.b64encode(certificate(key, signer.now)).decode()]}
    for name, header in headers.items():
        yield f"signed by a stranger, {name}", stranger.token(header), FORGED
    if not signer.symmetric:
        taken = {"jwk": {**embedded, "kid": signer.header.get("kid")}, "kid": "stranger"}
        yield "signed by a stranger, kid of the embedded key", stranger.token(taken), Code.KID_UNKNOWN


def confusion_cases(signer: Signer) -> Cases:
    """A01, R9: the public key, in whatever form, is not a shared secret."""
    forms = public_key_forms(signer.key, signer.header.get("kid"), signer.now)
    for (name, secret), algorithm in product(forms.items(), ("HS256", "HS384", "HS512")):
        forger = Signer(algorithm, secret, signer.now, {**signer.header, "alg": algorithm}, signer.claims)
        yield f"{algorithm} with the public key as {name}", forger.token(), Code.ALG_NOT_ALLOWED
        # The header names the right algorithm, the signature is an HMAC.
        signing_input = signer.token().rsplit(b".", 1)[0]
        mac = forger.signature(signing_input)
        yield f"{signer.algorithm} with an {algorithm} over {name}", signing_input + b"." + encode_segment(mac), FORGED


def signature_cases(signer: Signer) -> Cases:
    """R5: a signature that is not the signature of these bytes."""
    good = signer.token()
    head, encoded_signature = good.rsplit(b".", 1)
    signature = base64.urlsafe_b64decode(encoded_signature + b"==")
    size = len(signature)
    wrong = {
        "one byte": b"\0",
        "all zeros": bytes(size),
        "all ones": b"\xff" * size,
        "one longer": signature + b"\0",
        "zero before": b"\0" + signature,
        "twice": signature * 2,
        "reversed": signature[::-1],
        "random": os.urandom(size),
        "of another token": _signature_of(signer.token(claims={"user_id": "user-2"})),
        "text of the encoded one": encoded_signature,
    }
    for place in (0, size // 2, size - 1):
        for bit in (1, 0x80):
            wrong[f"bit {bit} of byte {place} turned"] = flip(signature, place, bit)
    for name, value in wrong.items():
        yield name, head + b"." + encode_segment(value), FORGED
    payload = head.split(b".")[1]
    yield (
        "header exchanged",
        b".".join([encode_segment(encoded(signer.header) + b" "), payload, encoded_signature]),
        FORGED,
    )


def ecdsa_cases(signer: Signer) -> Cases:
    """RFC 7518 section 3.4: R and S side by side, each of full length, neither zero nor beyond the order."""
    header, payload, _ = signer.token().split(b".")
    head = header + b"." + payload
    raw = signer.signature(head)
    octets = len(raw) // 2
    r, s = int.from_bytes(raw[:octets], "big"), int.from_bytes(raw[octets:], "big")
    der = encode_dss_signature(r, s)
    order = signer.key.curve.group_order
    beyond = {"r beyond the order": (r + order, s), "s beyond the order": (r, s + order)}
    wrong = {
        "DER, cut to the length": der[: 2 * octets],
        "DER, filled to the length": der.rjust(2 * octets, b"\0"),
        "one octet more each": raw_signature(r, s, octets + 1),
        "length of another curve": raw_signature(r, s, 66 if octets != 66 else 67),
        "only r": r.to_bytes(octets, "big"),
        "s and r exchanged": raw_signature(s, r, octets),
        "r zero": raw_signature(0, s, octets),
        "s zero": raw_signature(r, 0, octets),
        "r and s the order": raw_signature(order, order, octets),
        "r and s one": raw_signature(1, 1, octets),
    }
    for name, (one, two) in beyond.items():
        if max(one, two) < 256**octets:
            wrong[name] = raw_signature(one, two, octets)
    for name, value in wrong.items():
        yield name, head + b"." + encode_segment(value), FORGED


def raw_signature(r: int, s: int, octets: int) -> bytes:
    """R and S side by side (RFC 7518 section 3.4)."""
    return r.to_bytes(octets, "big") + s.to_bytes(octets, "big")


def public_key_forms(private_key: Any, kid: str | None, now: float) -> dict[str, bytes]:
    """Every way in which a public key is published, as bytes that could pass for a secret."""
    public = private_key.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    jwk = _jwk(public, kid)
    forms = {
        "PEM": pem,
        "PEM without the last newline": pem.rstrip(b"\n"),
        "PEM with CRLF": pem.replace(b"\n", b"\r\n"),
        "PEM with a blank before": b" " + pem,
        "PEM on one line": pem.replace(b"\n", b""),
        "PEM with newlines spelled out": pem.replace(b"\n", b"\\n"),
        "DER": der,
        "DER in base64": base64.b64encode(der),
        "DER in base64url": encode_segment(der),
        "DER in hex": der.hex().encode(),
        "JWK": encoded(jwk),
        "JWK with blanks": encoded(jwk).replace(b",", b", ").replace(b":", b": "),
        "JWKS": encoded({"keys": [jwk]}),
        "JWKS in base64": base64.b64encode(encoded({"keys": [jwk]})),
        "JWK in a list": encoded([jwk]),
    }
    if isinstance(public, rsa.RSAPublicKey):
        forms["PKCS#1 PEM"] = public.public_bytes(Encoding.PEM, PublicFormat.PKCS1)
        forms["PKCS#1 DER"] = public.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    if not isinstance(public, ed448.Ed448PublicKey):
        forms["SSH"] = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        certified = certificate(private_key, now)
        forms["certificate DER"] = certified
        forms["certificate PEM"] = x509.load_der_x509_certificate(certified).public_bytes(Encoding.PEM)
    return forms


def certificate(private_key: Any, now: float) -> bytes:
    """A self-signed certificate in DER."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "login.example")])
    moment = dt.datetime.fromtimestamp(now, dt.UTC)
    hashing = None if isinstance(private_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    built = (
        x509.CertificateBuilder(name, name, private_key.public_key(), x509.random_serial_number())
        .not_valid_before(moment - dt.timedelta(days=1))
        .not_valid_after(moment + dt.timedelta(days=1))
        .sign(private_key, hashing)
    )
    return built.public_bytes(Encoding.DER)


def flip(data: bytes, place: int, bit: int = 1) -> bytes:
    """The data with one bit turned."""
    return data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]


def flipped_tokens(token: bytes) -> Iterator[bytes]:
    """The token with one byte changed within each segment, so that its form stays right where it can."""
    segments = token.split(b".")
    for index, segment in enumerate(segments):
        raw = base64.urlsafe_b64decode(segment + b"==")
        for place in (0, len(raw) // 2, len(raw) - 1):
            yield b".".join([*segments[:index], encode_segment(flip(raw, place)), *segments[index + 1 :]])


def _signature_of(token: bytes) -> bytes:
    return base64.urlsafe_b64decode(token.rsplit(b".", 1)[1] + b"==")


def _jwk(public_key: Any, kid: str | None) -> dict[str, Any]:
    pem = public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if isinstance(public_key, rsa.RSAPublicKey):
        jwk: dict[str, Any] = dict(import_key(pem, "RSA").as_dict(private=False))
    elif isinstance(public_key, ec.EllipticCurvePublicKey):
        jwk = dict(import_key(pem, "EC").as_dict(private=False))
    else:
        jwk = dict(import_key(pem, "OKP").as_dict(private=False))
    return {**jwk, "use": "sig", **({} if kid is None else {"kid": kid})}
