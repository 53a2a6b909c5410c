"""Reloading under load, in real gateways: no good token is refused, no connection dropped, and what goes is gone."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from gateway.identity.issuing import issue_token
from keys.jwk import signing_key_from_secret
from tests.web.conftest import free_port, gateway_on, running_gateway, workers_of
from tests.web.under_load import SHAPES, Configuration, Load, refused_everywhere, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.mark.parametrize(
    ("store", "workers", "lane"), [*(("sqlite", *shape) for shape in SHAPES), ("postgres", 2, True)]
)
def test_secrets_are_added_deployed_and_removed_without_a_failed_login(
    tmp_path: Path, request: pytest.FixtureRequest, store: str, workers: int, lane: bool
) -> None:
    """The issue's drill, twice, under load: every way to write a file, seen by the watch and by SIGHUP."""
    with gateway_on(store, request, tmp_path, workers=workers, lane=lane) as server:
        configuration = Configuration(server, workers)
        before = server.secret
        with Load(server).running() as load:
            for kid, write, hang_up in (
                ("2026-12", configuration.replace, False),
                ("2027-01", configuration.rewrite, True),
                ("2027-02", configuration.rewrite, False),
                ("2027-03", configuration.replace, True),
            ):
                remembered = issue_token({"user_id": "user-0-0"}, before, ttl=600, now=time.time())
                assert not refused_everywhere(server, remembered)
                after = configuration.add_secret(kid)
                write(configuration.with_secrets())
                if hang_up:
                    configuration.hang_up()
                configuration.in_force(keys_added=f"acme/messenger/{kid}")
                load.go_on()
                load.key = after
                load.go_on()  # whatever the old secret signed is answered by now
                configuration.remove_secret(str(before.kid))
                write(configuration.with_secrets())
                if hang_up:
                    configuration.hang_up()
                configuration.in_force(keys_removed=f"acme/messenger/{before.kid}")
                assert refused_everywhere(server, remembered)
                fresh = issue_token({"user_id": "user-0-0"}, before, ttl=600, now=time.time())
                assert refused_everywhere(server, fresh)
                before = after
        assert min(load.logins) > 20


@pytest.mark.parametrize(("workers", "lane"), SHAPES)
def test_b24_a_broken_configuration_is_no_outage(tmp_path: Path, workers: int, lane: bool) -> None:
    """Under load: broken in turn by hand, by a lost secret and by a mistyped key; kept, told, mended, taken over."""
    with running_gateway(tmp_path, workers=workers, lane=lane) as server:
        configuration = Configuration(server, workers)
        good, secret = configuration.text, (tmp_path / "secret").read_text()
        stranger = signing_key_from_secret(os.urandom(32).hex(), kid="2026-11")
        faults: list[tuple[Callable[[], None], str]] = [
            (lambda: configuration.replace(good[:-200]), "not TOML"),
            ((tmp_path / "secret").unlink, "secrets[0].secret_file"),
            (lambda: configuration.rewrite(good + "\n[frobnicate]\n"), "frobnicate: no such setting"),
        ]
        with Load(server).running() as load:
            for number, (breaks, problem) in enumerate(faults):
                breaks()
                configuration.in_force("the last good one stays", number + 1)
                load.go_on()
                shown = configuration.shown()
                assert shown["state"] == "kept"
                assert problem in "\n".join(shown["problems"])
                assert configuration.logged("the last good one stays")[-1]["problems"] == shown["problems"]
                token = issue_token({"user_id": "user-0-0"}, stranger, ttl=600, now=time.time())
                assert refused_everywhere(server, token)
                if problem.startswith("secrets"):
                    (tmp_path / "secret").write_text(secret)
                    (tmp_path / "secret").chmod(0o600)
                configuration.replace(good)
                configuration.in_force(times=number + 1)
                until(lambda: {configuration.shown()["state"] for _ in range(10)} == {"ok"})
        assert len(configuration.logged("the last good one stays")) == 3 * workers
        assert secret not in server.log()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_storm_of_hang_ups_does_no_harm(tmp_path: Path, workers: int) -> None:
    """SIGHUP from before it listens, then a hundred: nothing ends, nobody is refused, and few reloads answer them."""
    with running_gateway(tmp_path, workers=workers) as server:
        configuration = Configuration(server, workers)
        with Load(server).running():
            for _ in range(100):
                configuration.hang_up()
                time.sleep(0.002)
            configuration.in_force()
            time.sleep(1)
            assert len(configuration.logged("reloaded")) <= 50 * workers
        assert server.process.poll() is None
        assert "a worker ended" not in server.log()


@pytest.mark.parametrize("workers", [1, 2])
def test_what_only_a_restart_changes_is_named(tmp_path: Path, workers: int) -> None:
    """The addresses, the lane, the workers and the store stay; what stands beside them is taken over."""
    with running_gateway(tmp_path, workers=workers) as server:
        configuration = Configuration(server, workers)
        good = configuration.text
        added = configuration.add_secret("2026-12")
        changed = configuration.with_secrets().replace(f":{server.port}", ":1").replace(f":{server.admin_port}", ":2")
        changed = changed.replace("express_lane = true", "express_lane = false").replace("contacts.db", "other.db")
        configuration.replace(re.sub(r"workers = \d", "workers = 5", changed))
        configuration.in_force("only a restart changes these settings")
        names = ["workers", "store", "public.bind", "public.express_lane", "admin.bind"]
        assert {tuple(line["settings"]) for line in configuration.logged("only a restart")} == {tuple(names)}
        assert configuration.shown()["needs_restart"] == names
        token = issue_token({"user_id": "user-0-0"}, added, ttl=600, now=time.time())
        assert server.login(token).status == 200
        assert server.contacts()
        configuration.replace(good)
        configuration.in_force(times=2)
        assert configuration.shown()["needs_restart"] == []
        assert server.login(token).status == 401


def test_a_hang_up_while_workers_start_is_not_lost_and_ends_none(tmp_path: Path) -> None:
    """A worker in a dead one's place meets SIGHUP before it can reload: that waits, and it serves what stands now."""
    with running_gateway(tmp_path, workers=2) as server:
        configuration = Configuration(server, 2)
        pids = set(workers_of(server.pid))
        os.kill(min(pids), signal.SIGKILL)
        until(lambda: len(set(workers_of(server.pid)) - pids) == 1)
        (newcomer,) = set(workers_of(server.pid)) - pids
        added = configuration.add_secret("2026-12")
        configuration.replace(configuration.with_secrets())
        for _ in range(50):
            os.kill(newcomer, signal.SIGHUP)
            configuration.hang_up()
            time.sleep(0.01)
        token = issue_token({"user_id": "user-0-0"}, added, ttl=600, now=time.time())
        until(lambda: all(server.login(token).status == 200 for _ in range(20)))
        assert newcomer in set(workers_of(server.pid))
        assert server.log().count("a worker ended") == 1


def test_a_worker_that_starts_again_trusts_what_stands_now(tmp_path: Path) -> None:
    """Not what its supervisor once read: a secret that was removed meanwhile stays removed."""
    with running_gateway(tmp_path, workers=2) as server:
        configuration = Configuration(server, 2)
        removed = server.token("user-1")
        added = configuration.add_secret("2026-12")
        configuration.remove_secret("2026-11")
        configuration.replace(configuration.with_secrets())
        configuration.in_force(keys_removed="acme/messenger/2026-11")
        pids = set(workers_of(server.pid))
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        token = issue_token({"user_id": "user-1"}, added, ttl=600, now=time.time())

        def serves_again() -> bool:
            with contextlib.suppress(OSError):
                return len(set(workers_of(server.pid)) - pids) == 2 and server.login(token).status == 200
            return False

        until(serves_again)
        assert refused_everywhere(server, removed)


def test_development_mode_follows_its_keyrings_and_ends_with_its_terminal(tmp_path: Path) -> None:
    """There SIGHUP is what a terminal says when it is closed; `gateway keys` reaches it all the same."""
    port = free_port()
    command = [sys.executable, "-m", "gateway", "serve", "--public", f"127.0.0.1:{port}"]
    command += ["--admin", f"127.0.0.1:{free_port()}"]

    def gateway(*arguments: str) -> str:
        run = [sys.executable, "-m", "gateway", *arguments]
        return subprocess.run(run, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60).stdout.strip()

    def logs_in(token: str) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", "/messenger/me", headers={"Authorization": f"Bearer {token}"})
            return connection.getresponse().status == 200

    # As a terminal starts it: whoever runs the tests may have been told to outlive his own.
    as_in_a_terminal = partial(signal.signal, signal.SIGHUP, signal.SIG_DFL)
    with contextlib.ExitStack() as ending:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, preexec_fn=as_in_a_terminal)  # noqa: PLW1509 - it has no threads to fear
        ending.enter_context(process)
        ending.callback(process.kill)
        assert process.stdout is not None
        assert b"Development mode" in process.stdout.readline()
        gateway("keys", "generate", "messenger", "--id", "second")
        key = signing_key_from_secret(gateway("keys", "export", "messenger", "--private", "second"), kid="second")
        token = issue_token({"user_id": "user-1"}, key, ttl=600, now=time.time())
        until(lambda: logs_in(token))
        gateway("keys", "retire", "messenger", "second", "--now")
        until(lambda: not logs_in(token))
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=30) == -signal.SIGHUP


def test_routes_come_and_go_with_their_sockets(tmp_path: Path) -> None:
    """The first route of a gateway that had none takes WebSockets, too; when it goes, its socket ends (B14)."""
    with running_gateway(tmp_path) as server, echoing() as upstream:
        configuration = Configuration(server, 1)
        good, url = configuration.text, f"ws://127.0.0.1:{server.port}/chat/"
        headers = {"Authorization": f"Bearer {server.token()}"}
        with pytest.raises(InvalidStatus):
            connect(url, additional_headers=headers)
        route = f'[[workspaces.acme.routes]]\nprefix = "/chat/"\nupstream = "http://127.0.0.1:{upstream}"\n'
        configuration.replace(good + route)
        configuration.in_force(changed="workspaces.acme")
        with connect(url, additional_headers=headers) as socket:
            socket.send("hello")
            assert socket.recv(timeout=30) == "hello"
            configuration.replace(good)
            configuration.in_force(times=2, changed="workspaces.acme")
            with pytest.raises(ConnectionClosed):
                socket.recv(timeout=30)
        with pytest.raises(InvalidStatus):
            connect(url, additional_headers=headers)


@contextlib.contextmanager
def echoing() -> Iterator[int]:
    """A WebSocket server that says what it hears; its port."""

    def echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    with serve(echo, "127.0.0.1", 0) as upstream:
        thread = threading.Thread(target=upstream.serve_forever)
        thread.start()
        yield upstream.socket.getsockname()[1]
        upstream.shutdown()
        thread.join()


def test_an_import_goes_on_over_a_reload(tmp_path: Path) -> None:
    """A job that the admin listener began is not forgotten by the one that takes its place."""
    with running_gateway(tmp_path) as server:
        configuration = Configuration(server, 1)
        people = "user_id,email\n" + "".join(f"u-{number},u-{number}@example.com\n" for number in range(5000))
        headers = {"Content-Type": "text/csv"}
        path, token = "/contacts/imports?match=external_id&apply=true", server.access_token
        begun = server.request("POST", path, token, headers=headers, body=people.encode(), admin=True)
        assert begun.status == 202
        for times in range(1, 4):
            configuration.hang_up()
            configuration.in_force(times=times)
        job = f"/contacts/imports/{begun.json()['id']}"
        until(lambda: server.admin("GET", job).json()["state"] != "running")
        assert server.admin("GET", job).json()["created"] == 5000
