"""`gateway serve`: development mode in one command, production, several workers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import Ended, program, run
from tests.web.conftest import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
    made = {
        name: (var / name).read_bytes() for name in ("messenger-keyring.json", "local-keyring.json", "access-token")
    }
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


def test_a_start_that_fails_leaves_the_local_issuer_alone(folder: Path) -> None:
    """An address in use starts no gateway: tokens of the command line still fit the one that runs elsewhere."""
    assert folder.exists()
    with serving() as gateway, socket.create_server(("127.0.0.1", free_port())) as other:
        binds = ["--public", f"127.0.0.1:{other.getsockname()[1]}", "--admin", f"127.0.0.1:{free_port()}"]
        assert program("serve", *binds).code == 1
        shown = run("config", "show").out
        assert f'issuer = "http://127.0.0.1:{gateway.port}"' in shown


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
    assert not (folder / "var/messenger-keyring.json").exists()


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
