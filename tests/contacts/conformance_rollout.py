"""What enforcing would break, counted on any store: each back end's test inherits this."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contacts.database.stores import store_for
from gateway.contacts.rollout import DAY, KEPT_DAYS, VERIFIED, EnforcementCount, EnforcementCounter
from gateway.errors import Code, Outage
from tests.contacts.people import Clock
from tests.contacts.records import NOW, WORKSPACE, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.store import ContactStore, ContactTransaction

TODAY = NOW // DAY


def count(**fields: Any) -> EnforcementCount:
    default = {"workspace_id": WORKSPACE, "day": TODAY, "platform": "web", "outcome": VERIFIED, "total": 1}
    return EnforcementCount(**{**default, **fields})


async def add(store: ContactStore, *counts: EnforcementCount) -> None:
    async def work(transaction: ContactTransaction) -> None:
        await transaction.add_enforcement_counts(counts)

    await store.write(work)


async def totals(store: ContactStore, workspace: str = WORKSPACE, since: int = 0) -> dict[tuple[int, str, str], int]:
    found: Sequence[EnforcementCount] = await store.enforcement_counts(workspace, since=since)
    return {(one.day, one.platform, one.outcome): one.total for one in found}


async def arrival(store: ContactStore) -> None:
    """Wait until anything was counted."""
    async with asyncio.timeout(30):
        while not await totals(store):  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.01)


class _Failing:
    """A store that cannot write while it is told so."""

    def __init__(self, store: ContactStore) -> None:
        self._store = store
        self.fails = True
        self.attempts = 0

    async def write(self, work: Any) -> Any:
        self.attempts += 1
        if self.fails:
            raise Outage(Code.STORE_UNAVAILABLE, "a test says so")
        return await self._store.write(work)


class RolloutConformance:
    """Counts add up, whoever counted, and are kept for as long as they are promised to be."""

    async def test_the_same_outcome_of_a_day_is_one_number(self, store: ContactStore) -> None:
        """Of each workspace, platform and outcome; a request without a platform is counted, too."""
        await add(store, count(total=3), count(platform="ios", outcome="token_expired", total=2), count(platform=""))
        await add(store, count(total=4), count(total=2**40), count(workspace_id="other", total=9))
        assert await totals(store) == {
            (TODAY, "", VERIFIED): 1,
            (TODAY, "ios", "token_expired"): 2,
            (TODAY, "web", VERIFIED): 7 + 2**40,
        }
        assert await totals(store, "other") == {(TODAY, "web", VERIFIED): 9}
        assert await totals(store, "nobody") == {}

    async def test_they_are_read_from_a_day_on(self, store: ContactStore) -> None:
        """That day included, oldest first; what is forgotten is gone for every workspace."""
        days = range(TODAY - 3, TODAY + 1)
        await add(store, *(count(day=day, workspace_id=name) for day in days for name in (WORKSPACE, "other")))
        assert [day for day, _, _ in await totals(store, since=TODAY - 1)] == [TODAY - 1, TODAY]

        async def forget(transaction: ContactTransaction) -> None:
            await transaction.forget_enforcement_counts(before=TODAY)

        await store.write(forget)
        assert len(await totals(store)) == len(await totals(store, "other")) == 1

    async def test_several_processes_add_up(self, store: ContactStore, other: ContactStore) -> None:
        """Many flushes at once, from two doors to one database, in any order of their rows: none is lost."""
        platforms = ["web", "ios", "android", ""]

        async def flush(door: ContactStore, turn: int) -> None:
            ordered = platforms[turn % 4 :] + platforms[: turn % 4]
            await add(door, *(count(platform=platform) for platform in ordered))

        await asyncio.gather(*(flush(door, turn) for turn in range(25) for door in (store, other)))
        assert set((await totals(other)).values()) == {50}
        assert await totals(store) == await totals(other)

    async def test_a_counter_brings_its_counts_into_the_store(self, store: ContactStore) -> None:
        """By itself every few seconds, and what is left at its end; a second flush adds nothing."""
        counter = EnforcementCounter(store, Clock(), flush_seconds=0.01)
        counter.open()
        counter.open()
        counter.add(WORKSPACE, "web", VERIFIED)

        await arrival(store)
        counter.add(WORKSPACE, "web", VERIFIED, 2)
        await counter.close()
        await counter.close()
        await counter.flush()
        assert await totals(store) == {(TODAY, "web", VERIFIED): 3}

    async def test_a_counter_that_was_closed_may_open_again(self, store: ContactStore) -> None:
        """As an application does that begins twice in one process."""
        counter = EnforcementCounter(store, Clock())
        for _ in range(2):
            counter.open()
            counter.add(WORKSPACE, "web", VERIFIED)
            await counter.close()
        assert await totals(store) == {(TODAY, "web", VERIFIED): 2}

    async def test_a_failing_store_loses_no_count(self, store: ContactStore) -> None:
        """They are kept under their own days until the store takes them, with what was counted meanwhile."""
        failing: Any = _Failing(store)
        clock = Clock()
        counter = EnforcementCounter(failing, clock)
        counter.add(WORKSPACE, "web", VERIFIED)
        for turn in range(3):
            with pytest.raises(Outage):
                await counter.flush()
            clock.now += DAY
            counter.add(WORKSPACE, "web", "token_expired", turn + 1)
        failing.fails = False
        await counter.flush()
        assert await totals(store) == {
            (TODAY, "web", VERIFIED): 1,
            **{(TODAY + turn + 1, "web", "token_expired"): turn + 1 for turn in range(3)},
        }

    async def test_counting_goes_on_after_an_outage(
        self, store: ContactStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The task that brings them outlives it; what no store took at the end is told by its number."""
        failing: Any = _Failing(store)
        counter = EnforcementCounter(failing, Clock(), flush_seconds=0.01)
        counter.open()
        counter.add(WORKSPACE, "web", VERIFIED)

        await until(lambda: failing.attempts > 2)
        failing.fails = False

        await arrival(store)
        failing.fails = True
        counter.add(WORKSPACE, "web", VERIFIED, 5)
        await counter.close()
        assert await totals(store) == {(TODAY, "web", VERIFIED): 1}
        (lost,) = [record for record in caplog.records if "did not take the last counts" in record.message]
        assert lost.__dict__["requests"] == 5

    async def test_ninety_days_are_kept(self, store: ContactStore) -> None:
        """The first flush of a day forgets what is older; what waited in memory for longer is dropped, too."""
        await add(store, *(count(day=TODAY - age) for age in (KEPT_DAYS - 1, KEPT_DAYS, 1000)))
        clock = Clock()
        clock.now -= KEPT_DAYS * DAY
        counter = EnforcementCounter(store, clock)
        counter.add(WORKSPACE, "ios", VERIFIED)
        clock.now = NOW
        counter.add(WORKSPACE, "web", VERIFIED)
        await counter.flush()
        assert sorted(await totals(store)) == [(TODAY - KEPT_DAYS + 1, "web", VERIFIED), (TODAY, "web", VERIFIED)]

    async def test_counting_tells_no_subscriber(self, store: ContactStore) -> None:
        """No contact changed, so nothing that is remembered is forgotten."""
        heard: list[tuple[str, str]] = []
        store.subscribe(lambda workspace, contact_id: heard.append((workspace, contact_id)))
        await add(store, count())
        assert heard == []

    async def test_counts_are_there_for_the_next_process(self, store: ContactStore, url: str) -> None:
        """An acknowledged flush is durable as any other write."""
        await add(store, count(total=7))
        await store.close()
        again = store_for(url)
        await again.open()
        try:
            assert await totals(again) == {(TODAY, "web", VERIFIED): 7}
        finally:
            await again.close()
