"""Clients that log in all the time, and an operator who changes the configuration under them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from gateway.identity.issuing import issue_token
from keys.jwk import signing_key_from_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from keys.jwk import SigningKey
    from tests.web.conftest import Server

CLIENTS = 4
SHAPES = [(1, True), (1, False), (2, True), (2, False)]
"""Workers, and whether the express lane is open."""


class Load:
    """Clients that log in all the time on connections that they keep, with whatever the signer uses now."""

    def __init__(self, server: Server, sign: Callable[[dict[str, Any]], str] | None = None) -> None:
        self._server = server
        self._sign = sign or self._with_key
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._log_in, args=(number,)) for number in range(CLIENTS)]
        self.key = server.secret
        self.logins = [0] * CLIENTS
        self.faults: list[str] = []

    def _with_key(self, claims: dict[str, Any]) -> str:
        return issue_token(claims, self.key, ttl=600, now=time.time())

    def _log_in(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=30)
        connection.connect()
        connection.auto_open = 0  # a connection that was dropped is a fault, not opened again
        while not self._stopped.is_set():
            token = self._sign({"user_id": f"user-{number}-{self.logins[number] % 5}"})
            for method, path in (("POST", "/messenger/login"), ("GET", "/messenger/me"), ("GET", "/auth")):
                try:
                    connection.request(method, path, headers={"Authorization": f"Bearer {token}"})
                    response = connection.getresponse()
                    body = response.read()
                except (OSError, http.client.HTTPException) as error:
                    self.faults.append(f"{path}: {error!r}")
                    return
                if response.status != 200:
                    self.faults.append(f"{path}: {response.status} {body[:200]!r}")
            self.logins[number] += 1
        connection.close()

    def go_on(self) -> None:
        """Let every client log in a few more times."""
        before = list(self.logins)
        until(lambda: bool(self.faults) or all(now >= was + 5 for now, was in zip(self.logins, before, strict=True)))

    @contextlib.contextmanager
    def running(self) -> Iterator[Load]:
        """While it runs, and at its end, nobody met a fault."""
        for thread in self._threads:
            thread.start()
        try:
            self.go_on()
            yield self
            self.go_on()
        finally:
            self._stopped.set()
            for thread in self._threads:
                thread.join()
        assert self.faults == []


class Configuration:
    """The configuration of a running gateway, as its operator changes it."""

    def __init__(self, server: Server, workers: int) -> None:
        self._server = server
        self._workers = workers
        self._file = server.folder / "gateway.toml"
        self._secrets = {"2026-11": "secret"}

    def add_secret(self, kid: str) -> SigningKey:
        """Put a new secret into a file; `write` deploys it."""
        text = os.urandom(32).hex()
        file = self._server.folder / f"secret-{kid}"
        file.write_text(text)
        file.chmod(0o600)
        self._secrets[kid] = file.name
        return signing_key_from_secret(text, kid=kid)

    def remove_secret(self, kid: str) -> None:
        del self._secrets[kid]

    @property
    def text(self) -> str:
        return self._file.read_text()

    def with_secrets(self) -> str:
        secrets = ", ".join(f'{{ id = "{kid}", secret_file = "{name}" }}' for kid, name in self._secrets.items())
        return re.sub(r"secrets = \[.*\]", f"secrets = [{secrets}]", self.text)

    def replace(self, text: str) -> None:
        """Another file in its place, as tools do that never show half a file."""
        new = self._file.with_suffix(".new")
        new.write_text(text)
        new.replace(self._file)

    def rewrite(self, text: str) -> None:
        """In place, in pieces, as an editor or a shell may do; half of it is good TOML, with less in it."""
        with self._file.open("w") as file:
            for piece in re.split(r"(?=\[\[)", text):
                file.write(piece)
                file.flush()
                time.sleep(0.02)

    def hang_up(self) -> None:
        """SIGHUP, to whoever the operator knows: the gateway, or its supervisor."""
        os.kill(self._server.pid, signal.SIGHUP)

    def logged(self, event: str, **named: str) -> list[dict[str, Any]]:
        """The lines about reloading with this event, that name these among their changes."""
        whole = self._server.log().rpartition("\n")[0]
        lines = [json.loads(line) for line in whole.splitlines() if '"gateway.reloading"' in line]
        found = [line for line in lines if event in line["event"]]
        return [line for line in found if all(name in line.get(list_, ()) for list_, name in named.items())]

    def in_force(self, event: str = "reloaded", times: int = 1, **named: str) -> None:
        """Wait until every worker says so."""
        until(lambda: len(self.logged(event, **named)) >= times * self._workers)

    def shown(self) -> dict[str, Any]:
        """What one of the workers shows on the admin listener; the public one shows nothing of it."""
        assert "configuration" not in self._server.request("GET", "/readyz").json()
        ready = self._server.request("GET", "/readyz", admin=True)
        assert ready.status == 200
        configuration: dict[str, Any] = ready.json()["configuration"]
        return configuration


def until(done: Callable[[], bool]) -> None:
    for _ in range(5000):
        if done():
            return
        time.sleep(0.02)
    raise AssertionError("it does not happen")


def refused_everywhere(server: Server, token: str, times: int = 20) -> bool:
    """Whether a token is refused on so many new connections that every worker was asked."""
    return all(server.login(token).status == 401 for _ in range(times))
