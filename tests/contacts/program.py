"""What another process does with a store: `python -m tests.contacts.program URL insert|rename|login|migrate ...`.

It prints a line when it is ready, waits for a line, and prints a line for each write when it is acknowledged.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from msgspec.structs import replace

from gateway.contacts.contact import Contact, Role, mint_contact_id
from gateway.contacts.database.stores import store_for
from gateway.contacts.store import ContactStore, ContactTransaction, Event
from tests.contacts.people import principal, resolver_of
from tests.contacts.records import WORKSPACE


async def _insert(store: ContactStore, prefix: str, writers: int, count: int) -> None:
    """Insert people, each with a line of history, from several writers at once."""

    async def writer(number: int) -> None:
        for turn in range(count):
            contact = Contact(
                workspace_id=WORKSPACE,
                id=mint_contact_id(time.time(), os.urandom),
                external_id=f"{prefix}-{number}-{turn}",
                role=Role.USER,
                created_at=int(time.time()),
                updated_at=int(time.time()),
            )

            async def work(transaction: ContactTransaction, contact: Contact = contact) -> None:
                await transaction.insert(contact)
                await transaction.record(
                    Event(workspace_id=WORKSPACE, contact_id=contact.id, kind="created", actor="test", at=1)
                )

            await store.write(work)
            sys.stdout.write(f"{contact.id}\n")
            sys.stdout.flush()

    await asyncio.gather(*(writer(number) for number in range(writers)))


async def _rename(store: ContactStore, contact_id: str, name: str) -> None:
    async def work(transaction: ContactTransaction) -> None:
        contact = await transaction.find(WORKSPACE, contact_id)
        assert contact is not None
        await transaction.update(replace(contact, name=name))

    await store.write(work)
    sys.stdout.write("renamed\n")
    sys.stdout.flush()


async def _login(store: ContactStore, user_id: str, email: str, count: int) -> None:
    """First logins of one person, all at once."""
    resolver, who = resolver_of(store), principal(user_id, email)
    identities = await asyncio.gather(*(resolver.resolve(who) for _ in range(count)))
    sys.stdout.writelines(f"{identity.contact.id} {identity.created}\n" for identity in identities)
    sys.stdout.flush()


async def _main(url: str, command: str, *arguments: str) -> None:
    store = store_for(url)
    if command != "migrate":
        await store.open()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    if command == "migrate":
        sys.stdout.write(f"{len(await store.migrate())}\n")
        return
    if command == "insert":
        prefix, writers, count = arguments
        await _insert(store, prefix, int(writers), int(count))
    elif command == "login":
        user_id, email, logins = arguments
        await _login(store, user_id, email, int(logins))
    else:
        await _rename(store, *arguments)
    await store.close()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
