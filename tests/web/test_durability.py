"""What an answer promises: whoever was told of a contact finds it again, whatever happened to the process since."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contacts.database.stores import store_for
from tests.web.conftest import await_answer, running_gateway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.web.conftest import Server

CLIENTS = 8

Answers = dict[str, str]  # from a user_id to the contact id that was answered


@pytest.mark.parametrize(("workers", "rounds"), [(1, 20), (2, 10)])
def test_r36_kill_9_loses_no_acknowledged_contact(tmp_path: Path, workers: int, rounds: int) -> None:
    """Round after round on one file: first logins, kill -9 of all processes, restart; nobody is lost or made twice."""
    _kill_and_restart(tmp_path, f"sqlite:///{tmp_path / 'contacts.db'}", workers, rounds)


def test_r36_kill_9_loses_no_acknowledged_contact_on_postgres(tmp_path: Path, postgres_database: str) -> None:
    """The same where the contacts are kept by a server that goes on: no transaction is left half done."""
    _kill_and_restart(tmp_path, postgres_database, workers=1, rounds=5)


def _kill_and_restart(folder: Path, store_url: str, workers: int, rounds: int) -> None:
    with running_gateway(folder, store_url=store_url, workers=workers) as server:
        server.stop()
        server.exit_code()
    acknowledged: Answers = {}
    latest: Answers = {}
    for number in range(rounds):
        with _killed_in_the_end(server) as kill:
            assert _logins(server, latest) == dict.fromkeys(latest.items(), False)
            latest = _first_logins(server, f"round-{number}", kill)
        acknowledged |= latest
    assert len(acknowledged) > rounds * CLIENTS
    asyncio.run(_check(store_url, acknowledged))


@contextlib.contextmanager
def _killed_in_the_end(server: Server) -> Iterator[Callable[[], None]]:
    """The gateway, started again; what is given kills it and its workers with no chance to do anything."""
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(server.folder / "gateway.toml")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)

    def kill() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    try:
        await_answer(process, server.port)
        yield kill
    finally:
        kill()


def _first_logins(server: Server, name: str, kill: Callable[[], None]) -> Answers:
    """What several clients were told until the gateway was killed in the middle of their logins."""
    answers: Answers = {}
    begun = threading.Event()
    unexpected: list[Any] = []

    def client(number: int) -> None:
        # The connection breaks at the kill, in the middle of an answer or before it: that login is not acknowledged.
        with contextlib.suppress(OSError, http.client.HTTPException), _connection(server) as connection:
            for turn in range(100_000):
                user_id = f"{name}-{number}-{turn}"
                status, answer = _login(server, connection, user_id)
                if status != 200 or not answer["identity"]["created"]:
                    unexpected.append((user_id, status, answer))
                    break
                answers[user_id] = answer["contact"]["id"]
                begun.set()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    served = begun.wait(20)
    time.sleep(random.uniform(0.02, 0.25))
    kill()
    for thread in threads:
        thread.join()
    assert unexpected == []
    assert served
    return answers


def _logins(server: Server, answers: Answers) -> dict[tuple[str, str], bool]:
    """Log the same people in again: who they are now, and whether they were made for it."""
    again = {}
    with _connection(server) as connection:
        for user_id in answers:
            status, answer = _login(server, connection, user_id)
            assert status == 200
            again[user_id, answer["contact"]["id"]] = answer["identity"]["created"]
    return again


def _login(server: Server, connection: http.client.HTTPConnection, user_id: str) -> tuple[int, Any]:
    connection.request("POST", "/messenger/login", headers={"Authorization": f"Bearer {server.token(user_id)}"})
    response = connection.getresponse()
    return response.status, json.loads(response.read())


@contextlib.contextmanager
def _connection(server: Server) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    with contextlib.closing(connection):
        yield connection


async def _check(url: str, acknowledged: Answers) -> None:
    """Everybody is there under the id that was answered, each made once and whole, and the file is sound."""
    store = store_for(url)
    assert await store.check() == []
    await store.open()
    for user_id, contact_id in acknowledged.items():
        found = await store.find_by_external_id("acme", user_id)
        assert found is not None
        assert found.id == contact_id
        assert [event.kind for event in await store.events("acme", contact_id)] == ["created"]
    await store.close()
