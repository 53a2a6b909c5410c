"""Merging for the tests: single steps, and a look behind the answers at every record and pointer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gateway.contacts.contact import State
from gateway.contacts.merging.merger import Merger
from gateway.errors import ChangeProblem, ChangeRefused
from tests.contacts.people import person
from tests.contacts.records import NOW, WORKSPACE, insert

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable
    from typing import Any

    from gateway.contacts.contact import Contact
    from gateway.contacts.merging.merger import Undone
    from gateway.contacts.merging.rules import Plan
    from gateway.contacts.store import ContactStore, ContactTransaction


ADA = "ada@example.com"


def merger(transaction: ContactTransaction, now: float = NOW, workspace: str = WORKSPACE) -> Merger:
    """Somebody who merges."""
    return Merger(transaction, workspace, actor="access_token:t1", now=now, random_bytes=os.urandom)


async def pair(store: ContactStore, source: dict[str, Any], into: dict[str, Any]) -> tuple[Contact, Contact]:
    """Two records that stand."""
    records = person(**source), person(**into)
    await insert(store, *records)
    return records


async def merge(
    store: ContactStore,
    source: str,
    into: str,
    *,
    now: float = NOW,
    unchecked: bool = False,
    workspace: str = WORKSPACE,
) -> Contact:
    """Merge in a transaction of its own."""
    return await store.write(lambda one: merger(one, now, workspace).merge(source, into, unchecked=unchecked))


async def preview(store: ContactStore, source: str, into: str, *, unchecked: bool = False) -> Plan:
    """Look at what a merge would do."""
    return await store.write(lambda one: merger(one).preview(source, into, unchecked=unchecked))


async def unmerge(store: ContactStore, source: str, *, now: float = NOW, workspace: str = WORKSPACE) -> Undone:
    """Undo in a transaction of its own."""
    return await store.write(lambda one: merger(one, now, workspace).unmerge(source))


async def edit(
    store: ContactStore, contact_id: str, *, now: float = NOW, workspace: str = WORKSPACE, **fields: Any
) -> Contact:
    """What an operator writes."""
    return await store.write(lambda one: merger(one, now, workspace).update(contact_id, fields))


async def set_state(
    store: ContactStore, contact_id: str, state: State, *, now: float = NOW, workspace: str = WORKSPACE
) -> None:
    """Archive, block or bring back; here it may lift a block, too."""

    async def work(transaction: ContactTransaction) -> None:
        editor = merger(transaction, now, workspace)
        await (editor.unblock(contact_id) if state is State.LIVE else editor.set_state(contact_id, state))

    await store.write(work)


async def delete(store: ContactStore, contact_id: str, *, workspace: str = WORKSPACE) -> Contact:
    """Remove a person for ever."""
    return await store.write(lambda one: merger(one, workspace=workspace).delete(contact_id))


async def stored(store: ContactStore, ids: Iterable[str], workspace: str = WORKSPACE) -> dict[str, Contact | None]:
    """The records themselves, pointers included."""
    return {contact_id: await store.stored(workspace, contact_id) for contact_id in ids}


async def refused(step: Coroutine[Any, Any, Any]) -> tuple[ChangeProblem, str]:
    """The problem and the words with which a change is refused."""
    with pytest.raises(ChangeRefused) as refusal:
        await step
    return refusal.value.problem, refusal.value.message
