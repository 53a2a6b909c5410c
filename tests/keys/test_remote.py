"""Remote key sets against a real server: kept current, kept through outages, and never a free request for strangers.

Time is wound by hand; a fetch is a real one over a real socket.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from keys.errors import KeysUnavailable
from keys.remote import ABSENT_KIDS, RemoteKeySet
from tests.awaited import at_once
from tests.keys.conformance_key_source import KeySourceConformance, kids
from tests.keys.jwks_server import JwksServer, document, hang, jwks, reset, running_jwks_server, status
from tests.keys.remote_sets import WoundClock, remote, settled, signing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keys.jwk import SigningKey

HOUR = 3600.0


@pytest.fixture
def server() -> Iterator[JwksServer]:
    with running_jwks_server() as running:
        yield running


@pytest.fixture
def clock() -> WoundClock:
    return WoundClock()


class TestRemoteKeySet(KeySourceConformance):
    """The suite of every key source, over a real server."""

    @pytest.fixture(autouse=True)
    def _server(self, server: JwksServer, clock: WoundClock) -> None:
        self.server, self.clock = server, clock

    async def source(self, *keys: SigningKey) -> RemoteKeySet:
        self.server.publish(*keys)
        source = remote(self.server, self.clock)
        await source.open()
        await settled(source)
        return source


async def asked(server: JwksServer, times: int) -> None:
    """Until so many requests have arrived."""
    while server.count() < times:  # noqa: ASYNC110 - they arrive in another thread
        await asyncio.sleep(0.01)


async def opened(server: JwksServer, clock: WoundClock, *keys: SigningKey) -> RemoteKeySet:
    """An open set that has fetched these keys."""
    server.publish(*keys)
    made = remote(server, clock)
    await made.open()
    await settled(made)
    assert kids(made.keys) == [key.kid for key in keys]
    return made


# Keeping current.


async def test_a_set_is_fetched_ahead_of_its_expiry(server: JwksServer, clock: WoundClock) -> None:
    """300 s unless the answer says otherwise: a second fetch well before, so that no look-up ever meets an old set."""
    keys = await opened(server, clock, signing("a"))
    await clock.wind(keys, 200)
    assert server.count() == 1
    await clock.wind(keys, 50)
    assert server.count() == 2
    assert keys.health().state == "fresh"
    await keys.close()


@pytest.mark.parametrize(
    ("cache_control", "before", "after"),
    [
        ("max-age=1200", 800, 950),
        ("public, Max-Age=1200", 800, 950),
        ("max-age=1", 40, 50),
        ("max-age=0", 40, 50),
        ("no-store", 40, 50),
        ("no-cache, max-age=1200", 40, 50),
        ("max-age=99999999", 2500, 2900),
        ("max-age=many", 200, 240),
        ("max-age=-5", 200, 240),
        ("", 200, 240),
    ],
)
async def test_cache_control_is_obeyed_within_bounds(
    server: JwksServer, clock: WoundClock, cache_control: str, before: float, after: float
) -> None:
    """`max-age` and `no-store`, within a minute and an hour; nonsense counts as nothing said."""
    server.publish(signing("a"), **{"cache-control": cache_control})
    keys = remote(server, clock)
    await keys.open()
    await clock.wind(keys, before)
    assert server.count() == 1
    await clock.wind(keys, after - before)
    assert server.count() == 2
    await keys.close()


async def test_the_age_of_a_cached_answer_counts(server: JwksServer, clock: WoundClock) -> None:
    """RFC 9111 section 4.2: what a cache on the way has held for 900 s is fresh for 300 of 1200 more."""
    server.publish(signing("a"), **{"cache-control": "max-age=1200", "age": "900"})
    keys = remote(server, clock)
    await keys.open()
    await clock.wind(keys, 250)
    assert server.count() == 2
    await keys.close()


async def test_an_etag_saves_the_body(server: JwksServer, clock: WoundClock) -> None:
    """The second fetch names what it has; a 304 keeps the keys, and keeps them fresh."""
    keys = await opened(server, clock, signing("a"))
    await clock.wind(keys, 1000)
    assert server.count() == 5
    assert "if-none-match" not in server.seen[0].headers
    assert all("if-none-match" in seen.headers for seen in server.seen[1:])
    assert (kids(keys.keys), keys.health().state, keys.withdrawn) == (["a"], "fresh", 0)
    server.publish(signing("b"))
    await clock.wind(keys, 240)
    assert kids(keys.keys) == ["b"]
    await keys.close()


async def test_a_304_for_nothing_is_a_failure(server: JwksServer, clock: WoundClock) -> None:
    """Nobody said what has not changed."""
    server.answers["/jwks.json"] = status(304)
    keys = remote(server, clock)
    await keys.open()
    assert keys.health().error == "the answer was 304; redirects are not followed"
    await keys.close()


async def test_a_withdrawn_key_is_gone_and_told(server: JwksServer, clock: WoundClock) -> None:
    """A key that the publisher took away verifies no more, and whoever remembers what it verified can know."""
    keys = await opened(server, clock, signing("a"), b := signing("b"))
    server.publish(b, signing("c"))
    await clock.wind(keys, 240)
    assert (kids(keys.keys), keys.withdrawn) == (["b", "c"], 1)
    server.publish(b, signing("c"), signing("d"))
    await clock.wind(keys, 240)
    assert keys.withdrawn == 2, "another key under the same kid is another key"
    await keys.close()


async def test_a_publisher_that_withdraws_everything_is_taken_for_broken(server: JwksServer, clock: WoundClock) -> None:
    """An empty set is an accident more often than a message: the last good one serves up to the cap, and it is said."""
    keys = await opened(server, clock, signing("a"))
    for members in ([], [{"kty": "oct", "k": "c2VjcmV0"}], [{"kty": "EC"}]):
        server.answers["/jwks.json"] = document({"keys": members})
        await clock.wind(keys, 240)
        assert kids(keys.find("a")) == ["a"]
        assert keys.health().error == "the set holds no key that verifies"
    await keys.close()


# Outages.


async def test_0_1_a_known_kid_outlives_100_failing_refreshes(server: JwksServer, clock: WoundClock) -> None:
    """0.1, A10: a failed fetch takes nothing away; known kids verify until the cap, then it is 503 and not 401."""
    keys = await opened(server, clock, signing("a"))
    server.answers["/jwks.json"] = status(503)
    while server.count() <= 100:
        assert kids(keys.find("a")) == kids(at_once(keys.seek("a"))) == ["a"]
        await clock.wind(keys, 60)
    assert (keys.health().state, keys.health().error) == ("stale", "the answer was 503")
    passed = clock.elapsed - 1000
    await clock.wind(keys, 24 * HOUR - passed - 1)
    assert kids(keys.find("a")) == ["a"]
    assert keys.withdrawn == 0
    await clock.wind(keys, 1)
    assert keys.find("a") == keys.find(None) == keys.keys == ()
    assert keys.withdrawn == 1, "what it verified is remembered no longer"
    for kid in ("a", "b", None):
        with pytest.raises(KeysUnavailable, match="acme/login cannot be had: the answer was 503"):
            await keys.seek(kid)
    assert keys.health().state == "none"
    server.publish(signing("a"))
    await clock.wind(keys, 60)
    assert (kids(keys.keys), keys.health().state, keys.health().error) == (["a"], "fresh", None)
    await keys.close()


async def test_the_wait_grows_after_failures(server: JwksServer, clock: WoundClock) -> None:
    """1 s, doubled each time, with jitter, up to a minute; after a success it begins anew."""
    server.answers["/jwks.json"] = status(500)
    keys = remote(server, clock)
    await keys.open()
    counts = []
    for wait in (0.75, 1.5, 3, 6, 12, 24, 45, 45, 45):
        counts.append(server.count())
        await clock.wind(keys, wait - 0.01)
        assert server.count() == counts[-1]
        await clock.wind(keys, 0.01)
    assert counts == list(range(1, 10))
    server.publish(signing("a"))
    await clock.wind(keys, 45)
    server.answers["/jwks.json"] = status(500)
    await clock.wind(keys, 225)
    before = server.count()
    await clock.wind(keys, 0.75)
    assert server.count() == before + 1
    await keys.close()


async def test_an_unknown_kid_in_an_outage_is_no_verdict(server: JwksServer, clock: WoundClock) -> None:
    """While the last attempt failed, nobody can say that a kid does not exist: 503, not 401, in the cool-down, too."""
    keys = await opened(server, clock, signing("a"))
    assert await keys.seek("b") == ()
    server.answers["/jwks.json"] = reset
    await clock.wind(keys, 30)
    for _ in range(3):
        with pytest.raises(KeysUnavailable):
            await keys.seek("b")
        with pytest.raises(KeysUnavailable):
            await keys.seek("c")
    assert server.count() == 3
    assert kids(keys.find("a")) == ["a"]
    await keys.close()


async def test_b16_down_from_the_start(server: JwksServer, clock: WoundClock) -> None:
    """B16: an issuer that never answered has no keys: everything is an outage, and nothing verifies."""
    server.answers["/jwks.json"] = reset
    keys = remote(server, clock)
    await keys.open()
    for kid in ("a", None, ""):
        assert keys.find(kid) == ()
        with pytest.raises(KeysUnavailable):
            await keys.seek(kid)
    assert (keys.health().state, keys.health().age) == ("none", None)
    await keys.close()


# Unknown kids.


@pytest.mark.parametrize("failing", [False, True])
async def test_a11_a_flood_of_unknown_kids_is_one_fetch_a_cool_down(
    server: JwksServer, clock: WoundClock, failing: bool
) -> None:
    """A11, 0.2: 10,000 random kids in 10 s make one fetch at most, in any 30 s, also when each fetch fails."""
    keys = await opened(server, clock, signing("a"))
    if failing:
        server.answers["/jwks.json"] = status(500)
    fetched = server.count()
    for second in range(60):
        for _ in range(1000 if second < 10 else 100):
            try:
                assert await keys.seek(os.urandom(16).hex()) == ()
                assert not failing
            except KeysUnavailable:
                assert failing
        assert kids(keys.find("a")) == ["a"]
        await clock.wind(keys, 1)
        assert server.count() - fetched <= second // 30 + 1
    assert server.count() - fetched == 2
    await keys.close()


@pytest.mark.parametrize("poisoned", [False, True])
async def test_a11_a_rotation_in_the_flood_is_picked_up(server: JwksServer, clock: WoundClock, poisoned: bool) -> None:
    """A11: a key that is published in the middle of a flood verifies within one cool-down + 1 s.

    That holds for a kid that somebody foresaw and asked for all the time, too.
    """
    keys = await opened(server, clock, a := signing("a"))
    published_at = None
    for second in range(60):
        for _ in range(100):
            await keys.seek(os.urandom(16).hex())
        if poisoned or published_at is not None:
            found = await keys.seek("new")
            if found:
                break
        if second == 7:
            server.publish(a, signing("new"))
            published_at = clock.elapsed
        await clock.wind(keys, 1)
    assert published_at is not None
    assert kids(keys.find("new")) == ["new"]
    assert clock.elapsed - published_at <= 31
    await keys.close()


async def test_a_kid_that_was_looked_for_in_vain_is_found_when_it_comes(server: JwksServer, clock: WoundClock) -> None:
    """The memory for absent kids keeps nobody out: one look after the cool-down finds the key."""
    keys = await opened(server, clock, a := signing("a"))
    assert await keys.seek("new") == ()
    server.publish(a, signing("new"))
    assert await keys.seek("new") == ()
    await clock.wind(keys, 30)
    assert kids(await keys.seek("new")) == ["new"]
    await keys.close()


async def test_an_absent_kid_waits_for_nobody_elses_fetch(server: JwksServer, clock: WoundClock) -> None:
    """A client that repeats its junk does not pile up behind a slow fetch; others wait for it, and it is one fetch."""
    keys = await opened(server, clock, signing("a"))
    assert await keys.seek("junk") == ()
    await clock.wind(keys, 30)
    server.answers["/jwks.json"] = hang
    others = [asyncio.ensure_future(keys.seek(f"other-{number}")) for number in range(50)]
    await asked(server, 3)
    assert at_once(keys.seek("junk")) == ()
    assert not any(other.done() for other in others)
    assert server.count() == 3
    await keys.close()
    for other in others:
        with pytest.raises(KeysUnavailable, match="broken off"):
            await other


async def test_the_memory_of_absent_kids_is_bounded(server: JwksServer, clock: WoundClock) -> None:
    """1,024 of them, the oldest go first; nobody fills the memory with kids."""
    keys = await opened(server, clock, signing("a"))
    for number in range(5000):
        await keys.seek(f"kid-{number}")
    assert len(keys._absent) == ABSENT_KIDS
    assert next(iter(keys._absent)) == f"kid-{5000 - ABSENT_KIDS}"
    await keys.close()


async def test_the_budgets_are_apart(server: JwksServer, clock: WoundClock) -> None:
    """A token's fetch that fails neither puts off nor brings on the schedule, whose fetches leave tokens theirs."""
    keys = await opened(server, clock, signing("a"))
    await clock.wind(keys, 224)
    server.answers["/jwks.json"] = status(500)
    with pytest.raises(KeysUnavailable):
        await keys.seek("b")
    assert server.count() == 2
    await clock.wind(keys, 0.9)
    assert server.count() == 2
    await clock.wind(keys, 0.1)
    assert server.count() == 3, "the schedule holds"
    await clock.wind(keys, 29)
    fetched = server.count()
    with pytest.raises(KeysUnavailable):
        await keys.seek("b")
    assert server.count() == fetched + 1, "30 s after the token's own attempt"
    await keys.close()


async def test_many_who_wait_share_one_fetch(server: JwksServer, clock: WoundClock) -> None:
    """One flight an issuer: a thousand first tokens at once ask the issuer once, and all of them are answered."""
    server.publish(signing("a"))
    keys = remote(server, clock)
    found = await asyncio.gather(*(keys.seek("a") for _ in range(1000)))
    assert {tuple(kids(one)) for one in found} == {("a",)}
    assert server.count() == 1


async def test_who_gives_up_takes_nobody_along(server: JwksServer, clock: WoundClock) -> None:
    """B17: a client that disconnects while it waits breaks off neither the fetch nor the others' wait."""
    release = asyncio.Event()
    loop = asyncio.get_running_loop()
    publish = document(jwks(signing("a")))

    async def later(seen: object, writer: asyncio.StreamWriter) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(release.wait(), loop))
        await publish(seen, writer)  # type: ignore[arg-type]  # a request is a request

    server.answers["/jwks.json"] = later
    keys = remote(server, clock)
    gone, staying = asyncio.ensure_future(keys.seek("a")), asyncio.ensure_future(keys.seek("a"))
    await asked(server, 1)
    gone.cancel()
    await asyncio.sleep(0)
    release.set()
    assert kids(await staying) == ["a"]
    assert server.count() == 1


async def test_0_3_a_key_at_hand_never_waits(server: JwksServer, clock: WoundClock) -> None:
    """0.3: while a fetch hangs, a key that is at hand is found without a single step of waiting."""
    keys = await opened(server, clock, signing("a"))
    server.answers["/jwks.json"] = hang
    waiting = asyncio.ensure_future(keys.seek("b"))
    await asked(server, 2)
    for _ in range(1000):
        assert kids(keys.find("a")) == kids(at_once(keys.seek("a"))) == ["a"]
    assert not waiting.done()
    await keys.close()
    with pytest.raises(KeysUnavailable):
        await waiting


# Opening and closing.


async def test_opening_waits_only_a_moment(
    server: JwksServer, clock: WoundClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The listener starts at once: an issuer that hangs is waited for no longer than a moment."""
    monkeypatch.setattr("keys.remote.FIRST_SET_SECONDS", 0.1)
    monkeypatch.setattr("keys.remote.FETCH_SECONDS", 3600)
    server.answers["/jwks.json"] = hang
    keys = remote(server, clock)
    async with asyncio.timeout(60):
        await keys.open()
    assert keys.health().error == "not fetched yet"
    await keys.close()


async def test_closing_ends_every_task(server: JwksServer, clock: WoundClock) -> None:
    """After `close` nothing of the set runs on, whatever it was doing."""
    before = asyncio.all_tasks()
    keys = await opened(server, clock, signing("a"))
    server.answers["/jwks.json"] = hang
    waiting = asyncio.ensure_future(keys.seek("b"))
    await asked(server, 2)
    await keys.close()
    with pytest.raises(KeysUnavailable):
        await waiting
    assert asyncio.all_tasks() == before
    assert kids(keys.find("a")) == ["a"]
    server.publish(signing("b"))
    await keys.open()
    await clock.wind(keys, 300)
    assert kids(keys.keys) == ["b"]
    await keys.close()


async def test_closing_before_a_fetch_began_leaves_nobody_waiting(server: JwksServer, clock: WoundClock) -> None:
    """A token asks in the very moment in which a reload closes the set: it is answered, and the set opens again."""
    keys = remote(server, clock)
    waiting = asyncio.ensure_future(keys.seek("a"))
    await asyncio.sleep(0)  # it asked; the fetch has its turn next
    assert keys._landing is not None
    await keys.close()
    async with asyncio.timeout(30):
        with pytest.raises(KeysUnavailable):
            await waiting
    server.publish(signing("a"))
    async with asyncio.timeout(30):
        await keys.open()
        await settled(keys)
    assert kids(keys.find("a")) == ["a"]
    await keys.close()
