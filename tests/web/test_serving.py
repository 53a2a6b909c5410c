"""The process: graceful, several workers, both listeners."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from gateway.contacts.contact import State
from gateway.contacts.database.stores import store_for
from tests.web.conftest import free_port, running_gateway, workers_of

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.contacts.store import ContactTransaction
    from tests.web.conftest import Server


def test_200_parallel_first_logins_over_http(server: Server) -> None:
    """200 first logins of one user_id at once: one contact, 200 equal ids, one of them `created`."""
    token = server.token("everybody-at-once")
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(lambda _: server.login(token), range(200)))
    assert {reply.status for reply in replies} == {200}
    assert len({reply.json()["contact"]["id"] for reply in replies}) == 1
    assert sum(reply.json()["identity"]["created"] for reply in replies) == 1


def test_two_workers_share_one_store(tmp_path: Path) -> None:
    """Two workers on one SQLite file: parallel first logins make one contact each; a correction is heard within 1 s."""
    with running_gateway(tmp_path, workers=2) as server:
        tokens = [server.token(f"shared-{number % 20}") for number in range(200)]
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            replies = list(pool.map(server.login, tokens))
        assert {reply.status for reply in replies} == {200}
        assert len({reply.json()["contact"]["id"] for reply in replies}) == 20
        token = tokens[0]
        contact_id = server.login(token).json()["contact"]["id"]
        for _ in range(50):
            server.login(token)
        server.admin("PUT", f"/contacts/{contact_id}", {"external_id": "corrected"})
        time.sleep(1)
        assert contact_id not in {server.login(token).json()["contact"]["id"] for _ in range(50)}


def begun_login(server: Server) -> tuple[socket.socket, bytes]:
    """A connection with a login that has begun, and the rest of it."""
    body = json.dumps({"intercom_user_jwt": server.token("last")}).encode()
    head = "POST /messenger/login HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\n"
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:10])
    return connection, body[10:]


def read_to_end(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def await_refused(port: int) -> None:
    """Wait until nobody listens any more."""
    for _ in range(1000):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.01)
    raise AssertionError("somebody still listens")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("lane", [True, False])
def test_a_stop_turns_readiness_off_and_lets_requests_end(tmp_path: Path, workers: int, lane: bool) -> None:
    """SIGTERM: not ready, but it still accepts; then nobody listens, what is under way is answered, and it ends."""
    with running_gateway(tmp_path, workers=workers, lane=lane) as server:
        connection, rest = begun_login(server)
        with connection:
            time.sleep(0.2)
            os.kill(server.pid, signal.SIGTERM)
            time.sleep(0.5)
            ready = server.request("GET", "/readyz")
            assert (ready.status, ready.json()["checks"]["process"]) == (503, "draining")
            assert server.login(server.token("while-draining")).status == 200
            await_refused(server.port)
            await_refused(server.admin_port)
            connection.sendall(rest)
            assert read_to_end(connection).startswith(b"HTTP/1.1 200")
        assert server.exit_code() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_stops_at_once(tmp_path: Path, workers: int) -> None:
    """SIGINT: idle connections do not hold the process, and the exit code is 0."""
    with running_gateway(tmp_path, workers=workers) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as idle:
            idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n")
            assert idle.recv(4).startswith(b"HTTP")
            os.kill(server.pid, signal.SIGINT)
            assert read_to_end(idle).endswith(b'{"status":"ok"}')
        assert server.exit_code() == 0


def test_a_worker_that_dies_is_started_again(tmp_path: Path) -> None:
    """A worker is killed: the other one serves on, and soon there are two."""
    with running_gateway(tmp_path, workers=2) as server:
        before = set(workers_of(server.pid))
        assert len(before) == 2
        os.kill(min(before), signal.SIGKILL)
        for _ in range(1000):
            with contextlib.suppress(ConnectionError):  # the dead one took some with it
                assert server.login(server.token("meanwhile")).status == 200
            if len(alive := set(workers_of(server.pid)) - {min(before)}) == 2:
                break
            time.sleep(0.02)
        assert len(alive) == 2
        assert "a worker ended" in (server.folder / "log").read_text()


def test_workers_end_with_their_supervisor(tmp_path: Path) -> None:
    """A supervisor that is killed leaves nobody who goes on serving."""
    with running_gateway(tmp_path, workers=2) as server:
        os.kill(server.pid, signal.SIGKILL)
        await_refused(server.port)


def refused_start(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(folder / "gateway.toml"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_taken_is_one_line(server: Server, workers: str) -> None:
    """Exit code 1, the setting and the address, and no banner."""
    ended = refused_start(server.folder, "--workers", workers)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"public.bind: cannot listen on 127.0.0.1:{server.port}" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_store_that_cannot_be_used_ends_the_start(server: Server, workers: str) -> None:
    """A file that is no database: exit code 1 and one error, no worker that is started over and over."""
    (server.folder / "broken.db").write_bytes(b"no database" * 1000)
    (server.folder / "broken").mkdir(exist_ok=True)
    config = (server.folder / "gateway.toml").read_text()
    for old, new in ((server.port, free_port()), (server.admin_port, free_port()), ("contacts.db", "broken.db")):
        config = config.replace(str(old), str(new))
    (server.folder / "broken" / "gateway.toml").write_text(config)
    ended = refused_start(server.folder / "broken", "--workers", workers)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.count("error: ") == 1
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("act", ["block", "delete"])
def test_b14_what_becomes_of_a_contact_acts_in_every_worker(tmp_path: Path, act: str) -> None:
    """Blocked behind the processes' back, or deleted through the API: within a second no worker answers as before."""
    with running_gateway(tmp_path, workers=2) as server:
        token = server.token("b14")
        contact_id = server.login(token).json()["contact"]["id"]
        for _ in range(30):
            server.login(token)
        if act == "delete":
            assert server.admin("DELETE", f"/contacts/{contact_id}").status == 200
        else:
            asyncio.run(block(server, contact_id))
        time.sleep(1)
        replies = [server.login(token) for _ in range(50)]
        if act == "block":
            assert {reply.code for reply in replies} == {"contact_blocked"}
        else:
            assert contact_id not in {reply.json()["contact"]["id"] for reply in replies}


async def block(server: Server, contact_id: str) -> None:
    """Block a contact in the store itself, as a command would."""
    store = store_for(f"sqlite:///{server.folder / 'contacts.db'}")
    await store.open()

    async def work(transaction: ContactTransaction) -> None:
        contact = await transaction.find("acme", contact_id)
        assert contact is not None
        await transaction.update(replace(contact, state=State.BLOCKED))

    await store.write(work)
    await store.close()


def test_health_on_both_listeners(server: Server) -> None:
    """Alive and ready, on both; each check by name. What only an operator needs to know stands on the admin one."""
    ready = {"status": "ok", "checks": {"keys": "ok", "store": "ok", "process": "ok"}}
    for admin in (False, True):
        assert server.request("GET", "/healthz", admin=admin).json() == {"status": "ok"}
        assert server.request("GET", "/readyz", admin=admin).json().items() >= ready.items()
    assert server.request("GET", "/readyz").json() == ready
    assert server.request("GET", "/readyz", admin=True).json().keys() - ready == {"configuration", "issuers"}
