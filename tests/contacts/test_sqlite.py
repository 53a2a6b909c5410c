"""SQLite keeps every promise of `ContactStore`, and some of its own."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import apsw
import pytest
from msgspec.structs import replace

from gateway.contacts.database.sqlite import LISTEN_SECONDS, SqliteStore, _SqliteTransaction
from gateway.contacts.database.sqlite_file import connect, execute
from gateway.errors import Outage
from tests.contacts.conformance_alarm import AlarmConformance
from tests.contacts.conformance_attributes import AttributesConformance, UserDataConformance
from tests.contacts.conformance_backfill import BackfillConformance
from tests.contacts.conformance_changing import ChangingConformance
from tests.contacts.conformance_concurrency import ConcurrencyConformance
from tests.contacts.conformance_duplicates import DuplicatesConformance
from tests.contacts.conformance_durability import DurabilityConformance
from tests.contacts.conformance_finding import FindingConformance
from tests.contacts.conformance_forgetting import ForgettingConformance
from tests.contacts.conformance_hashed import HashedConformance
from tests.contacts.conformance_import import ImportConformance
from tests.contacts.conformance_lifecycle import LifecycleConformance
from tests.contacts.conformance_logins import LoginsConformance
from tests.contacts.conformance_merge_histories import MergeHistoriesConformance
from tests.contacts.conformance_merge_races import MergeRacesConformance
from tests.contacts.conformance_merging import MergingConformance
from tests.contacts.conformance_model import ModelConformance
from tests.contacts.conformance_resolver import ResolverConformance
from tests.contacts.conformance_revocation import RevocationConformance, RevocationMemoryConformance
from tests.contacts.conformance_rollout import RolloutConformance
from tests.contacts.conformance_search import SearchConformance
from tests.contacts.conformance_signed_values import SignedValuesConformance
from tests.contacts.conformance_unmerging import UnmergingConformance
from tests.contacts.conformance_visitors import VisitorsConformance
from tests.contacts.records import WORKSPACE, contact, insert, until, update

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from gateway.contacts.store import ContactStore, ContactTransaction


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "contacts.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
def raw(path: Path) -> Callable[[str], None]:
    """Run a statement behind the store's back.

    Through the same SQLite: a second copy of it in one process takes the locks of the first one away.
    """

    def run(sql: str) -> None:
        with contextlib.closing(apsw.Connection(str(path))) as connection:
            connection.execute(sql)

    return run


@pytest.fixture
def explain(path: Path) -> Callable[[str, Sequence[object]], Awaitable[list[str]]]:
    """The plan of a statement, line by line."""

    async def run(sql: str, arguments: Sequence[object]) -> list[str]:
        with contextlib.closing(connect(path)) as connection:
            return [str(row[3]) for row in execute(connection, f"EXPLAIN QUERY PLAN {sql}", arguments)]

    return run


class TestFinding(FindingConformance):
    pass


class TestAttributes(AttributesConformance):
    pass


class TestUserData(UserDataConformance):
    pass


class TestVisitors(VisitorsConformance):
    pass


class TestChanging(ChangingConformance):
    pass


class TestConcurrency(ConcurrencyConformance):
    pass


class TestDurability(DurabilityConformance):
    pass


class TestHashed(HashedConformance):
    """Whom a `user_hash` leads to."""


class TestRollout(RolloutConformance):
    """Counts of a roll-out."""


class TestMerging(MergingConformance):
    pass


class TestUnmerging(UnmergingConformance):
    pass


class TestRevocation(RevocationConformance):
    pass


class TestRevocationMemory(RevocationMemoryConformance):
    pass


class TestMergeHistories(MergeHistoriesConformance):
    pass


class TestMergeRaces(MergeRacesConformance):
    pass


class TestDuplicates(DuplicatesConformance):
    pass


class TestBackfill(BackfillConformance):
    pass


class TestImport(ImportConformance):
    pass


class TestForgetting(ForgettingConformance):
    pass


class TestLifecycle(LifecycleConformance):
    pass


class TestModel(ModelConformance):
    pass


class TestResolver(ResolverConformance):
    pass


class TestSignedValues(SignedValuesConformance):
    pass


class TestAlarm(AlarmConformance):
    pass


class TestLogins(LoginsConformance):
    pass


class TestSearch(SearchConformance):
    pass


class TestEmbedded:
    """What the event loop and the writer thread promise."""

    async def test_look_ups_never_suspend(self, store: ContactStore) -> None:
        """`embedded` means: a look-up's coroutine ends at its first step."""
        await insert(store, contact(external_id="u-1"))
        assert store.embedded
        for look_up in (
            store.find(WORKSPACE, "x"),
            store.find_by_external_id(WORKSPACE, "u-1"),
            store.find_by_email(WORKSPACE, "x"),
            store.events(WORKSPACE, "x"),
            store.find_access_token(b"x"),
            store.access_tokens(),
        ):
            with pytest.raises(StopIteration):
                look_up.send(None)

    async def test_a_commit_waits_for_the_disk(self, store: ContactStore) -> None:
        """`synchronous = FULL` in a write-ahead log: acknowledged is durable."""

        async def work(transaction: ContactTransaction) -> list[object]:
            assert isinstance(transaction, _SqliteTransaction)
            return [transaction.run(f"PRAGMA {name}")[0][0] for name in ("synchronous", "journal_mode", "fullfsync")]

        assert await store.write(work) == [2, "wal", 1]

    async def test_work_may_not_wait(self, store: ContactStore) -> None:
        """A work that waits for something else is an error of its author, and harms nobody else."""

        async def waits(transaction: ContactTransaction) -> None:
            await transaction.insert(contact(external_id="u-1"))
            await asyncio.sleep(0)

        outcomes = await asyncio.gather(store.write(waits), insert(store, contact()), return_exceptions=True)
        assert isinstance(outcomes[0], RuntimeError)
        assert outcomes[1] is None
        assert await store.find_by_external_id(WORKSPACE, "u-1") is None

    @pytest.mark.parametrize("error", [asyncio.CancelledError, type("Odd", (BaseException,), {})])
    async def test_no_exception_of_a_work_ends_the_writer(
        self, store: ContactStore, error: type[BaseException]
    ) -> None:
        """Whatever a work raises comes out of its own `write`; the thread on which all others wait goes on."""

        async def work(transaction: ContactTransaction) -> None:
            await transaction.insert(contact(external_id="u-1"))
            raise error

        beside = asyncio.ensure_future(insert(store, contact()))
        with pytest.raises(error):
            async with asyncio.timeout(5):
                await store.write(work)
        await beside
        await insert(store, contact(external_id="u-1"))

    async def test_a_work_that_hides_the_end_of_its_transaction_writes_nothing(self, store: ContactStore) -> None:
        """When SQLite gave up the transaction, what a stubborn work goes on to write is refused, not kept."""

        async def work(transaction: ContactTransaction) -> None:
            assert isinstance(transaction, _SqliteTransaction)
            transaction.run("ROLLBACK")  # as SQLite itself does it on a full disk
            with contextlib.suppress(Outage):
                await transaction.insert(contact(external_id="u-1"))

        with pytest.raises(Outage):
            await store.write(work)
        assert await store.find_by_external_id(WORKSPACE, "u-1") is None
        await insert(store, contact(external_id="u-1"))

    async def test_a_full_disk_loses_nothing_acknowledged(self, store: ContactStore) -> None:
        """When SQLite gives up a transaction, all of its works are an outage; afterwards writing goes on."""
        assert isinstance(store, SqliteStore)
        assert store._writer is not None
        transaction = store._writer._begin()
        assert isinstance(transaction, _SqliteTransaction)
        connection = transaction.connection
        pages = connection.execute("PRAGMA page_count").get
        connection.execute(f"PRAGMA max_page_count = {pages + 4}")
        outcomes = await asyncio.gather(
            *(insert(store, contact(external_id=f"u-{n}", name="x" * 2000)) for n in range(64)), return_exceptions=True
        )
        assert any(isinstance(outcome, Outage) for outcome in outcomes)
        for n, outcome in enumerate(outcomes):
            kept = await store.find_by_external_id(WORKSPACE, f"u-{n}") is not None
            assert kept == (outcome is None)
        connection.execute("PRAGMA max_page_count = 1000000")
        await insert(store, contact(external_id="after"))
        assert await store.check() == []

    async def test_a_reader_that_cannot_look_is_deaf(self, store: ContactStore) -> None:
        """When changes cannot be looked for, `hears_changes` ends, and EVERYTHING is heard before it is true again."""
        assert isinstance(store, SqliteStore)
        heard: list[tuple[str, str, bool]] = []
        store.subscribe(lambda *change: heard.append((*change, store.hears_changes)))
        assert store.hears_changes
        store._changes.deaf()
        assert not store.hears_changes
        await until(lambda: store.hears_changes)
        assert heard == [("", "*", False)]

    async def test_a_reader_that_fails_is_deaf(self, store: ContactStore) -> None:
        """When looking for changes fails, `hears_changes` ends, and stays so until it succeeds."""
        assert isinstance(store, SqliteStore)
        assert store._reader is not None
        assert store.hears_changes
        store._reader.close()
        await until(lambda: not store.hears_changes)
        await asyncio.sleep(2 * LISTEN_SECONDS)
        assert not store.hears_changes

    async def test_another_process_that_writes_long_is_waited_for(self, store: ContactStore, path: Path) -> None:
        """A write waits for it, a look-up does not; when patience ends, it is an outage."""
        await insert(store, contact(external_id="u-1"))
        with contextlib.closing(apsw.Connection(str(path))) as stranger:
            stranger.execute("BEGIN IMMEDIATE")
            waiting = asyncio.ensure_future(insert(store, contact(external_id="u-2")))
            await asyncio.sleep(0.3)
            assert not waiting.done()
            assert await store.find_by_external_id(WORKSPACE, "u-1") is not None
            with contextlib.closing(connect(path, patience=0.1)) as hasty, pytest.raises(Outage, match="Busy"):
                execute(hasty, "BEGIN IMMEDIATE")
            stranger.execute("COMMIT")
            await waiting
        assert await store.find_by_external_id(WORKSPACE, "u-2") is not None

    async def test_changes_that_were_trimmed_are_everything(
        self, store: ContactStore, raw: Callable[[str], None]
    ) -> None:
        """A process that slept longer than the table of changes reaches back hears EVERYTHING."""
        heard: list[tuple[str, str]] = []
        store.subscribe(lambda *change: heard.append(change))
        raw("INSERT INTO contact_changes (seq, workspace_id, contact_id) VALUES (5000, 'acme', 'x')")
        await until(lambda: heard)
        assert heard == [("", "*")]

    async def test_a_restored_backup_is_everything(self, store: ContactStore, path: Path, tmp_path: Path) -> None:
        """When an older state is written into the file, everything may have changed, though no new line says so."""
        known = contact(external_id="u-1", name="Old")
        await insert(store, known)
        with (
            contextlib.closing(apsw.Connection(str(tmp_path / "backup.db"))) as backup,
            contextlib.closing(apsw.Connection(str(path))) as live,
        ):
            with backup.backup("main", live, "main") as copying:
                copying.step()
            await update(store, replace(known, name="New"))
            heard: list[tuple[str, str]] = []
            store.subscribe(lambda *change: heard.append(change))
            with live.backup("main", backup, "main") as copying:
                copying.step()
        await until(lambda: heard)
        assert heard == [("", "*")]
        assert await store.find_by_external_id(WORKSPACE, "u-1") == known
