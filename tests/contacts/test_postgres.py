"""PostgreSQL keeps every promise of `ContactStore`, and some of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from msgspec.structs import replace

from gateway.contacts.postgres import PostgresStore
from gateway.contacts.store import EVERYTHING
from gateway.contacts.stores import store_for
from gateway.errors import Outage, StoreUnusable
from tests.contacts.conformance_alarm import AlarmConformance
from tests.contacts.conformance_concurrency import ConcurrencyConformance
from tests.contacts.conformance_crud import ChangingConformance, FindingConformance
from tests.contacts.conformance_durability import DurabilityConformance
from tests.contacts.conformance_logins import LoginsConformance
from tests.contacts.conformance_model import ModelConformance
from tests.contacts.conformance_resolver import ResolverConformance
from tests.contacts.conformance_signed_values import SignedValuesConformance
from tests.contacts.records import WORKSPACE, contact, insert, merge, until, update

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.contacts.store import ContactStore, ContactTransaction


@pytest.fixture
def url(postgres_database: str) -> str:
    return postgres_database


@pytest.fixture
def raw(url: str) -> Callable[[str], None]:
    """Run a statement behind the store's back."""

    async def command(sql: str) -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(sql)
        await connection.close()

    def run(sql: str) -> None:
        # On a thread of its own: the test's loop is running on this one.
        thread = threading.Thread(target=asyncio.run, args=(command(sql),))
        thread.start()
        thread.join()

    return run


class TestFinding(FindingConformance):
    pass


class TestChanging(ChangingConformance):
    pass


class TestConcurrency(ConcurrencyConformance):
    pass


class TestDurability(DurabilityConformance):
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
                await transaction._fetch("SELECT 1 / 0")  # type: ignore[attr-defined]

        with pytest.raises(Outage):
            await store.write(work)
        assert await store.find_by_external_id(WORKSPACE, "u-1") is None

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

    async def test_a_missing_database_is_unusable(self, postgres_server: str) -> None:
        """A database that does not exist is not made."""
        missing = urlunsplit(urlsplit(postgres_server)._replace(path="/gateway_test_missing"))
        with pytest.raises(StoreUnusable, match="does not exist"):
            await store_for(missing).migrate()

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
