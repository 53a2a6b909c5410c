"""Every reason for which a gateway does not start, told in a line each."""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
from pathlib import Path

import pytest

from tests.cli.conftest import program, run
from tests.web.conftest import free_port


@pytest.mark.parametrize("bind", ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080"])
def test_development_mode_refuses_a_public_bind(bind: str) -> None:
    """Both listeners are refused at once; the hint leads to a configuration."""
    ended = run("serve", "--public", bind, "--admin", bind.replace("8080", "8081"))
    assert (ended.code, ended.out) == (1, "")
    refused = "development mode listens on loopback only; `gateway init` writes a configuration for more"
    assert ended.err.splitlines()[:2] == [f"error: public: {refused}", f"error: admin: {refused}"]


def test_a_configuration_may_bind_where_it_likes(folder: Path) -> None:
    """Only development mode is bound to loopback."""
    assert folder.exists()
    run("init")
    assert run("config", "check").code == 0
    config = folder / "gateway.toml"
    config.write_text(config.read_text().replace("127.0.0.1:8080", "0.0.0.0:8080"))
    assert run("config", "check").code == 0


def test_an_address_that_is_taken(development: Path) -> None:
    """The address is named, and nothing was started."""
    assert development.exists()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = program("serve", "--public", bind, "--admin", f"127.0.0.1:{free_port()}")
    assert (ended.code, ended.out) == (1, "")
    assert ended.error == f"public.bind: cannot listen on {bind}: Address already in use"


def test_every_problem_of_the_configuration_at_once(folder: Path) -> None:
    """The real program names all of them, starts nothing and makes nothing."""
    (folder / "gateway.toml").write_text(
        'zonk = 1\nworkers = 0\n[public]\nbind = "x"\n'
        '[[workspaces.acme.issuers]]\nname = "m"\nprofile = "intercom"\nsecrets = [{ id = "1", secret = "Zj3#k9Qw" }]\n'
    )
    ended = program("serve", GATEWAY_ZINK="1")
    assert (ended.code, ended.out) == (1, "")
    assert [line.split(": ")[1] for line in ended.err.splitlines()[:-1]] == [
        "zonk",
        "environment GATEWAY_ZINK",
        "workspaces.acme.issuers[0].secrets[0].secret",
        "public.bind",
        "workers",
    ]
    assert ended.err.splitlines()[-1].startswith("hint: ")
    assert "Zj3#k9Qw" not in ended.err
    assert list(folder.iterdir()) == [folder / "gateway.toml"]


def production(folder: Path) -> Path:
    """A folder with a good configuration and its store; the store's file."""
    assert run("init").code == 0
    assert run("db", "migrate").code == 0
    return folder / "var/contacts.db"


def test_a_newer_store_is_refused(folder: Path) -> None:
    """A store that a newer program has changed is neither opened nor migrated."""
    store = production(folder)
    with contextlib.closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("INSERT INTO migrations VALUES (9999, 'from the future')")
    for ended in (program("serve"), run("db", "migrate"), run("db", "check"), run("contacts", "find", "x")):
        assert ended.code == 1
        assert "run a newer program" in ended.error


def test_a_missing_store_is_refused(folder: Path) -> None:
    """R38: no start makes a new, empty store in the place of the one that is missing."""
    store = production(folder)
    store.unlink()
    ended = program("serve")
    assert ended.code == 1
    assert "gateway db migrate" in ended.error
    assert not store.exists()


@pytest.mark.parametrize("content", [b"", b"not a database", os.urandom(100_000)], ids=["empty", "text", "noise"])
def test_r38_a_damaged_store_is_refused_and_kept(folder: Path, content: bytes) -> None:
    """R38: what is no contact store is named, and not one byte of it is changed."""
    store = production(folder)
    store.write_bytes(content)
    for ended in (program("serve"), run("db", "check"), run("contacts", "find", "x")):
        assert (ended.code, ended.out) == (1, "")
        assert "var/contacts.db" in ended.error
    assert store.read_bytes() == content


@pytest.mark.parametrize("place", ["/proc/contacts.db", "/dev/null/contacts.db"])
def test_a_store_where_none_can_be(folder: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """A read-only place, or none at all, is named."""
    assert folder.exists()
    run("init")
    monkeypatch.setenv("GATEWAY_STORE__URL", f"sqlite:///{place}")
    for ended in (program("serve"), run("db", "migrate"), run("db", "check")):
        assert (ended.code, ended.out) == (1, "")
        assert str(Path(place).parent) in ended.error


@pytest.mark.parametrize("arguments", [["serve"], ["init"]], ids=" ".join)
def test_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    """Where nothing can be made, that is one line."""
    monkeypatch.chdir("/proc")
    ended = run(*arguments)
    assert (ended.code, ended.out) == (1, "")
    assert ended.error


def test_a_store_that_cannot_be_reached(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database server that is down is told without its password."""
    assert folder.exists()
    run("init")
    monkeypatch.setenv("GATEWAY_STORE__URL", f"postgresql://gateway:geheim@127.0.0.1:{free_port()}/contacts")
    for ended in (program("serve"), run("db", "migrate"), run("access-token", "list")):
        assert (ended.code, ended.out) == (1, "")
        assert "PostgreSQL cannot be reached" in ended.error
        assert "geheim" not in ended.err
