"""What survives: kill -9, and the change from one version of the schema to the next."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from gateway.contacts.database.schema.migrations import MIGRATIONS
from gateway.contacts.database.stores import store_for
from gateway.contacts.store import ContactStore, ContactTransaction, Event
from gateway.errors import StoreUnusable
from tests.contacts.conformance_concurrency import go, line_of
from tests.contacts.records import WORKSPACE, contact, insert

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Raw = Callable[[str], None]


class DurabilityConformance:
    """`url` is an empty database, `raw` runs a statement on it behind the store's back."""

    @pytest.mark.parametrize("turn", range(5))
    async def test_what_was_acknowledged_survives_kill_9(
        self, store: ContactStore, start: Callable[..., subprocess.Popen[str]], turn: int
    ) -> None:
        """A process killed in the middle of many writes loses none that it had acknowledged, and halves none (R37)."""
        program = start("insert", f"turn-{turn}", "16", "100000")
        assert await line_of(program) == "ready"
        go(program)
        first = await line_of(program)
        await asyncio.sleep(random.uniform(0.02, 0.3))
        program.kill()
        rest, _ = await asyncio.to_thread(program.communicate)
        whole_lines = [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]
        acknowledged = [first, *map(str.strip, whole_lines)]
        assert len(acknowledged) > 16
        for contact_id in acknowledged:
            assert await store.find(WORKSPACE, contact_id) is not None
            assert len(await store.events(WORKSPACE, contact_id)) == 1
        assert await store.check() == []
        await insert(store, contact(external_id="after"))

    async def test_a_store_is_migrated_once(self, url: str) -> None:
        """A fresh database takes every migration, a second run none; the store then opens."""
        store = store_for(url)
        assert await store.migrate() == [migration.name for migration in MIGRATIONS]
        assert await store.migrate() == []
        await store.open()
        assert await store.check() == []
        await store.close()

    async def test_parallel_migrations_apply_each_once(
        self, url: str, start: Callable[..., subprocess.Popen[str]]
    ) -> None:
        """Several processes that start at once, before there is anything, migrate one after the other."""
        programs = [start("migrate") for _ in range(4)]
        for program in programs:
            assert await line_of(program) == "ready"
        for program in programs:
            go(program)
        assert sum([int(await line_of(program)) for program in programs]) == len(MIGRATIONS)
        store = store_for(url)
        await store.open()
        assert await store.check() == []
        await store.close()

    async def test_a_migration_leaves_the_data(self, store: ContactStore, url: str) -> None:
        """Migrating again changes nothing that was kept."""
        known = contact(external_id="u-1")
        await insert(store, known)
        assert await store_for(url).migrate() == []
        assert await store.find_by_external_id(WORKSPACE, "u-1") == known

    async def test_a_newer_store_is_refused(self, url: str, raw: Raw) -> None:
        """A program older than its store neither opens nor migrates it, and says which is which."""
        store = store_for(url)
        await store.migrate()
        raw(f"INSERT INTO migrations (number, name) VALUES ({len(MIGRATIONS) + 1}, 'from the future')")
        for call in (store.open, store.migrate):
            with pytest.raises(StoreUnusable, match="newer"):
                await call()

    async def test_a_store_without_its_migrations_is_refused(self, url: str, raw: Raw) -> None:
        """An older store is not opened; the message names the command that helps."""
        store = store_for(url)
        await store.migrate()
        raw(f"DELETE FROM migrations WHERE number = {len(MIGRATIONS)}")
        with pytest.raises(StoreUnusable, match="gateway db migrate"):
            await store.open()

    async def test_check_finds_broken_promises(self, store: ContactStore, raw: Raw) -> None:
        """A chain that leads nowhere, a state without a survivor, an unknown word: a line each, nothing personal."""
        broken = [contact(external_id=f"secret-{n}") for n in range(3)]
        await insert(store, *broken)
        for one, damage in zip(
            broken, ("state = 'merged', merged_into = 'nobody'", "state = 'merged'", "role = 'admin'"), strict=True
        ):
            raw(f"UPDATE contacts SET {damage} WHERE id = '{one.id}'")
        problems = await store.check()
        assert len(problems) == 3
        for one in broken:
            assert any(one.id in problem for problem in problems)
        assert "secret" not in "".join(problems)

    async def test_history_of_a_killed_work_is_whole(self, store: ContactStore) -> None:
        """A work that is given up leaves neither its record nor its line of history."""
        one = contact()

        async def work(transaction: ContactTransaction) -> None:
            await transaction.insert(one)
            await transaction.record(
                Event(workspace_id=WORKSPACE, contact_id=one.id, kind="created", actor="test", at=1)
            )
            raise KeyError(one.id)

        with pytest.raises(KeyError):
            await store.write(work)
        assert await store.find(WORKSPACE, one.id) is None
        assert await store.events(WORKSPACE, one.id) == []
