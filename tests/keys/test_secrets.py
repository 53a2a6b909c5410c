"""What may serve as a shared secret: long enough, nobody's favourite word, no public key in disguise."""

from __future__ import annotations

import base64
import json
import secrets
import string
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from keys.errors import KeyMaterialError
from keys.jwk import generate_signing_key, key_from_secret, signing_key_from_secret
from keys.secrets import checked_secret, is_common, looks_like_public_key
from tests.corpus import public_key_forms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HASH_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
KINDS = ("RS256", "ES256", "ES384", "ES512", "Ed25519", "Ed448")


def random_secret(size: int) -> str:
    """A secret of exactly this many characters, as a password generator makes it."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(size))


@pytest.mark.parametrize("algorithm", HASH_BYTES)
def test_a15_a_secret_is_as_long_as_its_hash(algorithm: str) -> None:
    """A15, R10, RFC 7518 section 3.2: 32, 48 or 64 bytes; one less is refused, to verify and to sign."""
    needed = HASH_BYTES[algorithm]
    text = random_secret(needed)
    assert key_from_secret(text, "k", (algorithm,)).material == text.encode()
    assert signing_key_from_secret(text, "k", algorithm).material == text.encode()
    for load in (
        lambda: key_from_secret(text[1:], "k", (algorithm,)),
        lambda: signing_key_from_secret(text[1:], "k", algorithm),
    ):
        with pytest.raises(KeyMaterialError, match=f"{needed} bytes") as caught:
            load()
        assert text[1:] not in str(caught.value)


def test_a15_the_longest_hash_of_the_list_decides() -> None:
    """A15: a secret for several algorithms is long enough for each."""
    with pytest.raises(KeyMaterialError, match="64 bytes"):
        checked_secret(random_secret(63), ("HS256", "HS512"))
    assert checked_secret(random_secret(64), ("HS256", "HS512"))


def test_length_counts_in_bytes() -> None:
    """RFC 7518 section 3.2 counts bits: letters of two bytes make half as many do."""
    assert len(checked_secret("\u00e4\u00f6\u00fc\u00df\u00e9\u00e8\u00ea\u00eb" * 2 + "\u0142\u0144")) == 36


@pytest.mark.parametrize("text", ["", " ", "\n", "secret", "\0" * 31, "a" * 31])
def test_a15_empty_and_short_secrets_are_refused(text: str) -> None:
    """A15: the empty key first of all."""
    with pytest.raises(KeyMaterialError):
        checked_secret(text)


COMMON = (
    *("secret" * 6, "SECRET" * 6, "Secret-Secret-Secret-Secret-Secret-Secret", "password" * 4, "changeme" * 4),
    *("your-256-bit-secret-your-256-bit-secret", "supersecretsupersecretsupersecret", "mysecretkey" * 3),
    *("12345678901234567890123456789012", "01234567890123456789012345678901", "0123456789abcdef0123456789abcdef"),
    *("abcdefghijklmnopqrstuvwxyz123456", "abcdefghijklmnopqrstuvwxyzABCDEF", "qwertyuiopasdfghjklzxcvbnm123456"),
    *("a" * 32, "ab" * 16, "0" * 64, "-" * 40, "\0" * 32, "=" * 32, "deadbeef" * 8, "abc123" * 10),
    "a-string-secret-at-least-256-bits-long",
    "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
    "super-secret-jwt-token-with-at-least-32-characters-long",
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
)


@pytest.mark.parametrize("text", COMMON, ids=range(len(COMMON)))
def test_a15_common_secrets_are_refused(text: str) -> None:
    """A15, R10: what is published, a word over and over, or a row of the keyboard is no secret, however long."""
    with pytest.raises(KeyMaterialError, match="common") as caught:
        checked_secret(text)
    assert text not in str(caught.value)


def test_generated_secrets_are_taken() -> None:
    """What password managers and `openssl rand` make is never taken for a word, a repetition or a key."""
    letters = [chr(0x430 + number) for number in range(32)]  # Cyrillic
    makers: tuple[Callable[[], str], ...] = (
        lambda: random_secret(32),
        lambda: secrets.token_urlsafe(32),
        lambda: secrets.token_hex(32),
        lambda: base64.b64encode(secrets.token_bytes(32)).decode(),
        lambda: "".join(secrets.choice(string.punctuation) for _ in range(40)),
        lambda: "".join(secrets.choice(letters) for _ in range(40)),
        lambda: "correct horse battery staple " + random_secret(8),
    )
    for make in makers:
        for _ in range(200):
            text = make()
            assert checked_secret(text) == text.encode()


def test_a_secret_is_its_text_in_utf8() -> None:
    """Nothing is decoded or trimmed: the customer's back end signs with the very characters that it was given."""
    for text in (
        secrets.token_hex(32),
        " " + random_secret(31),
        random_secret(31) + "\n",
        random_secret(30) + "\u5f35",
    ):
        assert checked_secret(text) == text.encode()


def test_half_a_surrogate_pair_is_no_text() -> None:
    """A secret that cannot be encoded is refused, and no character of it is in the error."""
    with pytest.raises(KeyMaterialError, match="not text") as caught:
        checked_secret(random_secret(40) + "\ud800")
    assert caught.value.__suppress_context__


def encodings(form: bytes) -> Iterator[tuple[str, bytes]]:
    """The ways in which bytes end up in a configuration file."""
    yield "as it is", form
    yield "after a byte order mark", b"\xef\xbb\xbf" + form
    yield "after blanks", b" \t\n" + form
    yield "in base64", base64.b64encode(form)
    yield "in base64url", base64.urlsafe_b64encode(form)
    yield "in base64 without padding", base64.b64encode(form).rstrip(b"=")
    yield "in base64 by lines", base64.encodebytes(form)
    yield "in hex", form.hex().encode()
    if form.isascii():
        yield "with a line break", form + b"\r\n"
        yield "in UTF-16", form.decode("latin-1").encode("utf-16")
        yield "in UTF-16LE", form.decode("latin-1").encode("utf-16-le")
        yield "in UTF-16BE", form.decode("latin-1").encode("utf-16-be")


def more_forms(private_key: Any) -> dict[str, bytes]:
    """Forms beside those that the corpus forges tokens with."""
    forms = public_key_forms(private_key, "key-1", 1_800_000_000.0)
    more = {
        "PEM body": b"".join(forms["PEM"].splitlines()[1:-1]),
        "JWK as Python shows it": repr(json.loads(forms["JWK"])).encode(),
        "JWKS with breaks": json.dumps(json.loads(forms["JWKS"]), indent=2).encode(),
    }
    if "SSH" in forms:
        blob = forms["SSH"].split()[1]
        more["SSH blob"] = blob
        more["SSH of RFC 4716"] = b"---- BEGIN SSH2 PUBLIC KEY ----\n" + blob + b"\n---- END SSH2 PUBLIC KEY ----"
    if isinstance(private_key, rsa.RSAPrivateKey):
        more["PKCS#1 body"] = base64.b64encode(private_key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1))
    return {**forms, **more}


@pytest.mark.parametrize("algorithm", KINDS)
def test_a01_a_public_key_is_known_in_every_encoding(algorithm: str) -> None:
    """A01, R9: PEM, DER, PKCS#1, SSH, certificate, JWK and JWKS, each of them also packed once more."""
    missed = [
        (form, encoding)
        for form, content in more_forms(generate_signing_key(algorithm).material).items()
        for encoding, packed in encodings(content)
        if not looks_like_public_key(packed) and "UTF-16" not in encoding
    ]
    assert missed == []


@pytest.mark.parametrize("algorithm", KINDS)
def test_a01_a_private_key_is_no_secret_either(algorithm: str) -> None:
    """A01: a PEM file in the place of a secret is a mistake, whichever half it holds."""
    pem = generate_signing_key(algorithm).private_pem()
    with pytest.raises(KeyMaterialError, match="public key or a certificate") as caught:
        key_from_secret(pem.decode())
    assert "PRIVATE" not in str(caught.value)


def test_a01_der_that_ends_like_a_blank_is_known() -> None:
    """A01: what is taken off before a key is not taken off behind it."""
    while not (der := public_key_forms(generate_signing_key("Ed25519").material, None, 1.8e9)["DER"]).endswith(b"\n"):
        pass
    for packed in (der, b"\xef\xbb\xbf" + der, b" \n" + der, base64.b64encode(b" " + der)):
        assert looks_like_public_key(packed)


@given(st.text())
def test_any_text_is_a_secret_or_a_key_material_error(text: str) -> None:
    """R12: no text of a configuration raises anything else."""
    try:
        material = checked_secret(text)
    except KeyMaterialError:
        return
    assert material == text.encode()
    assert len(material) >= 32
    assert not is_common(text)
