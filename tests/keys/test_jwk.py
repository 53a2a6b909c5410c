"""Which public keys are taken: from JWK and from PEM, strong, public, made to verify; all else is refused by name."""

from __future__ import annotations

import base64
import copy
import math
import secrets
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x448, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.identity.jose import ALGORITHMS
from keys.errors import KeyMaterialError, KeyOfOtherUse
from keys.jwk import (
    HMAC,
    SigningKey,
    generate_signing_key,
    key_from_jwk,
    key_from_pem,
    key_from_secret,
    permitted_algorithms,
    public_jwk,
    signing_key_from_pem,
    signing_key_from_secret,
    thumbprint,
)
from keys.strength import check_edwards, check_rsa

if TYPE_CHECKING:
    from collections.abc import Callable

ASYMMETRIC = sorted(ALGORITHMS.keys() - HMAC)
KINDS = ("RS256", "ES256", "ES384", "ES512", "Ed25519", "Ed448")
SIGNING_KEYS = {algorithm: generate_signing_key(algorithm) for algorithm in KINDS}


def jwk_of(algorithm: str) -> dict[str, Any]:
    """The public JWK of a kind of key, with kid, alg and use."""
    return SIGNING_KEYS[algorithm].public_jwk()


def b64(number: int, size: int | None = None) -> str:
    octets = number.to_bytes(size or (number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


def pem_of(public_key: Any) -> bytes:
    pem: bytes = public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def private_pem_of(private_key: Any) -> bytes:
    pem: bytes = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_a_key_goes_out_as_a_jwk_and_comes_back(algorithm: str) -> None:
    """RFC 7517: what we publish for an algorithm is read again as the same key, and permits that algorithm."""
    made = generate_signing_key(algorithm)
    jwk = made.public_jwk()
    read = key_from_jwk(jwk)
    assert (jwk["kid"], jwk["alg"], jwk["use"]) == (made.kid, algorithm, "sig")
    assert thumbprint(jwk) == made.kid == read.kid
    assert algorithm in read.algorithms
    assert ALGORITHMS[algorithm].verify(b"text", read.material, ALGORITHMS[algorithm].sign(b"text", made.material))


@pytest.mark.parametrize("algorithm", KINDS)
def test_pem_and_jwk_are_the_same_key(algorithm: str) -> None:
    """A public key permits the same algorithms whether it came as PEM or as a JWK without alg."""
    jwk = {name: value for name, value in jwk_of(algorithm).items() if name != "alg"}
    from_pem = key_from_pem(pem_of(SIGNING_KEYS[algorithm].material.public_key()), jwk["kid"])
    from_jwk = key_from_jwk(jwk)
    assert (from_pem.kid, from_pem.kind, from_pem.algorithms) == (from_jwk.kid, from_jwk.kind, from_jwk.algorithms)
    assert from_pem.material == from_jwk.material


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_a02_a_jwk_with_alg_permits_that_alg_alone(algorithm: str) -> None:
    """A02, R7: the key decides; EdDSA and its RFC 9864 name are one algorithm under two names."""
    read = key_from_jwk(generate_signing_key(algorithm).public_jwk())
    names = {"Ed25519": {"EdDSA", "Ed25519"}, "EdDSA": {"EdDSA", "Ed25519"}, "Ed448": {"EdDSA", "Ed448"}}
    assert read.algorithms == names.get(algorithm, {algorithm})


@pytest.mark.parametrize("kind", KINDS)
def test_a02_an_alg_of_another_kind_of_key_is_refused(kind: str) -> None:
    """A02: a JWK whose alg does not suit its key is no key of ours, an HS algorithm least of all (A01)."""
    suiting = permitted_algorithms(SIGNING_KEYS[kind].material.public_key())
    for algorithm in ALGORITHMS.keys() - suiting:
        with pytest.raises(KeyMaterialError, match="alg does not suit"):
            key_from_jwk({**jwk_of(kind), "alg": algorithm})


@pytest.mark.parametrize("kind", KINDS)
def test_r11_private_members_are_refused(kind: str) -> None:
    """R11: a public set holds no private member, whatever its value; the message does not hold it either."""
    for member in ("d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"):
        values: tuple[object, ...] = ("c2VjcmV0LXNlY3JldA", "", None, [])
        for value in values:
            with pytest.raises(KeyMaterialError, match="private members") as caught:
                key_from_jwk({**jwk_of(kind), member: value})
            assert "c2VjcmV0" not in str(caught.value)
            assert not isinstance(caught.value, KeyOfOtherUse)


def test_a01_a_symmetric_jwk_is_refused() -> None:
    """A01, R11: an oct key never stands in a public set, even one without its k."""
    jwks: list[dict[str, Any]] = [{"kty": "oct", "k": "c2VjcmV0LXNlY3JldA"}, {"kty": "oct"}]
    jwks.append({**jwk_of("RS256"), "kty": "oct"})
    for jwk in jwks:
        with pytest.raises(KeyMaterialError, match="symmetric") as caught:
            key_from_jwk(jwk)
        assert not isinstance(caught.value, KeyOfOtherUse)


OTHER_USES: dict[str, dict[str, Any]] = {
    "use enc": {"use": "enc"},
    "use tls": {"use": "tls"},
    "use in capitals": {"use": "SIG"},
    "use empty": {"use": ""},
    "operations of encryption": {"key_ops": ["encrypt", "wrapKey"]},
    "operations of signing": {"key_ops": ["sign"]},
    "no operation": {"key_ops": []},
    "alg of encryption": {"alg": "RSA-OAEP-256"},
    "kty of a newer kind": {"kty": "AKP"},
    "kty in another case": {"kty": "rsa"},
    "kty empty": {"kty": ""},
}


@pytest.mark.parametrize("name", OTHER_USES)
def test_r10_a_key_of_other_use_is_refused(name: str) -> None:
    """R10: a key verifies only when it was made to; such a key may stand in a set, so it has a kind of its own."""
    with pytest.raises(KeyOfOtherUse):
        key_from_jwk({**jwk_of("RS256"), **OTHER_USES[name]})


def test_key_ops_with_verify_is_taken() -> None:
    """RFC 7517 section 4.3: key_ops may name more than verify."""
    assert key_from_jwk({**jwk_of("ES256"), "key_ops": ["verify"]}).kind == "EC"
    assert key_from_jwk({**jwk_of("ES256"), "key_ops": ["sign", "verify"]}).kind == "EC"


@pytest.mark.parametrize("curve", ["secp256k1", "X25519", "X448", "P-192", "brainpoolP256r1", "sect163k1", "", "p-256"])
def test_a27_only_listed_curves_are_taken(curve: str) -> None:
    """A27: P-256, P-384, P-521, Ed25519 and Ed448, exactly; no binary curve ever reaches the library."""
    for kind in ("ES256", "Ed25519"):
        with pytest.raises(KeyOfOtherUse):
            key_from_jwk({**jwk_of(kind), "crv": curve})


OTHER_KEYS: dict[str, Callable[[], Any]] = {
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "P-192": lambda: ec.generate_private_key(ec.SECP192R1()),
    "brainpool": lambda: ec.generate_private_key(ec.BrainpoolP256R1()),
    "X25519": x25519.X25519PrivateKey.generate,
    "X448": x448.X448PrivateKey.generate,
    "DSA": lambda: dsa.generate_private_key(2048),
}


@pytest.mark.parametrize("name", OTHER_KEYS)
def test_a27_pem_of_other_keys_is_refused(name: str) -> None:
    """A27: the same list for PEM, to verify and to sign."""
    key = OTHER_KEYS[name]()
    with pytest.raises(KeyMaterialError):
        key_from_pem(pem_of(key.public_key()))
    with pytest.raises(KeyMaterialError):
        signing_key_from_pem(private_pem_of(key))


WRONG_VALUES: tuple[object, ...] = (
    None,
    1,
    True,
    1.5,
    [],
    ["RS256"],
    {},
    {"a": 1},
    "",
    "!",
    "\u00e9",
    "\ud800",
    "A",
    "AAAA",
)


@pytest.mark.parametrize("kind", KINDS)
def test_a12_every_malformed_jwk_is_a_key_material_error(kind: str) -> None:
    """A12: whatever stands in a member, or is missing, ends as a `KeyMaterialError` or as a key; never otherwise."""
    good = jwk_of(kind)
    for member in good.keys() | {"kty", "crv", "x", "y", "n", "e", "alg", "use", "kid", "key_ops"}:
        for value in WRONG_VALUES:
            _read_or_refused({**good, member: value})
        _read_or_refused({name: value for name, value in good.items() if name != member})
    for member in {"kty", "crv", "x", "y", "n", "e"} & good.keys():
        for value in WRONG_VALUES:
            with pytest.raises(KeyMaterialError):
                key_from_jwk({**good, member: value})
        with pytest.raises(KeyMaterialError) as caught:
            key_from_jwk({name: value for name, value in good.items() if name != member})
        assert not isinstance(caught.value, KeyOfOtherUse)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(KINDS),
    st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "n", "e", "alg", "use", "kid", "key_ops", "x5c"]), _json),
)
def test_a12_any_json_for_a_jwk_is_a_key_or_a_key_material_error(kind: str, members: dict[str, Any]) -> None:
    """A12: any JSON value in any member, beside good ones or alone, raises nothing but a `KeyMaterialError`."""
    _read_or_refused({**jwk_of(kind), **members})
    _read_or_refused(members)


def _read_or_refused(jwk: dict[str, Any]) -> None:
    before = copy.deepcopy(jwk)
    try:
        key_from_jwk(jwk)
    except KeyMaterialError as error:
        assert error.__cause__ is None  # noqa: PT017 - both outcomes are right, and neither may change the JWK
    assert repr(jwk) == repr(before)


@pytest.mark.parametrize("bits", [1024, 2047])
def test_a15_short_rsa_is_refused(bits: int) -> None:
    """A15, R10: below 2048 bits no RSA key verifies or signs, from JWK or PEM."""
    key = rsa.generate_private_key(65537, bits)
    public = key.public_key()
    refused = (
        lambda: key_from_jwk(public_jwk(public)),
        lambda: key_from_pem(pem_of(public)),
        lambda: signing_key_from_pem(private_pem_of(key)),
    )
    for load in refused:
        with pytest.raises(KeyMaterialError, match="2048"):
            load()


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 4, 17, 257, 65535, 65536, 65538, 2**64 + 1])
def test_r10_a_bad_exponent_is_refused(exponent: int) -> None:
    """R10: e is odd, at least 65537, and no longer than OpenSSL takes."""
    jwk = {name: value for name, value in jwk_of("RS256").items() if name != "alg"}
    assert key_from_jwk({**jwk, "e": b64(65539)}).kind == "RSA"
    with pytest.raises(KeyMaterialError):
        key_from_jwk({**jwk, "e": b64(exponent, 9)})


def test_a_huge_modulus_is_refused() -> None:
    """A key on which each signature fails inside OpenSSL is refused when it is loaded."""
    jwk = {"kty": "RSA", "e": "AQAB", "n": b64(secrets.randbits(16400) | 1 << 16399 | 1)}
    with pytest.raises(KeyMaterialError, match="16384"):
        key_from_jwk(jwk)


def test_r10_roca_is_refused() -> None:
    """R10, CVE-2017-15361: a modulus built from powers of 65537 is known by its residues; ordinary ones are not."""
    product = math.prod(number for number in range(2, 168) if all(number % divisor for divisor in range(2, number)))
    for _ in range(20):
        multiple = secrets.randbits(1800) | 1 << 2050 - product.bit_length()
        modulus = multiple * product + pow(65537, secrets.randbits(64), product)
        with pytest.raises(KeyMaterialError, match="ROCA"):
            check_rsa(rsa.RSAPublicNumbers(65537, modulus).public_key())
    for algorithm in ("RS256", "PS512"):
        check_rsa(generate_signing_key(algorithm).material.public_key())


@pytest.mark.parametrize("kind", ["ES256", "ES384", "ES512"])
def test_a27_points_off_the_curve_are_refused(kind: str) -> None:
    """A27, R10: a point off its curve, the origin, and a coordinate beyond the field are no keys."""
    jwk = jwk_of(kind)
    size = len(unb64(jwk["y"]))
    ordinate = int.from_bytes(unb64(jwk["y"]), "big")
    for wrong in (
        {"y": b64(ordinate ^ 1, size)},
        {"x": jwk["y"], "y": jwk["x"]},
        {"x": b64(0, size), "y": b64(0, size)},
        {"x": b64(256**size - 1, size)},
        {"y": jwk["y"] + "AA"},
        {"x": jwk["x"][:-4]},
        {"crv": "P-384" if kind != "ES384" else "P-256"},
    ):
        with pytest.raises(KeyMaterialError):
            key_from_jwk({**jwk, **wrong})


_P25519 = 2**255 - 19
_ORDER_8 = (
    0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
    0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
)
_SMALL_25519 = (0, 1, _P25519 - 1, *_ORDER_8, _P25519, _P25519 + 1)


@pytest.mark.parametrize("ordinate", _SMALL_25519)
@pytest.mark.parametrize("sign", [0, 1])
def test_r10_small_order_ed25519_is_refused(ordinate: int, sign: int) -> None:
    """R10: each spelling of the eight points of small order, canonical or not, with either sign."""
    raw = (ordinate | sign << 255).to_bytes(32, "little")
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(raw).rstrip(b"=").decode()}
    with pytest.raises(KeyMaterialError):
        key_from_jwk(jwk)


@pytest.mark.parametrize("last", ["00", "80"])
@pytest.mark.parametrize("first", ["01", "ee"])
def test_r10_what_a_small_order_key_would_verify(first: str, last: str) -> None:
    """R10: the reason of the rule: under the neutral element one signature counts for every text there is."""
    middle = "00" * 30 if first == "01" else "ff" * 30
    end = last if first == "01" else f"{int(last, 16) | 0x7F:02x}"
    key = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(first + middle + end))
    forged = bytes([1]) + bytes(63)
    for text in (b"one text", b"another"):
        key.verify(forged, text)  # raises nothing: the library takes it
    with pytest.raises(KeyMaterialError, match="small order"):
        check_edwards(key)


@pytest.mark.parametrize("ordinate", [0, 1, 2**448 - 2**224 - 2])
@pytest.mark.parametrize("sign", [b"\0", b"\x80"])
def test_r10_small_order_ed448_is_refused(ordinate: int, sign: bytes) -> None:
    """R10: the same for the four points of small order on Ed448."""
    raw = ordinate.to_bytes(56, "little") + sign
    jwk = {"kty": "OKP", "crv": "Ed448", "x": base64.urlsafe_b64encode(raw).rstrip(b"=").decode()}
    with pytest.raises(KeyMaterialError):
        key_from_jwk(jwk)


def test_ordinary_edwards_keys_are_taken() -> None:
    """R10: the rule about small order meets no key that was drawn at random."""
    for _ in range(50):
        check_edwards(ed25519.Ed25519PrivateKey.generate().public_key())
        check_edwards(ed448.Ed448PrivateKey.generate().public_key())


@pytest.mark.parametrize("algorithm", KINDS)
def test_a_private_pem_is_no_public_key(algorithm: str) -> None:
    """R11: where a public key belongs, a private one is a mistake that is told; and the other way round."""
    private = private_pem_of(SIGNING_KEYS[algorithm].material)
    with pytest.raises(KeyMaterialError, match="not a public key"):
        key_from_pem(private)
    with pytest.raises(KeyMaterialError, match="not an unencrypted private key"):
        signing_key_from_pem(pem_of(SIGNING_KEYS[algorithm].material.public_key()))


def test_an_encrypted_pem_is_refused() -> None:
    """A private key under a password is told as such: nobody is there to type it."""
    pem = SIGNING_KEYS["ES256"].material.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
    )
    with pytest.raises(KeyMaterialError, match="not an unencrypted"):
        signing_key_from_pem(pem)


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_a_signing_key_survives_its_pem(algorithm: str) -> None:
    """What is written to the data folder is read as the same key, with the thumbprint as its id (RFC 7638)."""
    made = generate_signing_key(algorithm)
    read = signing_key_from_pem(made.private_pem(), algorithm)
    assert (read.kid, read.algorithm) == (made.kid, made.algorithm)
    assert read.public_jwk() == made.public_jwk()


def test_a02_a_signing_key_signs_what_suits_it() -> None:
    """A02: a key is not bent to another algorithm; without one it takes the plainest that suits it."""
    for kind in KINDS:
        pem = SIGNING_KEYS[kind].private_pem()
        assert signing_key_from_pem(pem).algorithm == kind
        with pytest.raises(KeyMaterialError, match="does not suit"):
            signing_key_from_pem(pem, "ES256" if kind != "ES256" else "ES384")


@pytest.mark.parametrize("algorithm", ["HS256", "none", "RSA-OAEP", "ES256K", ""])
def test_no_asymmetric_key_is_made_for_other_algorithms(algorithm: str) -> None:
    """`generate_signing_key` makes what an issuer may list, and nothing else."""
    with pytest.raises(KeyMaterialError):
        generate_signing_key(algorithm)


def test_r11_a_secret_has_no_public_half() -> None:
    """R11: a shared secret is never published."""
    with pytest.raises(KeyMaterialError):
        signing_key_from_secret("x7Kp2mQ9vR4tY8wZ3nB6cD1fG5hJ0kLs").public_jwk()


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_r11_a_published_jwk_holds_no_private_member(algorithm: str) -> None:
    """R11: exactly the members of a public key."""
    members = {"RSA": {"n", "e"}, "EC": {"crv", "x", "y"}, "OKP": {"crv", "x"}}
    jwk = generate_signing_key(algorithm).public_jwk()
    assert jwk.keys() == {"kty", "kid", "alg", "use"} | members[jwk["kty"]]


def test_r12_repr_never_shows_material() -> None:
    """R12: a key that lands in a log or a traceback shows its id and its algorithms."""
    secret = "x7Kp2mQ9vR4tY8wZ3nB6cD1fG5hJ0kLs"
    keys: list[object] = [key_from_secret(secret, "2026-11"), signing_key_from_secret(secret, "2026-11")]
    keys += [key_from_jwk(jwk_of("RS256")), SIGNING_KEYS["ES256"]]
    for key in keys:
        for shown in (repr(key), str(key), f"{key}", repr([key]), repr({"key": key})):
            assert secret not in shown
            assert "material" not in shown
            assert "object at" not in shown
    assert "2026-11" in repr(keys[0])
    assert isinstance(keys[1], SigningKey)
