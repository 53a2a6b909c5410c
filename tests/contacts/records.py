"""Records for the store's tests, and single steps in a transaction of their own."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from gateway.contacts.contact import Contact, Role, mint_contact_id

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from gateway.contacts.store import ContactStore, ContactTransaction

WORKSPACE = "acme"
NOW = 1_700_000_000


def contact(**fields: Any) -> Contact:
    """A record with what a test does not care about filled in."""
    return Contact(
        **{
            "workspace_id": WORKSPACE,
            "id": mint_contact_id(NOW, os.urandom),
            "role": Role.USER,
            "created_at": NOW,
            "updated_at": NOW,
            **fields,
        }
    )


async def insert(store: ContactStore, *contacts: Contact) -> None:
    """Insert records in one transaction."""

    async def work(transaction: ContactTransaction) -> None:
        for one in contacts:
            await transaction.insert(one)

    await store.write(work)


async def merge(store: ContactStore, source: Contact, into: Contact) -> None:
    """Merge one record into another."""

    async def work(transaction: ContactTransaction) -> None:
        await transaction.merge(source.workspace_id, source.id, into.id, now=NOW)

    await store.write(work)


async def update(store: ContactStore, record: Contact) -> None:
    """Write all fields of a record."""

    async def work(transaction: ContactTransaction) -> None:
        await transaction.update(record)

    await store.write(work)


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for something that comes by itself, such as another process's change."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.005)


async def do(store: ContactStore, step: Callable[[ContactTransaction], Coroutine[Any, Any, Any]]) -> Any:
    """One step in a transaction of its own."""
    return await store.write(step)
