"""The process: durable, graceful, several workers, both listeners."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.web.conftest import await_answer, running_gateway

if TYPE_CHECKING:
    from pathlib import Path

    from tests.web.conftest import Server

ROUNDS = 20


def test_kill_9_loses_no_acknowledged_contact(tmp_path: Path) -> None:
    """Twenty times: first logins from eight clients, kill -9, restart; every acknowledged contact is there (R36)."""
    with running_gateway(tmp_path) as first:
        first.stop()
        command = [sys.executable, "-m", "gateway", "serve", "--config", str(tmp_path / "gateway.toml")]
        acknowledged: dict[str, str] = {}
        for number in range(ROUNDS):
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            try:
                await_answer(process, first.port)
                for user_id, contact_id in acknowledged.items():
                    found = first.admin("GET", f"/contacts/find_by_external_id/{user_id}")
                    assert found.json()["id"] == contact_id
                acknowledged = _logins_until_killed(first, process, number)
                assert acknowledged
            finally:
                process.kill()
                process.wait()


def _logins_until_killed(server: Server, process: subprocess.Popen[bytes], number: int) -> dict[str, str]:
    acknowledged: dict[str, str] = {}

    def client(name: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        with contextlib.suppress(OSError, http.client.HTTPException):
            for index in range(100_000):
                user_id = f"kill-{number}-{name}-{index}"
                headers = {"Authorization": f"Bearer {server.token(user_id)}"}
                connection.request("POST", "/messenger/login", headers=headers)
                acknowledged[user_id] = json.loads(connection.getresponse().read())["contact"]["id"]

    threads = [threading.Thread(target=client, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.15)
    process.kill()
    for thread in threads:
        thread.join()
    return acknowledged


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


def test_a_stop_lets_requests_end(tmp_path: Path) -> None:
    """SIGTERM: what is under way is answered, the listeners close, the exit code is 0."""
    with running_gateway(tmp_path) as server:
        body = json.dumps({"intercom_user_jwt": server.token("last")}).encode()
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            head = f"POST /messenger/login HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body[:10])
            time.sleep(0.2)
            os.kill(server.pid, signal.SIGTERM)
            time.sleep(0.3)
            with pytest.raises(OSError, match="refused"):
                socket.create_connection(("127.0.0.1", server.port), timeout=1)
            connection.sendall(body[10:])
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_health_on_both_listeners(server: Server) -> None:
    """Alive and ready, on both; each check by name."""
    for admin in (False, True):
        assert server.request("GET", "/healthz", admin=admin).json() == {"status": "ok"}
        ready = server.request("GET", "/readyz", admin=admin)
        assert ready.json() == {"status": "ok", "checks": {"keys": "ok", "store": "ok", "process": "ok"}}
