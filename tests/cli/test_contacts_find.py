"""`gateway contacts find --history`: how a record came to be, also one that was merged away or deleted."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from gateway.cli.configuration import DEVELOPMENT
from gateway.contacts.database.stores import store_for
from gateway.contacts.editing import Editor
from gateway.development import WORKSPACE
from tests.cli.conftest import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.contacts.store import ContactTransaction


def delete(contact_id: str) -> None:
    async def work(transaction: ContactTransaction) -> None:
        editor = Editor(transaction, WORKSPACE, actor="command", now=1_790_000_000, random_bytes=os.urandom)
        await editor.delete(contact_id)

    async def go() -> None:
        store = store_for(DEVELOPMENT.settings({}).store.url)
        await store.open()
        await store.write(work)
        await store.close()

    asyncio.run(go())


def test_a_deleted_contact_has_a_history_without_values(log_in: Callable[..., str]) -> None:
    """By its contact id; without --history, and by its other identifiers, there is nobody."""
    contact_id = log_in("--user-id", "gone-1", "--email", "gone@example.com")
    delete(contact_id)
    (found,) = run("contacts", "find", contact_id, "--history", "--json").json()
    assert (found["matched_by"], found["contact"]) == ("history", None)
    assert [line["kind"] for line in found["history"]] == ["deleted", "created"]
    assert all((line["before"], line["after"]) == ({}, {}) for line in found["history"])
    printed = run("contacts", "find", contact_id, "--history")
    assert printed.code == 0
    assert "deleted" in printed.out
    assert "gone@example.com" not in printed.out
    assert run("contacts", "find", contact_id).code == 1
    assert run("contacts", "find", "gone-1", "--history").code == 1
    assert run("contacts", "find", "0" * 24, "--history").code == 1


def test_a_merged_contact_tells_both_histories(log_in: Callable[..., str]) -> None:
    """Its own lines and the survivor's, each with the contact that it belongs to."""
    emails = ("--email", "same@example.com")
    source, into = log_in("--user-id", "m-1", *emails), log_in("--user-id", "m-2", *emails)
    assert run("contacts", "merge", source, into, "--apply").code == 0
    (found,) = run("contacts", "find", source, "--history", "--json").json()
    assert found["contact"]["id"] == into
    told = {(line["contact_id"], line["kind"]) for line in found["history"]}
    assert {(source, "created"), (source, "merged"), (into, "created"), (into, "merged")} <= told
    (survivor,) = run("contacts", "find", into, "--history", "--json").json()
    assert {line["contact_id"] for line in survivor["history"]} == {into}
