"""`gateway serve`: development mode in one command, and every reason not to start."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import Ended, program, run
from tests.web.conftest import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator


class Serving:
    """A `gateway serve` that runs in the current folder; `lines` is what it printed when it was ready."""

    def __init__(self, *options: str) -> None:
        self.port, self.admin_port = free_port(), free_port()
        binds = ["--public", f"127.0.0.1:{self.port}", "--admin", f"127.0.0.1:{self.admin_port}"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", *binds, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []

    def read_until(self, end: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if end in line:
                return
        assert self.process.stderr is not None
        raise AssertionError(self.process.stderr.read())

    @property
    def pasted(self) -> list[str]:
        """The lines that are there to be pasted."""
        return [line for line in self.lines if line.startswith("curl ")]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> Ended:
        self.process.send_signal(how)
        out, err = self.process.communicate(timeout=30)
        return Ended(self.process.returncode, out, err)


@contextlib.contextmanager
def serving(*options: str, until: str = "find_by_external_id") -> Iterator[Serving]:
    running = Serving(*options)
    try:
        running.read_until(until)
        yield running
    finally:
        if running.process.poll() is None:
            running.stop()


def paste(line: str) -> dict[str, object]:
    """What a shell answers to a pasted line; the server listens already, though its loop may have to begin yet."""
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, timeout=30, check=True)
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


@pytest.fixture
def curl() -> None:
    """The lines are for curl; the pipeline has it."""
    if shutil.which("curl") is None:
        if os.environ.get("CI"):
            pytest.fail("curl is not installed (Debian package: curl)")
        pytest.skip("curl is not installed (Debian package: curl)")


@pytest.mark.usefixtures("curl")
def test_development_mode_end_to_end(folder: Path) -> None:
    """One command in an empty folder; both lines work when pasted; a second start goes on with the same person."""
    with serving() as first:
        sign_in, look_up = first.pasted
        created = paste(sign_in)
        assert created["type"] == "identity"
        assert paste(look_up)["external_id"] == "user-1"
        again = paste(sign_in)
        assert first.stop(signal.SIGINT) == Ended(0, "", "")
    assert isinstance(created["contact"], dict)
    assert isinstance(again["contact"], dict)
    assert again["contact"]["id"] == created["contact"]["id"]
    var = folder / "var"
    assert var.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in var.iterdir()} == {0o600}
    made = {name: (var / name).read_bytes() for name in ("messenger-secret", "local-key.pem", "access-token")}
    with serving() as second:
        old_token_new_port = sign_in.replace(str(first.port), str(second.port))
        assert paste(old_token_new_port)["contact"] == again["contact"]
        assert paste(second.pasted[1])["id"] == created["contact"]["id"]
    assert {name: (var / name).read_bytes() for name in made} == made


@pytest.mark.usefixtures("curl")
def test_a_token_of_the_command_line_logs_in(folder: Path) -> None:
    """`token issue` beside a running development gateway, in both issuers' names: one person, one contact."""
    assert folder.exists()
    with serving() as gateway:
        ids = set()
        for issuer in ("messenger", "local"):
            token = run("token", "issue", "--user-id", "user-7", "--issuer", issuer).out.strip()
            url = f"http://127.0.0.1:{gateway.port}/messenger/me"
            answer = paste(f"curl -sS -H 'Authorization: Bearer {token}' {url}")
            assert isinstance(answer["contact"], dict)
            ids.add(answer["contact"]["id"])
        assert len(ids) == 1


def test_a_folder_with_an_odd_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R42: the name of the folder is printed without being obeyed, on any terminal."""
    odd = folder / "\x1b[31mÄrger"
    odd.mkdir()
    monkeypatch.chdir(odd)
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    with serving() as gateway:
        assert "/\\x1b[31m\\xc4rger/var" in gateway.lines[0]


def test_a_reader_that_has_enough(folder: Path) -> None:
    """`gateway serve | head -1` ends without a complaint."""
    assert folder.exists()
    binds = ["--public", f"127.0.0.1:{free_port()}", "--admin", f"127.0.0.1:{free_port()}"]
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", *binds], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(30) == 1
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_a_revoked_development_token_is_replaced(development: Path) -> None:
    """The access token that development mode prints works, also when the last one was revoked."""
    old = (development / "var/access-token").read_text()
    (token,) = run("access-token", "list", "--json").json()
    assert run("access-token", "revoke", token["id"]).code == 0
    with serving() as gateway:
        assert old.strip() not in gateway.pasted[1]
        assert (development / "var/access-token").read_text().strip() in gateway.pasted[1]


def test_production_says_where_it_listens(folder: Path) -> None:
    """With a configuration no token is printed: only where the gateway listens."""
    assert folder.exists()
    assert run("init").code == 0
    assert run("db", "migrate").code == 0
    with serving(until="admin") as gateway:
        assert gateway.lines == [f"public http://127.0.0.1:{gateway.port}, admin http://127.0.0.1:{gateway.admin_port}"]
        assert gateway.stop().code == 0
    assert not (folder / "var/messenger-secret").exists()


def test_several_workers_in_development_mode(folder: Path) -> None:
    """Workers are spawned and find their configuration; a stop reaches all of them."""
    assert folder.exists()
    with serving("--workers", "2") as gateway:
        for _ in range(1000):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", gateway.port), 5) as connection:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n")
                if connection.recv(100).startswith(b"HTTP/1.1 200"):
                    break
            time.sleep(0.01)
        assert gateway.stop().code == 0


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
