"""What may serve as a shared secret: long enough, nobody's favourite word, and no public key in disguise.

RFC 7518 section 3.2 wants a key at least as long as the hash. A public key taken for a secret is how algorithm
confusion starts (advisory A01), so every form in which one travels is recognised: PEM, DER, PKCS#1, SSH, JWK, a JWKS,
and the base64 of any of them.
"""

from __future__ import annotations

import base64
import binascii
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

from keys.errors import KeyMaterialError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_HASH_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
_LAYERS = 3
_WELL_KNOWN = (
    "secret",
    "password",
    "changeme",
    "your256bitsecret",
    "yoursecretkey",
    "mysecretkey",
    "supersecret",
    "jwtsecret",
    "secretkey",
    "testsecret",
    "example",
    "default",
    "insecure",
    "qwertyuiopasdfghjklzxcvbnm",
    "abcdefghijklmnopqrstuvwxyz",
    "0123456789abcdef",
    "0123456789",
    "1234567890",
)
_PUBLISHED = frozenset(
    {
        # RFC 7515 appendix A.1, the debugger page that everybody copies from, and the samples of much read tutorials.
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
        "a-string-secret-at-least-256-bits-long",
        "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
        "super-secret-jwt-token-with-at-least-32-characters-long",
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
        "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970",
    }
)


def checked_secret(text: str, algorithms: tuple[str, ...] = ("HS256",)) -> bytes:
    """The bytes of a secret (its text in UTF-8, as Intercom's samples use it), or `KeyMaterialError`."""
    try:
        material = text.encode()
    except UnicodeEncodeError:
        raise KeyMaterialError("the secret is not text") from None  # the cause quotes a character of it
    if looks_like_public_key(material):
        raise KeyMaterialError("the secret is a public key or a certificate; configure it as a key, not as a secret")
    needed = max(_HASH_BYTES[algorithm] for algorithm in algorithms)
    if len(material) < needed:
        raise KeyMaterialError(f"the secret is shorter than the {needed} bytes of its hash (RFC 7518 section 3.2)")
    if is_common(text):
        raise KeyMaterialError("the secret is on the list of common secrets")
    return material


def is_common(text: str) -> bool:
    """Whether a secret is published, a word that everybody uses, or the same few characters over and over."""
    letters = re.sub(r"[^a-z0-9]", "", text.lower())
    if text in _PUBLISHED or len(set(text)) < 8:
        return True
    return any(_is_repeated(letters, word) for word in _WELL_KNOWN)


def looks_like_public_key(material: bytes) -> bool:
    """Whether bytes are asymmetric key material in any of the forms in which it travels, packed up to three times."""
    forms = {material}
    for _ in range(_LAYERS):
        if any(_is_key(form) for form in forms):
            return True
        forms = {unpacked for form in forms for unpacked in _unpacked(form)}
    return any(_is_key(form) for form in forms)


def _unpacked(form: bytes) -> Iterator[bytes]:
    """What may lie below: without blanks and byte order marks, without the NULs of UTF-16, out of base64 or hex."""
    bare = form.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    yield bare
    yield bare.rstrip()  # not at once: the last byte of DER may look like a blank
    if b"\0" in form:
        yield form.replace(b"\0", b"")
    compact = re.sub(rb"\s", b"", form)
    padded = compact + b"=" * (-len(compact) % 4)
    decoders = ((base64.b64decode, padded), (base64.urlsafe_b64decode, padded), (binascii.unhexlify, compact))
    for decode, packed in decoders:
        with suppress(ValueError):
            yield decode(packed)


_KEY_MARKS = (
    re.compile(rb"---- ?BEGIN "),  # PEM, and the SSH form of RFC 4716
    re.compile(rb"\A(\0\0\0.)?(ssh-|ecdsa-sha2-|sk-)", re.DOTALL),  # a line of OpenSSH, and the blob in its base64
    re.compile(rb"""["']kty["']\s*:"""),
    re.compile(rb"<RSAKeyValue", re.IGNORECASE),
)


def _is_key(form: bytes) -> bool:
    if any(pattern.search(form) for pattern in _KEY_MARKS):
        return True
    return any(_loads(load, form) for load in _DER_LOADERS)


def _loads(load: Callable[[bytes], object], form: bytes) -> bool:
    try:
        load(form)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


_DER_LOADERS: tuple[Callable[[bytes], object], ...] = (
    load_der_public_key,
    lambda form: load_der_private_key(form, None),
    x509.load_der_x509_certificate,
)


def _is_repeated(letters: str, word: str) -> bool:
    """Whether a text is a word, again and again, with the last one perhaps cut short or a number behind it."""
    times = len(letters) // len(word) + 1
    if len(letters) < len(word):
        return False
    return letters == (word * times)[: len(letters)] or letters.rstrip("0123456789") == word
