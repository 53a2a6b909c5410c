"""What every `KeySource` promises; inherited by the tests of each kind, as the stores' suites are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from keys.errors import KeysUnavailable
from keys.jwk import generate_signing_key
from tests.awaited import at_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keys.jwk import SigningKey, VerificationKey
    from keys.keyset import KeySource


class KeySourceConformance:
    """`source` makes the source under test, holding the public halves of keys; it is open, and nothing is amiss."""

    async def source(self, *keys: SigningKey) -> KeySource:
        raise NotImplementedError

    @pytest.mark.parametrize("kid", ["a", "key-1", "\u5f35", "a" * 1000])
    async def test_r8_a_key_is_found_by_its_exact_kid(self, kid: str) -> None:
        """R8: byte for byte, without waiting; no near miss finds anything, and no kid at all finds every key."""
        source = await self.source(named(kid), named("other"))
        assert kids(source.find(kid)) == [kid]
        assert set(kids(source.find(None))) == {kid, "other"}
        for miss in (kid + " ", " " + kid, kid + "\0", "OTHER", "othe", "None", ""):
            assert tuple(source.find(miss)) == ()
        await source.close()

    async def test_what_is_at_hand_is_sought_without_waiting(self) -> None:
        """A caller that seeks a key which is there all the same, gets it at once."""
        source = await self.source(named("a"), named("b"))
        assert kids(at_once(source.seek("a"))) == ["a"]
        assert set(kids(at_once(source.seek(None)))) == {"a", "b"}
        await source.close()

    async def test_an_unknown_kid_is_unknown(self) -> None:
        """While nothing is amiss, nobody has the key: no outage is made of it."""
        source = await self.source(named("a"))
        assert tuple(await source.seek("b")) == ()
        assert tuple(await source.seek("b")) == ()
        assert kids(source.keys) == ["a"]
        await source.close()

    async def test_keys_verify_what_their_halves_signed(self) -> None:
        """The key that is found is the one that was given, under the algorithms that it permits."""
        signing = named("a")
        source = await self.source(signing, named("b"))
        (key,) = source.find("a")
        assert key.material == signing.material.public_key()
        assert signing.algorithm in key.algorithms
        await source.close()

    async def test_without_keys_it_is_an_outage(self) -> None:
        """B16: with no key at all every question is an outage; nothing is unknown, and nothing verifies."""
        source = await self.source()
        assert tuple(source.keys) == ()
        assert tuple(source.find("a")) == tuple(source.find(None)) == ()
        for kid in ("a", None):
            with pytest.raises(KeysUnavailable):
                await source.seek(kid)
        assert source.health().state == "none"
        await source.close()

    async def test_health_counts_the_keys(self) -> None:
        """What an operator reads: how many keys, and that they are current."""
        source = await self.source(named("a"), named("b"))
        health = source.health()
        assert (health.keys, health.state, health.error, health.exposed) == (2, "fresh", None, 0)
        await source.close()

    async def test_open_and_close_more_than_once(self) -> None:
        """Whoever reloads opens what is open already; keys at hand are found all the time."""
        source = await self.source(named("a"))
        withdrawn = source.withdrawn
        for step in (source.open, source.open, source.refresh, source.close, source.close, source.open, source.close):
            await step()
            assert kids(source.find("a")) == ["a"]
        assert source.withdrawn == withdrawn


def named(kid: str) -> SigningKey:
    """A key to sign with under a kid."""
    made = generate_signing_key("ES256")
    return type(made)(kid, made.algorithm, made.material)


def kids(keys: Sequence[VerificationKey]) -> list[str | None]:
    return [key.kid for key in keys]
