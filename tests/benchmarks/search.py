"""`python -m tests.benchmarks.search [CONTACTS] [postgres]`: what a search costs, by operator, with so many contacts.

Each line is a page of 50 and the count of all, as the API does them for a first page; times are in milliseconds.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.contacts.contact import Contact, Role, mint_contact_id
from gateway.contacts.database.stores import store_for
from gateway.contacts.search.query import read_query, read_sort
from gateway.contacts.search.tree import Search
from gateway.errors import SearchRefused
from gateway.identity.principal import Proof
from tests.benchmarks.postgres import postgres_url

if TYPE_CHECKING:
    from gateway.contacts.store import ContactStore, ContactTransaction

WORKSPACE = "bench"
START = 1_600_000_000
STEP = 60  # seconds between two contacts
BATCH = 20_000
SECONDS = 60.0


def person(number: int, chance: random.Random) -> Contact:
    """The contact with a number; one in twenty has a phone."""
    seen = START + chance.randrange(1_000_000) * STEP
    return Contact(
        workspace_id=WORKSPACE,
        id=mint_contact_id(START + number * STEP, os.urandom),
        external_id=f"User-{number}",
        role=Role.USER,
        email=f"person{number}@{'example.com' if number % 3 else f'firm{number % 5_000}.example'}",
        email_proof=Proof.SIGNED,
        phone=f"+49{number:09}" if number % 20 == 0 else None,
        name=f"Person Number {number}",
        created_at=START + number * STEP,
        updated_at=seen,
        last_seen_at=seen,
        custom_attributes={"plan": chance.choice(["free", "pro", "team"]), "seats": chance.randrange(100)},
    )


async def fill(store: ContactStore, contacts: int) -> float:
    """Insert the contacts; rows a second."""
    chance = random.Random(1)
    people = [person(number, chance) for number in range(contacts)]
    started = time.perf_counter()
    for first in range(0, contacts, BATCH):

        async def work(transaction: ContactTransaction, first: int = first) -> None:
            for one in people[first : first + BATCH]:
                await transaction.insert(one)

        await store.write(work)
    return contacts / (time.perf_counter() - started)


def cases(contacts: int) -> dict[str, tuple[Any, Any]]:
    """Queries and orders by name; `?` stands for a random number of a contact."""

    def one(field: str, operator: str, value: Any) -> dict[str, Any]:
        return {"field": field, "operator": operator, "value": value}

    late = START + (contacts - 500) * STEP
    recent = START + 999_500 * STEP
    name, plan = one("name", "~", "number ?"), one("custom_attributes.plan", "=", "pro")
    return {
        "the list": (None, None),
        "email =": (one("email", "=", "person?@example.com"), None),
        "email IN 3": (one("email", "IN", [f"person{n}@example.com" for n in (1, 2, 4)]), None),
        "email ^": (one("email", "^", "person?@"), None),
        "email ^ many": (one("email", "^", "person"), None),
        "email ~ rare": (one("email", "~", "son?@"), None),
        "email $ many": (one("email", "$", "@example.com"), None),
        "email !=": (one("email", "!=", "person?@example.com"), None),
        "email_domain = some": (one("email_domain", "=", "firm12.example"), None),
        "external_id =": (one("external_id", "=", "User-?"), None),
        "external_id ^": (one("external_id", "^", "user-?"), None),
        "external_id NIN": (one("external_id", "NIN", ["User-1", "User-2"]), None),
        "phone =": (one("phone", "=", "+49000000020"), None),
        "phone ^": (one("phone", "^", "+4900000"), None),
        "name ~ rare": (name, None),
        "name ~ all": (one("name", "~", "person"), None),
        "created_at > late": (one("created_at", ">", late), None),
        "created_at > early": (one("created_at", ">", START), None),
        "created_at =": (one("created_at", "=", START + 5 * STEP), None),
        "updated_at > recent": (one("updated_at", ">", recent), None),
        "updated_at > early": (one("updated_at", ">", START), None),
        "updated_at > early, by updated_at": (one("updated_at", ">", START), {"field": "updated_at"}),
        "last_seen_at > recent": (one("last_seen_at", ">", recent), None),
        "custom text =": (plan, None),
        "custom number >": (one("custom_attributes.seats", ">", 98), None),
        "custom, rare": (one("custom_attributes.plan", "=", "none"), None),
        "everybody by name": (one("role", "=", "user"), {"field": "name"}),
        "email = OR phone =": (
            {"operator": "OR", "value": [one("email", "=", "person?@example.com"), one("phone", "=", "+49000000020")]},
            None,
        ),
        "15 customs, AND": ({"operator": "AND", "value": [plan] * 15}, None),
        "15 names, OR, rare": ({"operator": "OR", "value": [one("name", "~", f"?x{n}") for n in range(15)]}, None),
    }


def _numbered(value: Any, number: int) -> Any:
    if isinstance(value, str):
        return value.replace("?", str(number))
    if isinstance(value, list):
        return [_numbered(one, number) for one in value]
    return {key: _numbered(one, number) for key, one in value.items()} if isinstance(value, dict) else value


async def measure(store: ContactStore, contacts: int) -> None:
    """Print a line for each case: how many match, and what a first page costs."""
    chance = random.Random(2)
    print(f"{'search':36}{'matches':>10}{'rounds':>8}{'p50 ms':>10}{'p99 ms':>10}")
    for name, (query, sort) in cases(contacts).items():
        times: list[float] = []
        total = 0
        while len(times) < 100 and (len(times) < 5 or sum(times) < 4):
            asked = _numbered(query, chance.randrange(contacts))
            search = Search(where=None if asked is None else read_query(asked, {}), sort=read_sort(sort))
            started = time.perf_counter()
            try:
                hits = await store.search(WORKSPACE, search, limit=51, seconds=SECONDS)
                total = len(hits) if len(hits) < 51 else await store.count(WORKSPACE, search, seconds=SECONDS)
            except SearchRefused:
                total = -1
            times.append(time.perf_counter() - started)
        worst = sorted(times)[min(len(times) - 1, int(len(times) * 0.99))]
        print(
            f"{name:36}{total:>10,}{len(times):>8}{statistics.median(times) * 1e3:>10.2f}{worst * 1e3:>10.2f}",
            flush=True,
        )


async def run(url: str, contacts: int) -> None:
    """Fill a store and measure it."""
    store = store_for(url)
    await store.migrate()
    await store.open()
    rate = await fill(store, contacts)
    print(f"{contacts:,} contacts, {rate:,.0f} inserts/s")
    await measure(store, contacts)
    await store.close()


def main(*arguments: str) -> None:
    """See the module."""
    contacts = next((int(one) for one in arguments if one.isdigit()), 1_000_000)
    if "postgres" in arguments:
        with postgres_url() as url:
            asyncio.run(run(url, contacts))
    else:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(run(f"sqlite:///{Path(folder) / 'contacts.db'}", contacts))


if __name__ == "__main__":
    main(*sys.argv[1:])
