"""`gateway contacts duplicates`: the report, its file, and the merges that somebody asks for (S7, S18)."""

from __future__ import annotations

import asyncio
import csv
from typing import TYPE_CHECKING, Any

import pytest

from gateway.cli.configuration import DEVELOPMENT
from gateway.contacts.contact import Role
from gateway.contacts.database.stores import store_for
from gateway.development import WORKSPACE
from gateway.identity.principal import Proof
from tests.cli.conftest import Ended, run
from tests.contacts.records import contact, insert

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.contacts.contact import Contact


def known(**fields: Any) -> Contact:
    return contact(**{"workspace_id": WORKSPACE, "email_proof": Proof.IMPORTED, **fields})


def keep(*contacts: Contact) -> None:
    async def put() -> None:
        store = store_for(DEVELOPMENT.settings({}).store.url)
        await store.open()
        await insert(store, *contacts)
        await store.close()

    asyncio.run(put())


@pytest.fixture
def people(development: Path) -> dict[str, Contact]:
    """A user with a lead and a claimed lead, and two users with one email."""
    assert development.exists()
    made = {
        "ada": known(external_id="ada", email="ada@example.com", name="=HYPERLINK(1)"),
        "lead": known(role=Role.LEAD, email="ada@example.com", phone="+49 30 123456"),
        "claimed": known(role=Role.LEAD, email="ada@example.com", email_proof=Proof.CLAIMED),
        "bob": known(external_id="bob", email="bob@example.com", last_seen_at=1_700_000_009),
        "bob-2": known(external_id="Bob 2", email="bob@example.com"),
    }
    keep(*made.values())
    return made


def find(one: Contact) -> Any:
    (found,) = run("contacts", "find", one.id, "--json").json()
    return found["contact"]


def outcomes(ended: Ended) -> list[tuple[str, str | None]]:
    return [(one["outcome"], one["code"]) for one in ended.json()["decisions"]]


def test_the_report_names_groups_survivors_and_doubts(people: dict[str, Contact]) -> None:
    """As JSON and as tables; without duplicates it says so."""
    ended = run("contacts", "duplicates", "--json")
    ada, bob = ended.json()["data"]
    assert (ended.code, ada["id"], bob["id"]) == (0, "email:ada@example.com", "email:bob@example.com")
    assert ada["proposal"]["into"] == people["ada"].id
    doubts = {one["id"]: one["doubt"] and one["doubt"]["code"] for one in ada["contacts"]}
    assert doubts == {people["ada"].id: None, people["lead"].id: None, people["claimed"].id: "claimed_email"}
    assert (bob["proposal"]["into"], bob["proposal"]["because"]) == (people["bob"].id, "last_seen")
    printed = run("contacts", "duplicates", "--limit", "1")
    assert people["ada"].id in printed.out
    assert people["bob"].id not in printed.out
    assert "and more" in printed.out
    assert run("contacts", "duplicates", "--kind", "phone").out == "no duplicates were found\n"


def test_s7_a_reviewed_file_is_rehearsed_then_applied(people: dict[str, Contact], folder: Path) -> None:
    """What is in no doubt is filled in; the rest waits for an operator's word; a second run changes nothing."""
    path = folder / "duplicates.csv"
    assert run("contacts", "duplicates", "--csv", str(path)).err == f"2 groups in {path}\n"
    assert path.stat().st_mode & 0o777 == 0o600
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["contact_id"]: row["into"] for row in rows if row["into"]} == {people["lead"].id: people["ada"].id}
    assert {row["name"] for row in rows if row["user_id"] == "ada"} == {"'=HYPERLINK(1)"}

    rehearsed = run("contacts", "duplicates", "--reviewed", str(path), "--json")
    assert (rehearsed.code, rehearsed.json()["applied"], outcomes(rehearsed)) == (0, False, [("merged", None)])
    assert find(people["lead"])["id"] == people["lead"].id
    applied = run("contacts", "duplicates", "--reviewed", str(path), "--apply", "--json")
    assert (applied.code, outcomes(applied)) == (0, [("merged", None)])
    assert find(people["lead"])["id"] == people["ada"].id
    again = run("contacts", "duplicates", "--reviewed", str(path), "--apply", "--json")
    assert (again.code, outcomes(again)) == (0, [("unchanged", None)])
    assert run("contacts", "unmerge", people["lead"].id).code == 0
    assert find(people["lead"])["id"] == people["lead"].id


def test_s7_two_identified_contacts_are_merged_by_an_explicit_word_alone(people: dict[str, Contact]) -> None:
    """Without --identified the merge is refused, rehearsed or not; with it, it is done."""
    arguments = ("--resolve", "email:bob@example.com", "--into", people["bob"].id, "--json")
    for apply in ((), ("--apply",)):
        refused = run("contacts", "duplicates", *arguments, *apply)
        assert (refused.code, outcomes(refused)) == (1, [("refused", "both_identified")])
    assert find(people["bob-2"])["id"] == people["bob-2"].id
    done = run("contacts", "duplicates", *arguments, "--identified", "--apply")
    assert (done.code, outcomes(done)) == (0, [("merged", None)])
    assert find(people["bob-2"])["id"] == people["bob"].id


def test_s18_a_group_is_resolved_by_its_name(people: dict[str, Contact]) -> None:
    """Every record of it goes into the one that was named."""
    done = run("contacts", "duplicates", "--resolve", "email:ada@example.com", "--into", people["ada"].id, "--apply")
    assert done.code == 0
    assert "2 merged" in done.out
    assert {find(people[name])["id"] for name in ("ada", "lead", "claimed")} == {people["ada"].id}
    gone = run("contacts", "duplicates", "--resolve", "email:ada@example.com", "--into", people["ada"].id)
    assert (gone.code, gone.error) == (1, "there is no group email:ada@example.com")


def test_a_rehearsal_follows_its_own_merges(people: dict[str, Contact], folder: Path) -> None:
    """A row that names what an earlier one merged away is told what the real run tells."""
    ada, lead, claimed = (people[name].id for name in ("ada", "lead", "claimed"))
    rows = [(lead, ada), (lead, ada), (claimed, lead), (ada, ada), ("0" * 24, ada), (ada, claimed)]
    path = folder / "reviewed.csv"
    path.write_text("contact_id;into;note\n" + "".join(f"{one};{into};\n" for one, into in rows))
    expected = [
        ("merged", None),
        ("unchanged", None),
        ("refused", "contact_merged"),
        ("refused", "same_contact"),
        ("refused", "not_found"),
        ("refused", "invalid_merge_role_pair"),
    ]
    rehearsed = run("contacts", "duplicates", "--reviewed", str(path), "--json")
    assert outcomes(rehearsed) == expected
    applied = run("contacts", "duplicates", "--reviewed", str(path), "--apply", "--json")
    assert [code for _, code in outcomes(applied)][:5] == [code for _, code in expected][:5]
    assert applied.code == 1


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"contact_id\n", "into"),
        (b"contact_id,into\nx,6a1f0c2e9b3d5f7081a2b3c4\n", "line 2"),
        (b"contact_id,into\n6a1f0c2e9b3d5f7081a2b3c4,\n6a1f0c2e9b3d5f7081a2b3c4,y\n", "line 3"),
        (b'contact_id,into\n"6a1f', "line 2"),
        (b"contact_id,into\n\xff,\n", "line 2"),
        (b"", "file"),
    ],
)
def test_r33_a_file_that_cannot_be_used_is_refused_whole(
    people: dict[str, Contact], folder: Path, content: bytes, error: str
) -> None:
    """One line with its place; nothing was merged."""
    path = folder / "bad.csv"
    path.write_bytes(content)
    ended = run("contacts", "duplicates", "--reviewed", str(path), "--apply")
    assert ended.code == 1
    assert error in ended.error
    assert find(people["lead"])["id"] == people["lead"].id


@pytest.mark.parametrize(
    "arguments",
    [
        ("--resolve", "email:x"),
        ("--into", "0" * 24),
        ("--csv", "a.csv", "--reviewed", "b.csv"),
        ("--kind", "nothing"),
        ("--limit", "0"),
    ],
)
def test_wrong_use(development: Path, arguments: tuple[str, ...]) -> None:
    """Exit code 2 and a hint."""
    assert development.exists()
    assert run("contacts", "duplicates", *arguments).code == 2
