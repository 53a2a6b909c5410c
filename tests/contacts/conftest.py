"""Stores to test against: a fresh database for each test, and programs that share it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.contacts.database.stores import store_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from gateway.contacts.store import ContactStore

pytest.register_assert_rewrite(
    *(
        f"tests.contacts.conformance_{strength}"
        for strength in (
            "finding",
            "changing",
            "concurrency",
            "duplicates",
            "forgetting",
            "lifecycle",
            "durability",
            "merging",
            "unmerging",
            "merge_histories",
            "merge_races",
            "model",
            "resolver",
            "revocation",
            "signed_values",
            "alarm",
            "logins",
            "hashed",
            "rollout",
            "import",
            "backfill",
            "search",
            "attributes",
            "visitors",
        )
    ),
    "tests.contacts.people",
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def store(url: str) -> AsyncIterator[ContactStore]:
    """An open, empty store."""
    made = store_for(url)
    await made.migrate()
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def other(url: str, store: ContactStore) -> AsyncIterator[ContactStore]:
    """A second door to the same database, as another process has it."""
    del store  # it has made the schema
    made = store_for(url)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def start(url: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `tests/contacts/program.py` on the same database; its output comes line by line."""
    running: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.contacts.program", url, *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.communicate()
