"""The life of a record over each store: put away and brought back, its identifiers reserved (S2, S4, S12)."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from gateway.contacts.contact import Role, State
from gateway.contacts.editing import Editor
from gateway.errors import ChangeProblem, ChangeRefused, ContactConflict, ContactMerged, ContactNotFound
from tests.contacts.people import kinds, person
from tests.contacts.records import NOW, WORKSPACE, insert, merge

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.contacts.contact import Contact
    from gateway.contacts.store import ContactStore, ContactTransaction

STEPS: dict[str, Callable[[Editor, str], Awaitable[Contact]]] = {
    "archive": lambda editor, who: editor.set_state(who, State.ARCHIVED),
    "unarchive": lambda editor, who: editor.set_state(who, State.LIVE),
    "block": lambda editor, who: editor.set_state(who, State.BLOCKED),
    "unblock": lambda editor, who: editor.unblock(who),
}


async def edit(store: ContactStore, step: Callable[[Editor], Awaitable[Contact]]) -> Contact:
    """One step of an editor in a transaction of its own."""

    async def work(transaction: ContactTransaction) -> Contact:
        return await step(Editor(transaction, WORKSPACE, actor="command", now=NOW + 1, random_bytes=os.urandom))

    return await store.write(work)


async def do(store: ContactStore, contact_id: str, step: str) -> Contact:
    return await edit(store, lambda editor: STEPS[step](editor, contact_id))


async def create(store: ContactStore, **fields: Any) -> Contact:
    return await edit(store, lambda editor: editor.create(fields))


class LifecycleConformance:
    """To be inherited; `store` is the back end's fixture."""

    @pytest.mark.parametrize(
        ("before", "step", "after", "line"),
        [
            (State.LIVE, "archive", State.ARCHIVED, "archived"),
            (State.LIVE, "unarchive", State.LIVE, None),
            (State.LIVE, "block", State.BLOCKED, "blocked"),
            (State.LIVE, "unblock", State.LIVE, None),
            (State.ARCHIVED, "archive", State.ARCHIVED, None),
            (State.ARCHIVED, "unarchive", State.LIVE, "restored"),
            (State.ARCHIVED, "block", State.BLOCKED, "blocked"),
            (State.ARCHIVED, "unblock", State.ARCHIVED, None),
            (State.BLOCKED, "archive", State.BLOCKED, None),
            (State.BLOCKED, "block", State.BLOCKED, None),
            (State.BLOCKED, "unblock", State.LIVE, "unblocked"),
        ],
    )
    async def test_every_step_from_every_state(
        self, store: ContactStore, before: State, step: str, after: State, line: str | None
    ) -> None:
        """What is so already writes nothing; what changes leaves a line, and nothing of the record but its state."""
        known = person(external_id="u-1", email="a@example.com", state=before)
        await insert(store, known)
        changed = await do(store, known.id, step)
        assert await store.find(WORKSPACE, known.id) == changed
        assert changed == (known if line is None else replace(known, state=after, updated_at=NOW + 1))
        assert await kinds(store, known.id) == ([line] if line else [])

    async def test_a_block_is_lifted_by_unblock_alone(self, store: ContactStore) -> None:
        """Bringing back what is blocked is refused."""
        known = person(external_id="u-1", state=State.BLOCKED)
        await insert(store, known)
        with pytest.raises(ChangeRefused) as refused:
            await do(store, known.id, "unarchive")
        assert refused.value.problem is ChangeProblem.NOT_RESTORABLE
        assert await store.find(WORKSPACE, known.id) == known

    async def test_what_does_not_stand_is_not_changed(self, store: ContactStore) -> None:
        """Nobody, and a record that was merged away."""
        source, into = person(external_id="u-1"), person(external_id="u-2")
        await insert(store, source, into)
        await merge(store, source, into)
        for step in STEPS:
            with pytest.raises(ContactNotFound):
                await do(store, "0" * 24, step)
            with pytest.raises(ContactMerged) as merged:
                await do(store, source.id, step)
            assert merged.value.contact_id == into.id
        assert await store.find(WORKSPACE, into.id) == into

    @pytest.mark.parametrize("state", [State.LIVE, State.ARCHIVED, State.BLOCKED])
    @pytest.mark.parametrize("key", ["external_id", "email"])
    async def test_s4_identifiers_stay_reserved_in_every_state(
        self, store: ContactStore, state: State, key: str
    ) -> None:
        """Create and update name the holder and its state, behind any number of leads with the email; delete frees."""
        values = {"external_id": "u-1", "email": "a@example.com"}
        holder = person(**values, state=state)
        leads = [person(role=Role.LEAD, email="a@example.com", created_at=NOW - 1) for _ in range(5)]
        other = person(external_id="u-2")
        await insert(store, *leads, holder, other)
        wanted = {key: values[key]}
        for step in (
            lambda editor: editor.create(wanted),
            lambda editor: editor.update(other.id, wanted),
        ):
            with pytest.raises(ContactConflict) as conflict:
                await edit(store, step)
            told = conflict.value
            assert (told.contact_id, told.field) == (holder.id, key)
            assert (told.archived, told.blocked) == (state is State.ARCHIVED, state is State.BLOCKED)
        await create(store, role=Role.LEAD, email="a@example.com")
        await edit(store, lambda editor: editor.delete(holder.id))
        assert (await create(store, **wanted)).id != holder.id

    async def test_s4_an_email_is_reserved_whatever_happens_at_once(self, store: ContactStore) -> None:
        """Its holder is archived and brought back all the time, while others try to take it: nobody does."""
        holder = person(external_id="u-1", email="a@example.com")
        await insert(store, holder)

        async def come_and_go() -> None:
            for _ in range(10):
                await do(store, holder.id, "archive")
                await do(store, holder.id, "unarchive")

        async def take(number: int) -> str:
            with pytest.raises(ContactConflict) as conflict:
                await create(store, external_id=f"thief-{number}", email="a@example.com")
            return conflict.value.contact_id

        going = asyncio.create_task(come_and_go())
        taken = await asyncio.gather(*(take(number) for number in range(20)))
        await going
        assert set(taken) == {holder.id}
        assert await store.find_by_email(WORKSPACE, "a@example.com") == [
            replace(holder, updated_at=NOW + 1, state=State.LIVE)
        ]

    async def test_what_was_put_away_is_listed(self, store: ContactStore) -> None:
        """By id, in pages, with its count; by email; of this workspace alone, and no merged ones."""
        away = [
            person(email=f"p{number % 3}@example.com", state=state)
            for number, state in enumerate([State.ARCHIVED, State.BLOCKED] * 4)
        ]
        source, into = person(email="p0@example.com"), person(email="p0@example.com")
        await insert(store, *away, source, into, person(workspace_id="other", state=State.ARCHIVED))
        await merge(store, source, into)
        away.sort(key=lambda contact: contact.id)
        assert await store.put_away(WORKSPACE) == away
        assert await store.count_put_away(WORKSPACE) == 8
        assert await store.put_away(WORKSPACE, after=away[2].id, limit=3) == away[3:6]
        with_email = [contact for contact in away if contact.email == "p0@example.com"]
        assert await store.put_away(WORKSPACE, email="p0@example.com") == with_email
        assert await store.put_away(WORKSPACE, email="p0@example.com", after=with_email[0].id) == with_email[1:]
        assert await store.count_put_away(WORKSPACE, email="p0@example.com") == 3
        assert await store.put_away("elsewhere") == []
