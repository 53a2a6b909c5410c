"""PostgreSQL keeps every promise of `ContactStore`, and some of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from msgspec.structs import replace

from gateway.contacts.database.postgres import CHANNEL, PostgresStore
from gateway.contacts.database.stores import store_for
from gateway.contacts.store import EVERYTHING
from gateway.errors import Outage, StoreUnusable
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
from tests.contacts.people import principal, resolver_of
from tests.contacts.records import WORKSPACE, contact, insert, merge, until, update

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gateway.contacts.resolver import Identity
    from gateway.contacts.store import ContactStore, ContactTransaction


@pytest.fixture
def url(postgres_database: str) -> str:
    return postgres_database


@pytest.fixture
def raw(url: str) -> Callable[[str], None]:
    """Run a statement behind the store's back."""

    def run(sql: str) -> None:
        # On a thread of its own: the test's loop is running on this one.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _run(url, sql)).result()

    return run


@pytest.fixture
def explain(url: str) -> Callable[[str, Sequence[object]], Awaitable[list[str]]]:
    """The plan of a statement, line by line, by what the table holds now."""

    async def run(sql: str, arguments: Sequence[object]) -> list[str]:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute("ANALYZE contacts")
            return [row[0] for row in await connection.fetch(f"EXPLAIN {sql}", *arguments)]
        finally:
            await connection.close()

    return run


async def _run(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


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
    capacity = 2_000  # each is a round trip


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


OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


class TestConnections:
    """What happens when connections go."""

    async def test_lost_connections_are_replaced(self, store: ContactStore, raw: Callable[[str], None]) -> None:
        """When the server ends every connection, look-ups and writes go on without an error."""
        for turn in range(3):
            await asyncio.gather(*(insert(store, contact(external_id=f"u-{turn}-{n}")) for n in range(30)))
            raw(f"SELECT pg_terminate_backend(pid) {OTHERS}")
            assert await store.find_by_external_id(WORKSPACE, f"u-{turn}-29") is not None
            await insert(store, contact())

    async def test_a_deaf_store_says_so(
        self, store: ContactStore, other: ContactStore, raw: Callable[[str], None]
    ) -> None:
        """Without its listening connection `hears_changes` is False until EVERYTHING was heard and it is back."""
        heard: list[tuple[str, str, bool]] = []
        store.subscribe(lambda *change: heard.append((*change, store.hears_changes)))
        assert store.hears_changes
        raw(f"SELECT pg_terminate_backend(pid) {OTHERS}")
        await until(lambda: heard, 1.0)
        assert heard[0] == ("", EVERYTHING, False)
        await until(lambda: store.hears_changes)
        known = contact()
        await insert(other, known)
        await update(other, replace(known, name="New"))
        await until(lambda: (WORKSPACE, known.id, True) in heard)

    async def test_a_lost_connection_is_nobody(self, store: ContactStore, raw: Callable[[str], None]) -> None:
        """The server gives its processes' numbers again: changes under the number of a lost one are somebody else's."""
        assert isinstance(store, PostgresStore)
        await insert(store, contact())
        (pid,) = store._connections._made
        assert store._connections.has(pid)
        raw(f"SELECT pg_terminate_backend({pid})")
        await until(lambda: not store._connections.has(pid))

    async def test_a_work_that_lost_its_connection_runs_again(
        self, store: ContactStore, raw: Callable[[str], None]
    ) -> None:
        """A connection that is lost in the middle of a work costs another run, not a half of it."""
        runs: list[int] = []

        async def work(transaction: ContactTransaction) -> None:
            runs.append(1)
            await transaction.insert(contact(external_id="u-1"))
            if len(runs) == 1:
                raw(f"SELECT pg_terminate_backend(pid) {OTHERS}")
            await transaction.insert(contact(external_id="u-2"))

        await store.write(work)
        assert len(runs) == 2
        assert await store.find_by_external_id(WORKSPACE, "u-2") is not None

    async def test_a_swallowed_error_is_not_acknowledged(self, store: ContactStore) -> None:
        """A work that hides the failure of a statement does not make PostgreSQL's rollback look like a success."""

        async def work(transaction: ContactTransaction) -> None:
            await transaction.insert(contact(external_id="u-1"))
            with contextlib.suppress(Outage):
                await transaction._fetch("SELECT 1 / 0")  # type: ignore[attr-defined]  # SQL's

        with pytest.raises(Outage):
            await store.write(work)
        assert await store.find_by_external_id(WORKSPACE, "u-1") is None

    async def test_a_database_that_would_not_wait_for_its_disk_is_made_to(
        self, url: str, store: ContactStore, raw: Callable[[str], None]
    ) -> None:
        """Where `synchronous_commit` is off for the database, our connections turn it on: acknowledged is durable."""
        await store.close()
        raw(f'ALTER DATABASE "{urlsplit(url).path[1:]}" SET synchronous_commit = off')
        await store.open()

        async def work(transaction: ContactTransaction) -> str:
            ((setting,),) = await transaction._fetch("SHOW synchronous_commit")  # type: ignore[attr-defined]  # SQL's
            return str(setting)

        assert await store.write(work) == "on"

    async def test_more_callers_than_connections_wait(self, url: str, store: ContactStore) -> None:
        """Two hundred look-ups and writes share two connections."""
        await insert(store, contact(external_id="u-1"))
        narrow = PostgresStore(url, connections=2)
        await narrow.open()
        found = await asyncio.gather(*(narrow.find_by_external_id(WORKSPACE, "u-1") for _ in range(200)))
        await asyncio.gather(*(insert(narrow, contact()) for _ in range(200)))
        assert None not in found
        await narrow.close()

    @pytest.mark.parametrize(
        ("address", "error"),
        [
            ("postgresql://postgres@127.0.0.1:1/x", Outage),
            ("postgresql://postgres@127.0.0.1:not-a-port/x", StoreUnusable),
        ],
    )
    async def test_a_server_that_is_not_there_is_an_outage(self, address: str, error: type[Exception]) -> None:
        """What may come back is an outage, what cannot is unusable; no driver's exception comes out."""
        for call in (store_for(address).open, store_for(address).migrate, store_for(address).check):
            with pytest.raises(error):
                await call()

    async def test_a_url_that_makes_no_sense_is_not_quoted(self) -> None:
        """A password that was not escaped stands in no error, nor behind it."""
        piece = f"p{os.urandom(6).hex()}"  # digits alone would be a port
        with pytest.raises(StoreUnusable) as unusable:
            await store_for(f"postgresql://user:{piece}/2@127.0.0.1/x").open()
        assert piece not in "".join(traceback.format_exception(unusable.value))

    async def test_a_missing_database_is_unusable(self, postgres_server: str) -> None:
        """A database that does not exist is not made."""
        missing = urlunsplit(urlsplit(postgres_server)._replace(path="/gateway_test_missing"))
        with pytest.raises(StoreUnusable, match="does not exist"):
            await store_for(missing).migrate()

    async def test_a_login_that_lost_to_a_writer_without_a_lock_looks_again(
        self, store: ContactStore, other: ContactStore
    ) -> None:
        """Who inserted the user_id while a login was on its way to do so is its contact, not an error."""
        rival, inserted = contact(external_id="u-1"), asyncio.Event()

        async def slow(transaction: ContactTransaction) -> None:
            await transaction.insert(rival)
            inserted.set()
            await asyncio.sleep(0.3)

        async def login() -> Identity:
            await inserted.wait()
            return await resolver_of(store).resolve(principal("u-1"))

        _, identity = await asyncio.gather(other.write(slow), login())
        assert (identity.contact.id, identity.created) == (rival.id, False)

    async def test_a_change_whose_commit_nobody_waited_for_is_heard(self, store: ContactStore) -> None:
        """A caller that is cancelled while its work is committed leaves no subscriber with the old answer."""
        assert isinstance(store, PostgresStore)
        for turn in range(40):
            known = contact(external_id=f"u-{turn}")
            await insert(store, known)
            heard: list[str] = []
            store.subscribe(lambda _, contact_id, heard=heard: heard.append(contact_id))  # type: ignore[misc]  # a default
            task = asyncio.ensure_future(update(store, replace(known, name="New")))
            await asyncio.sleep(turn / 10_000)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.sleep(0.05)  # an aborted connection's last word may still be on its way
            found = await store.find(WORKSPACE, known.id)
            assert found is not None
            assert found.name is None or known.id in heard

    async def test_a_commit_that_lost_its_connection_is_an_outage_and_is_heard(
        self, store: ContactStore, raw: Callable[[str], None]
    ) -> None:
        """Nobody knows whether it was kept: it is neither acknowledged nor run again, and everybody looks again."""
        known = contact()
        await insert(store, known)
        heard: list[str] = []
        store.subscribe(lambda _, contact_id: heard.append(contact_id))
        raw(
            "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$"
        )
        raw(
            "CREATE CONSTRAINT TRIGGER at_commit AFTER UPDATE ON contacts DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION die()"
        )
        with pytest.raises(Outage, match="at the commit"):
            await update(store, replace(known, name="New"))
        assert known.id in heard

    @pytest.mark.parametrize("payload", ["", "nonsense", "[1, 2, 3]", "7", "null"])
    async def test_words_that_nobody_understands_are_everything(
        self, store: ContactStore, raw: Callable[[str], None], payload: str
    ) -> None:
        """Another program on our channel costs the memory of what was found, not the ears."""
        heard: list[tuple[str, str]] = []
        store.subscribe(lambda *change: heard.append(change))
        raw(f"SELECT pg_notify('{CHANNEL}', '{payload}')")
        await until(lambda: heard)
        assert heard == [("", EVERYTHING)]

    async def test_a_full_disk_is_an_outage(self, store: ContactStore, raw: Callable[[str], None]) -> None:
        """What the server cannot keep now is an outage; nothing of it stays, and the store goes on afterwards."""
        raw(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full'; END $$"
        )
        raw("CREATE TRIGGER full_disk BEFORE INSERT ON contact_events EXECUTE FUNCTION full_disk()")
        with pytest.raises(Outage):
            await resolver_of(store).resolve(principal("u-1"))
        assert await store.find_by_external_id(WORKSPACE, "u-1") is None
        raw("DROP TRIGGER full_disk ON contact_events")
        assert (await resolver_of(store).resolve(principal("u-1"))).created

    async def test_a_server_that_became_a_replica_is_an_outage(
        self, url: str, store: ContactStore, raw: Callable[[str], None]
    ) -> None:
        """Writes are refused, look-ups go on."""
        await insert(store, contact(external_id="u-1"))
        raw(f'ALTER DATABASE "{urlsplit(url).path[1:]}" SET default_transaction_read_only = on')
        raw(f"SELECT pg_terminate_backend(pid) {OTHERS}")
        with pytest.raises(Outage):
            await insert(store, contact())
        assert await store.find_by_external_id(WORKSPACE, "u-1") is not None

    async def test_a_closed_store_keeps_no_connection(self, store: ContactStore, raw: Callable[[str], None]) -> None:
        """`close` lets those finish that are at work, and leaves nothing behind; it can be opened again as often."""
        for _ in range(3):
            writes = [asyncio.ensure_future(insert(store, contact())) for _ in range(40)]
            await asyncio.sleep(0.01)
            await store.close()
            outcomes = await asyncio.gather(*writes, return_exceptions=True)
            assert all(outcome is None or isinstance(outcome, Outage) for outcome in outcomes)
            raw(f"DO $$ BEGIN ASSERT (SELECT count(*) = 0 {OTHERS} AND application_name = 'identity-gateway'); END $$")
            await store.open()
        assert isinstance(store, PostgresStore)
        assert store._connections._free._value == 16

    async def test_a_database_that_is_no_store_is_unusable(self, url: str) -> None:
        """An empty database, and one with somebody else's `migrations`, are named as such by every call."""
        with pytest.raises(StoreUnusable, match="gateway db migrate"):
            await store_for(url).open()
        await _run(url, "CREATE TABLE migrations (version TEXT)")
        for call in (store_for(url).open, store_for(url).migrate, store_for(url).check):
            with pytest.raises(StoreUnusable):
                await call()

    async def test_what_a_work_found_does_not_change_under_it(self, store: ContactStore, other: ContactStore) -> None:
        """A record that a work has read is not merged away by another before the work writes it."""
        one, two = contact(external_id="u-1"), contact()
        await insert(store, one, two)
        found = asyncio.Event()

        async def slow(transaction: ContactTransaction) -> None:
            record = await transaction.find_by_external_id(WORKSPACE, "u-1")
            assert record is not None
            found.set()
            await asyncio.sleep(0.2)
            await transaction.update(replace(record, name="New"))

        async def swift() -> None:
            await found.wait()
            await merge(other, one, two)

        await asyncio.gather(store.write(slow), swift())
        assert await store.find_by_external_id(WORKSPACE, "u-1") == two
