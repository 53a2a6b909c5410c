"""`gateway db`, `gateway contacts` and `gateway access-token`: what stands in the store."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contacts.access_token import digest_of
from tests.cli.conftest import program, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def production(folder: Path) -> Path:
    """A folder with the configuration that `init` writes, and no store yet."""
    assert run("init").code == 0
    return folder


@contextlib.contextmanager
def database(folder: Path) -> Iterator[sqlite3.Connection]:
    """The store's file, behind the gateway's back; what is done is committed."""
    with contextlib.closing(sqlite3.connect(folder / "var/contacts.db", timeout=0)) as connection, connection:
        yield connection


def test_migrate_makes_the_store_once(production: Path) -> None:
    """The first run makes the store, for its owner alone; the second has nothing to do."""
    first = run("db", "migrate", "--json").json()
    assert first["store"] == "sqlite:///var/contacts.db"
    assert first["applied"]
    store = production / "var/contacts.db"
    assert store.stat().st_mode & 0o777 == 0o600
    assert run("db", "migrate", "--json").json()["applied"] == []
    assert run("db", "migrate").out == "sqlite:///var/contacts.db is up to date\n"


def test_check_of_a_sound_store(production: Path) -> None:
    """Exit code 0, and which store it was."""
    assert production.exists()
    run("db", "migrate")
    assert run("db", "check").out == "sqlite:///var/contacts.db is sound\n"
    assert run("db", "check", "--json").json() == {"store": "sqlite:///var/contacts.db", "ok": True, "problems": []}


def test_check_finds_a_broken_promise(development: Path, log_in: Callable[..., str]) -> None:
    """A contact that was merged into nobody is found, and the exit code says so."""
    contact_id = log_in("--user-id", "user-1")
    with database(development) as connection:
        connection.execute("UPDATE contacts SET state = 'merged', merged_into = ?", ("0" * 24,))
    ended = run("db", "check", "--json")
    assert (ended.code, ended.json()["ok"]) == (1, False)
    assert any(contact_id in problem for problem in ended.json()["problems"])
    assert run("db", "check").code == 1


def test_check_finds_damage(development: Path, log_in: Callable[..., str]) -> None:
    """R38: a page that was overwritten is found, whether the store can be opened or not."""
    for number in range(5):
        log_in("--user-id", f"user-{number}")
    with database(development) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (pages,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'contacts_external_id'"
        ).fetchone()
    store = development / "var/contacts.db"
    content = bytearray(store.read_bytes())
    content[(pages - 1) * 4096 + 8 : pages * 4096] = b"\xff" * 4088
    store.write_bytes(content)
    ended = run("db", "check")
    assert ended.code == 1
    assert ended.out or ended.error


def test_a_locked_store(production: Path) -> None:
    """While another program holds the store, a look-up still answers; a write is told in one line after a while."""
    run("db", "migrate")
    with database(production) as connection:
        connection.execute("BEGIN IMMEDIATE")
        # Real programs: locks on a file do not hold between two connections of one process.
        assert program("access-token", "list", "--json").json() == []
        ended = program("access-token", "create", "--name", "x", "--scope", "contacts:read")
        assert (ended.code, ended.out) == (1, "")
        assert "locked" in ended.error
    assert run("access-token", "list", "--json").json() == []


def create(*scopes: str) -> Any:
    options = [option for scope in scopes for option in ("--scope", scope)]
    ended = run("access-token", "create", "--name", "backend", "--json", *options)
    assert (ended.code, ended.err) == (0, "")
    return ended.json()


def test_an_access_token_is_shown_once_and_kept_as_a_digest(production: Path) -> None:
    """Its secret is printed when it is made; the store holds a digest, and no list shows either."""
    run("db", "migrate")
    made = create("contacts:read", "contacts:write")
    secret = made.pop("secret")
    assert secret.startswith("gwa_")
    assert len(secret) == 47
    assert made["scopes"] == ["contacts:read", "contacts:write"]
    assert run("access-token", "list", "--json").json() == [made]
    for listed in (run("access-token", "list").out, run("access-token", "list", "--json").out):
        assert secret not in listed
        assert digest_of(secret).hex() not in listed
    for path in (production / "var").iterdir():
        assert secret.encode() not in path.read_bytes()


def test_the_secret_alone_goes_to_standard_output(production: Path) -> None:
    """`TOKEN=$(gateway access-token create ...)` holds the secret and nothing else."""
    assert production.exists()
    run("db", "migrate")
    ended = run("access-token", "create", "--name", "report", "--scope", "contacts:read")
    assert ended.out.startswith("gwa_")
    assert ended.out.count("\n") == 1
    assert "shown this once" in ended.err


def test_revoking(production: Path) -> None:
    """A revoked token stays in the list; it cannot be revoked again, and no other is touched."""
    assert production.exists()
    run("db", "migrate")
    first, second = create("contacts:read"), create("contacts:read")
    assert run("access-token", "revoke", first["id"], "--json").json() == {"id": first["id"], "revoked": True}
    revoked = {token["id"]: token["revoked_at"] for token in run("access-token", "list", "--json").json()}
    assert isinstance(revoked[first["id"]], int)
    assert revoked[second["id"]] is None
    for token_id in (first["id"], "unknown", ""):
        ended = run("access-token", "revoke", token_id)
        assert (ended.code, ended.out) == (1, "")
        assert ended.error.startswith("no standing access token has the id")


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x1b[1m", "x" * 256])
def test_a_name_that_is_none(production: Path, name: str) -> None:
    """A name is for people; what they could not read is wrong use."""
    assert production.exists()
    run("db", "migrate")
    ended = run("access-token", "create", "--name", name, "--scope", "contacts:read")
    assert (ended.code, ended.out) == (2, "")
    assert ended.error == "a name has 1 to 255 printable characters"


def test_find_by_every_identifier(log_in: Callable[..., str]) -> None:
    """A contact id, a user_id or an email lead to the record; the answer says by what."""
    contact_id = log_in("--user-id", "user-1", "--email", "Ada@Example.com")
    for identifier, matched_by in (
        ("user-1", "user_id"),
        (contact_id, "contact_id"),
        ("ada@example.com", "email"),
        ("ADA@example.com", "email"),
    ):
        (found,) = run("contacts", "find", identifier, "--json").json()
        assert (found["contact"]["id"], found["matched_by"]) == (contact_id, matched_by)
        assert "history" not in found
        table = run("contacts", "find", identifier).out
        assert contact_id in table
        assert matched_by in table


def test_find_everybody_with_an_email(log_in: Callable[..., str]) -> None:
    """Two records with one email are both found; a user_id that is the email comes first, and none comes twice."""
    ids = [log_in("--user-id", name, "--email", "ada@example.com") for name in ("user-1", "user-2")]
    found = run("contacts", "find", "ada@example.com", "--json").json()
    assert {one["contact"]["id"] for one in found} == set(ids)
    by_email_alone = log_in("--email", "bob@example.com")
    (only,) = run("contacts", "find", "bob@example.com", "--json").json()
    assert (only["contact"]["id"], only["matched_by"]) == (by_email_alone, "user_id")


def test_find_with_history(log_in: Callable[..., str]) -> None:
    """`--history` tells how the record came to be, newest first."""
    log_in("--email", "ada@example.com")
    log_in("--user-id", "user-1", "--email", "ada@example.com")
    (found,) = run("contacts", "find", "user-1", "--history", "--json").json()
    assert [event["kind"] for event in found["history"]] == ["linked", "created"]
    assert {event["actor"] for event in found["history"]} == {"issuer:messenger"}
    table = run("contacts", "find", "user-1", "--history").out
    assert "created" in table
    assert "external_id=user-1" in table


@pytest.mark.parametrize("identifier", ["nobody", "", "USER-1", "user-1 ", "user%", "0" * 24, "x@y.example", "張", "'"])
def test_find_nobody(log_in: Callable[..., str], identifier: str) -> None:
    """Exit code 1 and, as JSON, an empty list; ids are compared byte by byte."""
    log_in("--user-id", "user-1")
    ended = run("contacts", "find", identifier, "--json")
    assert (ended.code, ended.json()) == (1, [])
    assert ended.error == "nobody in the workspace dev has this contact id, user_id or email"
    assert run("contacts", "find", identifier).out == ""


def test_find_stays_in_its_workspace(folder: Path) -> None:
    """With several workspaces the command wants one of them, and looks nowhere else."""
    issuer = (
        'name = "m"\nprofile = "intercom"\nsecrets = [{ id = "1", secret = "Zj3#k9Qw-Zk4$l0Rx_Al5%m1Sy+Bm6&n2Tz" }]\n'
    )
    (folder / "gateway.toml").write_text("".join(f"[[workspaces.{name}.issuers]]\n{issuer}" for name in ("one", "two")))
    run("db", "migrate")
    ended = run("contacts", "find", "x")
    assert (ended.code, ended.error) == (2, "there are several workspaces")
    assert "--workspace with one of one, two" in ended.err
    assert run("contacts", "find", "x", "--workspace", "two").error.startswith("nobody in the workspace two")
    assert run("token", "issue", "--user-id", "u").code == 2
    assert run("token", "issue", "--user-id", "u", "-w", "one", "--json").json()["workspace"] == "one"
    assert run("access-token", "create", "--name", "x", "--scope", "contacts:read").code == 2
