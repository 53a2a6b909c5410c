"""The keys of one issuer: found by their exact kid, never two under one, never too many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from keys.errors import KeyMaterialError
from keys.jwk import VerificationKey, generate_signing_key, key_from_jwk
from keys.keyset import MAX_KEYS, KeySet
from tests.keys.conformance_key_source import KeySourceConformance

if TYPE_CHECKING:
    from keys.jwk import SigningKey

JWK = {name: value for name, value in generate_signing_key("Ed25519").public_jwk().items() if name != "kid"}


def key(kid: str | None) -> VerificationKey:
    return key_from_jwk({**JWK, **({} if kid is None else {"kid": kid})})


@pytest.mark.parametrize("kid", ["a", "", "key-1", "\u5f35", "a" * 1000])
def test_r8_a_key_is_found_by_its_exact_kid(kid: str) -> None:
    """R8: byte for byte; no near miss finds anything, and no kid at all finds every key."""
    wanted, other, nameless = key(kid), key("other"), key(None)
    keys = KeySet([wanted, other, nameless])
    assert keys.find(kid) == (wanted,)
    assert keys.find(None) == (wanted, other, nameless)
    for miss in (kid + " ", " " + kid, kid + "\0", "OTHER", "othe", "None"):
        assert keys.find(miss) == ()


def test_b25_a_key_without_kid_answers_to_no_name() -> None:
    """B25: a token that names a key is verified by that key alone."""
    assert KeySet([key(None)]).find("anything") == ()
    assert KeySet([key(None)]).find("") == ()


def test_r11_two_keys_never_share_a_kid() -> None:
    """R11: a second key under a used kid is refused, be it the same key again; keys without one are not counted."""
    with pytest.raises(KeyMaterialError, match="same kid"):
        KeySet([key("a"), key("b"), key("a")])
    with pytest.raises(KeyMaterialError, match="same kid"):
        KeySet([key(""), key("")])
    assert len(KeySet([key(None), key(None), key("a")]).keys) == 3


def test_a_set_is_bounded() -> None:
    """A token without kid costs one try a key: 64 keys, no more."""
    assert MAX_KEYS == 64
    keys = [key(str(number)) for number in range(65)]
    assert len(KeySet(keys[:64]).keys) == 64
    with pytest.raises(KeyMaterialError, match="at most 64"):
        KeySet(keys)


def test_an_empty_set_finds_nothing() -> None:
    """No keys: nothing verifies (the verifier makes an outage of it, never a verdict)."""
    assert KeySet([]).find(None) == ()
    assert KeySet([]).find("a") == ()


class TestKeySet(KeySourceConformance):
    """Given keys, by the suite of every key source."""

    async def source(self, *keys: SigningKey) -> KeySet:
        return KeySet([key_from_jwk(one.public_jwk()) for one in keys])
