"""What happens at once, in one process and in several, for any back end: its test inherits this."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from gateway.contacts.contact import State
from gateway.contacts.store import EVERYTHING, ContactStore, ContactTransaction, Work
from gateway.errors import ContactConflict
from tests.contacts.records import WORKSPACE, contact, do, insert, merge, update

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from gateway.contacts.contact import Contact


async def line_of(program: subprocess.Popen[str]) -> str:
    """The next line that a program prints."""
    assert program.stdout is not None
    return (await asyncio.to_thread(program.stdout.readline)).strip()


def go(program: subprocess.Popen[str]) -> None:
    """Let a program begin."""
    assert program.stdin is not None
    program.stdin.write("go\n")
    program.stdin.flush()


async def heard_in_time(heard: list[tuple[str, str]], expected: tuple[str, str], since: float) -> None:
    """Wait until a subscriber heard of a change; at most a second may have passed."""
    while expected not in heard:
        assert time.monotonic() - since < 1.0, "not heard of within a second"
        await asyncio.sleep(0.01)


class ConcurrencyConformance:
    """Races, locks, and who hears of what."""

    async def test_one_of_many_inserts_of_an_external_id_wins(self, store: ContactStore, other: ContactStore) -> None:
        """Of parallel inserts through two doors exactly one is kept; all others are told who holds it (R35)."""
        outcomes = await asyncio.gather(
            *(insert(door, contact(external_id="u-1")) for door in (store, other) for _ in range(50)),
            return_exceptions=True,
        )
        holder = await store.find_by_external_id(WORKSPACE, "u-1")
        assert holder is not None
        conflicts = [outcome for outcome in outcomes if isinstance(outcome, ContactConflict)]
        assert outcomes.count(None) == 1
        assert {conflict.contact_id for conflict in conflicts} == {holder.id}
        assert len(conflicts) == 99

    async def test_one_of_many_updates_to_an_external_id_wins(self, store: ContactStore, other: ContactStore) -> None:
        """Records that all reach for one external id: one gets it, the others are told so."""
        rivals = [contact(external_id=f"u-{n}") for n in range(20)]
        await insert(store, *rivals)

        async def reach(door: ContactStore, rival: Contact) -> None:
            await update(door, replace(rival, external_id="prize"))

        doors = [store, other] * 10
        outcomes = await asyncio.gather(*map(reach, doors, rivals), return_exceptions=True)
        assert outcomes.count(None) == 1
        assert sum(isinstance(outcome, ContactConflict) for outcome in outcomes) == 19
        assert await store.check() == []

    async def test_works_that_lock_one_identifier_run_one_after_the_other(
        self, store: ContactStore, other: ContactStore
    ) -> None:
        """Read, change, write under a lock loses no step, whichever door it comes through."""
        counter = contact(custom_attributes={"count": 0})
        await insert(store, counter)

        async def work(transaction: ContactTransaction) -> None:
            await transaction.lock(WORKSPACE, "counter", "another")
            found = await transaction.find(WORKSPACE, counter.id)
            assert found is not None
            await transaction.update(replace(found, custom_attributes={"count": found.custom_attributes["count"] + 1}))

        await asyncio.gather(*(door.write(work) for door in (store, other) for _ in range(25)))
        found = await store.find(WORKSPACE, counter.id)
        assert found is not None
        assert found.custom_attributes == {"count": 50}

    async def test_locks_taken_crosswise_do_not_stop_anybody(self, store: ContactStore, other: ContactStore) -> None:
        """Works that lock A then B and works that lock B then A all come to their end."""

        def work(*identifiers: str) -> Work[None]:
            async def locking(transaction: ContactTransaction) -> None:
                for identifier in identifiers:
                    await transaction.lock(WORKSPACE, identifier)
                    await transaction.find(WORKSPACE, identifier)

            return locking

        pairs = [(store.write(work("a", "b")), other.write(work("b", "a"))) for _ in range(2)]
        await asyncio.gather(*(each for pair in pairs for each in pair))

    async def test_merges_in_opposite_directions_leave_one(self, store: ContactStore, other: ContactStore) -> None:
        """A into B and B into A at once: one of them happens, and the chain stays whole."""
        for _ in range(10):
            one, two = contact(), contact()
            await insert(store, one, two)
            outcomes = await asyncio.gather(
                merge(store, one, two),
                merge(other, two, one),
                return_exceptions=True,
            )
            assert outcomes.count(None) == 1
            survivor = await store.find(WORKSPACE, one.id)
            assert survivor is not None
            assert await other.find(WORKSPACE, two.id) == survivor
        assert await store.check() == []

    async def test_an_acknowledged_write_is_seen_through_every_door(
        self, store: ContactStore, other: ContactStore
    ) -> None:
        """A look-up that begins after the acknowledgement sees the write, in this process and in others."""
        for turn in range(50):
            await insert(store, contact(external_id=f"u-{turn}"))
            assert await other.find_by_external_id(WORKSPACE, f"u-{turn}") is not None

    async def test_a_cancelled_write_harms_nobody_else(self, store: ContactStore) -> None:
        """Whoever stops waiting takes nobody along, and the store goes on."""
        tasks = [asyncio.ensure_future(insert(store, contact(external_id=f"u-{n}"))) for n in range(40)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert outcomes[1::2] == [None] * 20
        for n in range(1, 40, 2):
            assert await store.find_by_external_id(WORKSPACE, f"u-{n}") is not None
        await insert(store, contact(external_id="after"))

    async def test_subscribers_hear_before_the_writer(self, store: ContactStore) -> None:
        """When `write` returns, the subscribers have heard of each record that it changed; new ones are no change."""
        heard: list[tuple[str, str]] = []
        one, two, three = contact(external_id="u-1"), contact(), contact()
        await insert(store, one, two, three)
        store.subscribe(lambda workspace_id, contact_id: heard.append((workspace_id, contact_id)))
        assert heard == []
        await update(store, replace(one, name="New"))
        assert heard == [(WORKSPACE, one.id)]
        await merge(store, one, two)
        assert (WORKSPACE, one.id) in heard[1:]
        heard.clear()
        await merge(store, two, three)
        assert {(WORKSPACE, one.id), (WORKSPACE, two.id)} <= set(heard)
        heard.clear()
        await do(store, lambda transaction: transaction.delete(WORKSPACE, three.id))
        assert set(heard) == {(WORKSPACE, each.id) for each in (one, two, three)}

    @pytest.mark.parametrize("end", ["unmerged", "renamed", "deleted"])
    async def test_who_answered_for_a_merged_record_is_heard_of(self, store: ContactStore, end: str) -> None:
        """What ends a merge is a change of the survivor: whoever remembers it as the answer must look again (C11)."""
        source, into = contact(external_id="u-1"), contact(external_id="u-2")
        await insert(store, source, into)
        await merge(store, source, into)
        heard: list[str] = []
        store.subscribe(lambda _, contact_id: heard.append(contact_id))
        merged = replace(source, state=State.MERGED, merged_into=into.id)
        if end == "deleted":
            await do(store, lambda transaction: transaction.delete(WORKSPACE, source.id))
        else:
            await update(store, source if end == "unmerged" else replace(merged, external_id="u-3"))
        assert {source.id, into.id} <= set(heard)
        assert await store.find_by_external_id(WORKSPACE, "u-1") != into

    async def test_a_change_is_heard_through_another_door(self, store: ContactStore, other: ContactStore) -> None:
        """Each change, once, and none of one's own a second time."""
        known = contact()
        await insert(store, known)
        here: list[tuple[str, str]] = []
        there: list[tuple[str, str]] = []
        store.subscribe(lambda *change: here.append(change))
        other.subscribe(lambda *change: there.append(change))
        assert store.hears_changes
        assert other.hears_changes
        await update(store, replace(known, name="New"))
        await heard_in_time(there, (WORKSPACE, known.id), time.monotonic())
        await asyncio.sleep(0.5)
        assert here == there == [(WORKSPACE, known.id)]

    async def test_very_many_changes_are_one(self, store: ContactStore, other: ContactStore) -> None:
        """A work that changes thousands of records is heard of as EVERYTHING, not one by one."""
        crowd = [contact() for _ in range(1500)]
        await insert(store, *crowd)
        there: list[tuple[str, str]] = []
        other.subscribe(lambda *change: there.append(change))

        async def work(transaction: ContactTransaction) -> None:
            for each in crowd:
                await transaction.update(replace(each, name="New"))

        await store.write(work)
        await heard_in_time(there, ("", EVERYTHING), time.monotonic())
        assert len(there) == 1

    async def test_another_process_is_heard_within_a_second(
        self, store: ContactStore, start: Callable[..., subprocess.Popen[str]]
    ) -> None:
        """From its acknowledgement at most a second passes until this process's subscribers hear (design 9)."""
        known = contact(name="Old")
        await insert(store, known)
        heard: list[tuple[str, str]] = []
        store.subscribe(lambda *change: heard.append(change))
        program = start("rename", known.id, "New")
        assert await line_of(program) == "ready"
        go(program)
        assert await line_of(program) == "renamed"
        await heard_in_time(heard, (WORKSPACE, known.id), time.monotonic())
        found = await store.find(WORKSPACE, known.id)
        assert found is not None
        assert found.name == "New"

    async def test_processes_write_side_by_side(
        self, store: ContactStore, start: Callable[..., subprocess.Popen[str]]
    ) -> None:
        """Two other processes and this one write at once: nobody is refused, nothing is lost."""
        programs = [start("insert", f"process-{n}", "8", "20") for n in range(2)]
        for program in programs:
            assert await line_of(program) == "ready"
        for program in programs:
            go(program)
        await asyncio.gather(*(insert(store, contact(external_id=f"mine-{n}")) for n in range(160)))
        printed = [line for program in programs for line in [await line_of(program) for _ in range(160)]]
        assert [await asyncio.to_thread(program.wait, 30) for program in programs] == [0, 0]
        assert len(set(printed)) == 320
        for contact_id in printed:
            assert await store.find(WORKSPACE, contact_id) is not None
        assert await store.check() == []

    async def test_a_failing_listener_stops_no_writer(
        self, store: ContactStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A subscriber that raises is logged; the write is acknowledged, and other subscribers hear."""
        known = contact()
        await insert(store, known)
        heard: list[str] = []

        def broken(_workspace_id: str, _contact_id: str) -> None:
            raise LookupError("on purpose")

        store.subscribe(broken)
        store.subscribe(lambda _, contact_id: heard.append(contact_id))
        await update(store, replace(known, name="New"))
        assert heard == [known.id]
        assert "on purpose" in caplog.text

    async def test_who_unsubscribed_hears_no_more(self, store: ContactStore) -> None:
        """It may leave while it is being told; others go on hearing, and to leave twice is no fault."""
        known = contact()
        await insert(store, known)
        heard: list[str] = []

        def once(_workspace_id: str, contact_id: str) -> None:
            heard.append(f"once {contact_id}")
            store.unsubscribe(once)

        store.subscribe(once)
        store.subscribe(lambda _, contact_id: heard.append(contact_id))
        await update(store, replace(known, name="New"))
        await update(store, replace(known, name="Newer"))
        assert heard == [f"once {known.id}", known.id, known.id]
        store.unsubscribe(once)

    async def test_to_open_an_open_store_changes_nothing(self, store: ContactStore) -> None:
        """A configuration that takes over opens what it needs; the store that stands open stays as it is."""
        known = contact()
        await insert(store, known)
        heard: list[str] = []
        store.subscribe(lambda _, contact_id: heard.append(contact_id))
        await store.open()
        await update(store, replace(known, name="New"))
        assert heard == [known.id]
        assert store.hears_changes
