"""A deleted person is gone from every table, and the facts stay (a person's right; issue 3, history)."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import asyncpg
import pytest
from msgspec.structs import replace

from gateway.contacts.contact import Role
from gateway.contacts.merging.merger import Merger
from gateway.contacts.store import Event
from gateway.identity.principal import Proof
from tests.contacts.people import Clock, kinds, person, principal, resolver_of
from tests.contacts.records import NOW, WORKSPACE, insert, update

if TYPE_CHECKING:
    from gateway.contacts.contact import Contact
    from gateway.contacts.store import ContactStore, ContactTransaction

PERSONAL = {
    "name": "Ada Q\u00fcrxel",
    "email": "ada.q\u00fcrxel@example.com",
    "user_id": "key-77qxz%_!",
    "phone": "+49 30 7719987",
}


async def everything(url: str) -> str:
    """All tables as one text; of SQLite the bytes of its files, too, once the log is written back."""
    if url.startswith("sqlite"):
        return _everything_of(Path(url.partition("///")[2]))
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        rows = [await connection.fetch(f'SELECT * FROM "{table[0]}"') for table in tables]
        return repr([[tuple(row.values()) for row in some] for some in rows])
    finally:
        await connection.close()


def _everything_of(path: Path) -> str:
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        rows = [connection.execute(f'SELECT * FROM "{name}"').fetchall() for (name,) in names]
    files = b"".join(file.read_bytes() for file in path.parent.iterdir())
    return repr(rows) + files.decode("utf-8", "replace")


async def delete(store: ContactStore, contact_id: str) -> None:
    async def work(transaction: ContactTransaction) -> None:
        await merger(transaction).delete(contact_id)

    await store.write(work)


def merger(transaction: ContactTransaction) -> Merger:
    return Merger(transaction, WORKSPACE, actor="command", now=NOW, random_bytes=os.urandom)


async def assert_gone(url: str, contact: Contact) -> None:
    """Nothing of what tells who she was is left anywhere; her contact id is, in the history."""
    text = await everything(url)
    for name, value in PERSONAL.items():
        assert value not in text, name
    assert contact.id in text


class ForgettingConformance:
    """To be inherited; `store` and `url` are the back end's fixtures."""

    async def test_a_person_who_logged_in_and_was_edited(self, store: ContactStore, url: str) -> None:
        """Created by a login, flagged, edited, archived, restored, deleted: the lines stay, without their values."""
        clock = Clock()
        resolver = resolver_of(store, clock)
        held = person(external_id="other", email=PERSONAL["email"])
        await insert(store, held)
        attributes = {"name": PERSONAL["name"], "phone": PERSONAL["phone"]}
        who = principal(PERSONAL["user_id"], PERSONAL["email"], attributes=attributes)
        ada = (await resolver.resolve(who)).contact

        async def edit(transaction: ContactTransaction) -> None:
            editor = merger(transaction)
            await editor.update(ada.id, {"name": "Somebody else", "external_id": "new-key"})
            await editor.update(ada.id, {"name": PERSONAL["name"], "custom_attributes": {}})

        await store.write(edit)
        await update(store, replace(held, email=None, email_proof=None))
        for value in PERSONAL.values():
            assert value in await everything(url)
        before = await kinds(store, ada.id)
        await delete(store, ada.id)
        await assert_gone(url, ada)
        assert await kinds(store, ada.id) == [*before, "deleted"]
        lines = await store.events(WORKSPACE, ada.id)
        assert all((line.before, line.after) == ({}, {}) for line in lines)
        assert {line.actor for line in lines} == {"issuer:messenger", "command"}

    async def test_what_others_histories_tell_of_her(self, store: ContactStore, url: str) -> None:
        """`email_conflict` in another's history, and the address that both had for a while."""
        clock = Clock()
        resolver = resolver_of(store, clock)
        ada = (await resolver.resolve(principal(PERSONAL["user_id"], PERSONAL["email"]))).contact
        bob = (await resolver.resolve(principal("bob", PERSONAL["email"], issued_at=NOW))).contact
        bob = (await resolver.resolve(principal("bob", "bob@example.com", issued_at=NOW + 1))).contact
        before = await kinds(store, bob.id)
        assert before == ["created", "email_conflict", "email_changed"]
        await delete(store, ada.id)
        await assert_gone(url, ada)
        assert await kinds(store, bob.id) == before
        assert await store.find(WORKSPACE, bob.id) == bob

    async def test_what_another_still_has_is_his(self, store: ContactStore, url: str) -> None:
        """A shared address stays where it is somebody's to this day, with his own history of it."""
        resolver = resolver_of(store)
        ada = (await resolver.resolve(principal("ada", PERSONAL["email"]))).contact
        bob = (await resolver.resolve(principal("bob", PERSONAL["email"]))).contact
        await delete(store, ada.id)
        created, conflict = reversed(await store.events(WORKSPACE, bob.id))
        assert (created.kind, created.after["email"]) == ("created", PERSONAL["email"])
        assert (conflict.kind, conflict.after) == ("email_conflict", {})
        assert ada.id in await everything(url)

    @pytest.mark.parametrize("undone", [False, True])
    async def test_a_merged_person(self, store: ContactStore, url: str, undone: bool) -> None:
        """Deleted with her survivor; or after an undo alone, and then out of the survivor's history and the journal."""
        ada = person(
            role=Role.LEAD,
            external_id=PERSONAL["user_id"],
            email=PERSONAL["email"],
            name=PERSONAL["name"],
            phone=PERSONAL["phone"],
        )
        bob = person(external_id="bob")
        await insert(store, ada, bob)

        async def work(transaction: ContactTransaction) -> None:
            await merger(transaction).merge(ada.id, bob.id, unchecked=True)
            await merger(transaction).update(bob.id, {"name": "Bob"})
            if undone:
                await merger(transaction).update(bob.id, {"phone": None, "email": None})
                await merger(transaction).unmerge(ada.id)

        await store.write(work)
        await delete(store, ada.id if undone else bob.id)
        await assert_gone(url, ada)
        assert (await kinds(store, ada.id))[-1] == ("deleted" if undone else "merged")
        survivor = await store.find(WORKSPACE, bob.id)
        assert (survivor is None) is not undone

    async def test_among_many(self, store: ContactStore, url: str) -> None:
        """One of several hundred, whose pages were split and joined before and after."""
        numbers = itertools.count()

        def some() -> list[Contact]:
            return [
                person(external_id=f"id-{next(numbers)}", email=f"p{next(numbers)}@example.com", name="x" * 200)
                for _ in range(300)
            ]

        ada = person(external_id=PERSONAL["user_id"], email=PERSONAL["email"], name=PERSONAL["name"])
        first, second = some(), some()
        await insert(store, *first, ada, *second)
        for one in first[::3]:
            await delete(store, one.id)
        await update(store, replace(ada, phone=PERSONAL["phone"], email_proof=Proof.SIGNED))
        await delete(store, ada.id)
        for one in second[::3]:
            await delete(store, one.id)
        await assert_gone(url, ada)

    async def test_lines_of_a_workspace_stay_its_own(self, store: ContactStore) -> None:
        """C04: the same contact ids in another workspace are forgotten by nobody here."""
        ada, bob = person(), person()
        await insert(store, ada, bob, replace(ada, workspace_id="other"), replace(bob, workspace_id="other"))

        async def note(transaction: ContactTransaction) -> None:
            for workspace in (WORKSPACE, "other"):
                after: dict[str, Any] = {"email": "a@example.com", "held_by": [ada.id]}
                await transaction.record(
                    Event(
                        workspace_id=workspace,
                        contact_id=bob.id,
                        kind="email_conflict",
                        actor="command",
                        at=NOW,
                        after=after,
                    )
                )

        await store.write(note)
        await delete(store, ada.id)
        (here,), (there,) = await store.events(WORKSPACE, bob.id), await store.events("other", bob.id)
        assert (here.after, there.after["held_by"]) == ({}, [ada.id])
