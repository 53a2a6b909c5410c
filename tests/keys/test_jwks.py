"""A published set: one bad key spoils nothing, nothing weak or secret gets in, and no document brings anything down."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keys.errors import KeyMaterialError
from keys.jwk import generate_signing_key, public_jwk
from keys.jwks import jwks_members, published_set, strict_json
from tests.keys.conformance_key_source import kids
from tests.keys.remote_sets import signing

EC = signing("ec").public_jwk()
RSA = {**generate_signing_key("RS256").public_jwk(), "kid": "rsa"}
ED = {**generate_signing_key("Ed25519").public_jwk(), "kid": "ed"}
GOOD = {**generate_signing_key("ES256").public_jwk(), "kid": "good"}


def encoded(number: int, length: int | None = None) -> str:
    raw = number.to_bytes(length or (number.bit_length() + 7) // 8 or 1)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def without(jwk: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in jwk.items() if name not in names}


def document(*members: Any) -> bytes:
    return json.dumps({"keys": members}).encode()


def weak_rsa() -> dict[str, Any]:
    return {**public_jwk(rsa.generate_private_key(65537, 1024).public_key()), "kid": "weak"}


P192 = {"kty": "EC", "kid": "p192", "crv": "P-192", "x": encoded(1, 24), "y": encoded(1, 24)}
K256 = public_jwk(ec.generate_private_key(ec.SECP256K1()).public_key())

MALFORMED: dict[str, Any] = {
    "null": None,
    "a number": 1,
    "a text": "key",
    "a list": [EC],
    "nothing in it": {},
    "no kty": without(EC, "kty"),
    "kty null": {**EC, "kty": None},
    "kty a list": {**EC, "kty": ["EC"]},
    "no curve": without(EC, "crv"),
    "curve of another kind": {**EC, "crv": ["P-256"]},
    "no x": without(EC, "x"),
    "no y": without(EC, "y"),
    "x a number": {**EC, "x": 5},
    "x too short": {**EC, "x": EC["x"][:-4]},
    "x too long": {**EC, "x": EC["x"] + "AAAA"},
    "x no base64url": {**EC, "x": "*" * len(EC["x"])},
    "x empty": {**EC, "x": ""},
    "off the curve": {**EC, "x": encoded(5, 32), "y": encoded(5, 32)},
    "the point at infinity": {**EC, "x": encoded(0, 32), "y": encoded(0, 32)},
    "a key of another curve": {**EC, "crv": "P-384"},
    "no n": without(RSA, "n"),
    "no e": without(RSA, "e"),
    "e of 1": {**RSA, "e": encoded(1)},
    "e of 3": {**RSA, "e": encoded(3)},
    "e even": {**RSA, "e": encoded(65538)},
    "e huge": {**RSA, "e": encoded(2**1024 + 1)},
    "n of 0": {**RSA, "n": encoded(0)},
    "n even": {**RSA, "n": encoded(2**2047)},
    "n huge": {**RSA, "n": encoded(2**17000 + 1)},
    "n empty": {**RSA, "n": ""},
    "RSA of 1024 bits": weak_rsa(),
    "Ed25519 of small order": {**ED, "x": encoded(1 << 248, 32)},
    "Ed25519 too short": {**ED, "x": ED["x"][:-8]},
    "Ed448 in Ed25519's clothes": {**ED, "crv": "Ed448"},
    "kid a number": {**EC, "kid": 7},
    "kid null": {**EC, "kid": None},
    "kid with a line break": {**EC, "kid": "a\nb"},
    "kid with an escape": {**EC, "kid": "\x1b[2J"},
    "kid with half a character": {**EC, "kid": "\ud800"},
    "alg of another kind": {**EC, "alg": "RS256"},
    "alg for secrets": {**EC, "alg": "HS256"},
    "alg a list": {**EC, "alg": ["ES256"]},
    "use a list": {**EC, "use": ["sig"]},
    "key_ops a text": {**EC, "key_ops": "verify"},
}
OF_OTHER_USE: dict[str, Any] = {
    "use enc": {**EC, "use": "enc"},
    "key_ops for encryption": {**without(EC, "use"), "key_ops": ["deriveKey"]},
    "no key_ops at all": {**without(EC, "use"), "key_ops": []},
    "RSA-OAEP": {**RSA, "alg": "RSA-OAEP-256"},
    "X25519": {"kty": "OKP", "crv": "X25519", "x": ED["x"], "kid": "x"},
    "secp256k1": {**K256, "crv": "secp256k1", "kid": "k"},
    "P-192": P192,
    "a type of the future": {"kty": "AKP", "alg": "ML-DSA-65", "kid": "pq", "pub": "AAAA"},
}
SECRET: dict[str, Any] = {
    "a symmetric key": {"kty": "oct", "k": encoded(2**255), "kid": "s"},
    "a symmetric key for encryption": {"kty": "oct", "k": encoded(2**255), "use": "enc"},
    "a private EC key": {**EC, "d": encoded(7, 32)},
    "a private RSA key": {**RSA, "d": encoded(7), "p": encoded(7), "q": encoded(7)},
    "a part of a private RSA key": {**RSA, "dp": encoded(7)},
    "a private OKP key": {**ED, "d": encoded(7, 32)},
    "a private key of the future": {"kty": "AKP", "alg": "ML-DSA-65", "pub": "AAAA", "priv": "AAAA"},
    "a public key with a secret": {**EC, "k": encoded(2**255)},
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a12_a_malformed_key_spoils_no_set(kind: str) -> None:
    """A12, A27: it is left out, named by its place and not by its content; the good keys around it verify."""
    found = published_set(document(MALFORMED[kind], GOOD))
    assert kids(found.keys) == ["good"]
    assert (len(found.left_out), found.exposed) == (1, 0)
    assert found.left_out[0].startswith("keys[0]: ")
    assert found.left_out[0].isprintable()
    with pytest.raises(KeyMaterialError, match="no key that verifies"):
        published_set(document(MALFORMED[kind]))


@pytest.mark.parametrize("kind", OF_OTHER_USE)
def test_keys_for_something_else_are_left_out_in_silence(kind: str) -> None:
    """Many issuers publish what they encrypt with beside what they sign with: nothing is amiss."""
    found = published_set(document(GOOD, OF_OTHER_USE[kind]))
    assert (kids(found.keys), found.left_out, found.exposed) == (["good"], (), 0)


@pytest.mark.parametrize("kind", SECRET)
def test_r11_a_secret_in_a_published_set_verifies_nothing_and_is_said_loudly(kind: str) -> None:
    """R11: who can read the set could sign with it; the set's other keys are not the worse for it."""
    found = published_set(document(GOOD, SECRET[kind]))
    assert (kids(found.keys), found.exposed) == (["good"], 1)
    assert found.left_out[0].startswith("keys[1]: the JWK is symmetric or holds private members")


def test_everything_at_once() -> None:
    """A set of all of it serves its good keys."""
    bad = [*MALFORMED.values(), *OF_OTHER_USE.values()][:58]
    found = published_set(document(*bad, EC, RSA, ED, GOOD))
    assert kids(found.keys) == ["ec", "rsa", "ed", "good"]


@pytest.mark.parametrize("second", [EC, {**RSA, "kid": "ec"}, {**EC, "alg": "ES256"}], ids=["same", "other", "alg"])
def test_r11_keys_with_one_kid_are_all_left_out(second: dict[str, Any]) -> None:
    """R11: nobody can say which of them a token means, so a token that names it is verified by neither."""
    found = published_set(document(EC, GOOD, second))
    assert kids(found.keys) == ["good"]
    assert found.left_out == ("keys[0]: another key has the same kid", "keys[2]: another key has the same kid")


def test_a_kid_is_not_taken_by_what_does_not_verify() -> None:
    """An encryption key, or a broken one, under the kid of a signing key takes nothing from it."""
    found = published_set(document({**RSA, "use": "enc", "kid": "ec"}, {"kty": "EC", "kid": "ec"}, EC))
    assert kids(found.keys) == ["ec"]


def test_keys_without_kid_are_kept() -> None:
    """A publisher with one key may name none; two without a kid are not two with the same."""
    found = published_set(document(without(EC, "kid"), without(RSA, "kid")))
    assert kids(found.keys) == [None, None]


def test_a_set_has_64_members_at_most() -> None:
    """Whatever they are: each costs work, and each key is tried for a token without kid."""
    others = [{"kty": "future", "kid": str(number)} for number in range(63)]
    assert kids(published_set(document(GOOD, *others)).keys) == ["good"]
    with pytest.raises(KeyMaterialError, match="more than 64 keys"):
        published_set(document(GOOD, *others, {}))


NO_SET: dict[str, bytes] = {
    "nothing": b"",
    "a page": b"<!doctype html><title>Sign in</title>",
    "half of it": document(GOOD)[:-1],
    "something behind it": document(GOOD) + b"x",
    "two of it": document(GOOD) * 2,
    "a list": json.dumps([GOOD]).encode(),
    "a key": json.dumps(GOOD).encode(),
    "keys null": b'{"keys": null}',
    "keys an object": json.dumps({"keys": {"good": GOOD}}).encode(),
    "keys twice": b'{"keys": [], ' + document(GOOD)[1:],
    "Keys": document(GOOD).replace(b'"keys"', b'"Keys"'),
    "a byte order mark": b"\xef\xbb\xbf" + document(GOOD),
    "UTF-16": document(GOOD).decode().encode("utf-16"),
    "no UTF-8": document(GOOD).replace(b'"good"', b'"\xff"'),
    "NaN": b'{"keys": [], "x": NaN}',
    "infinity": b'{"keys": [], "x": -Infinity}',
    "a number of 10,000 digits": b'{"keys": [], "x": ' + b"9" * 10_000 + b"}",
    "depth": b'{"keys": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "depth of objects": b'{"keys": ' * 50_000 + b"1" + b"}" * 50_000,
}


@pytest.mark.parametrize("kind", NO_SET)
def test_what_is_no_set_is_refused_whole(kind: str) -> None:
    """A12: quickly, and in words that hold nothing of it."""
    with pytest.raises(KeyMaterialError, match=r"not JSON|not a JWK set|no key that verifies"):
        published_set(NO_SET[kind])


def test_a_member_with_something_twice_is_left_out() -> None:
    """Which of two counts is nobody's to say; the set's other members are clear."""
    twice = b'{"keys": [{"kty": "EC", ' + json.dumps(EC).encode()[1:] + b", " + json.dumps(GOOD).encode() + b"]}"
    found = published_set(twice)
    assert (kids(found.keys), found.left_out) == (["good"], ("keys[0]: not an object, or one with a member twice",))
    assert jwks_members(twice)[0] is None


def test_only_public_members_go_on() -> None:
    """What is kept of a key is what makes it one: certificates, comments and whatever else stay behind."""
    found = published_set(document({**GOOD, "x5c": ["MIIB"], "x5t": "a", "secret_note": "b"}))
    assert found.jwks == (GOOD,)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from([EC["x"], RSA["n"], "EC"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["kty", "crv", "x", "y", "n", "e", "kid", "alg", "use", "key_ops", "d", "k", "x5c"])


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from([EC, RSA, ED]), st.dictionaries(NAMES, VALUES, max_size=3), st.sets(NAMES, max_size=2))
def test_no_jwk_does_more_than_be_left_out(base: dict[str, Any], changes: dict[str, Any], gone: set[str]) -> None:
    """Whatever a member is made of: it is a key, or it is left out. Nothing else is raised, and the good key stays."""
    member = {**without(base, *gone), **changes}
    found = published_set(json.dumps({"keys": [member, GOOD]}).encode())
    assert "good" in kids(found.keys)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_no_document_does_more_than_be_refused(text: bytes) -> None:
    """Bytes of any kind: a value, or `KeyMaterialError`."""
    for read in (strict_json, jwks_members, published_set):
        with contextlib.suppress(KeyMaterialError):
            read(text)
