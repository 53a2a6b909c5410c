"""The assertions' key is rotated under load: no upstream gets an assertion that the published keys do not verify."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from tests.web.asserting import AUDIENCE, ISSUER, KEY_SET, NAME, Asserting, asserting_gateway
from tests.web.conftest import command
from tests.web.proxy.conftest import OK, field, until
from tests.web.under_load import SHAPES

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

CLIENTS = 3
LOADED = 30
"""Seconds by which a request may be late between gateway and upstream on a loaded machine."""


class Verifying:
    """An upstream that verifies each assertion as it comes, by a copy of the key set.

    Where the copy has no such key it is read again, once, from whichever worker answers.
    """

    def __init__(self, asserting: Asserting) -> None:
        self._server = asserting.server
        self._lock = threading.Lock()
        self._copy: dict[str, jwt.PyJWK] = {}
        self.seen: dict[str, int] = {}
        self.faults: list[str] = []
        asserting.upstream.answer = self

    def __call__(self, connection: socket.socket, head: bytes) -> None:
        self.verify(field(head, NAME))
        connection.sendall(OK)

    def verify(self, assertion: str | None) -> None:
        """Count it, or what is wrong with it."""
        if assertion is None:
            self.faults.append("a request without an assertion")
            return
        kid = jwt.get_unverified_header(assertion)["kid"]
        try:
            jwt.decode(assertion, self._key(kid), algorithms=["ES256"], issuer=ISSUER, audience=AUDIENCE, leeway=LOADED)
        except (jwt.PyJWTError, LookupError) as error:
            self.faults.append(f"{kid}: {error!r}")
        with self._lock:
            self.seen[kid] = self.seen.get(kid, 0) + 1

    def await_more(self, kid: str) -> None:
        """Wait until many more have come that this key signed, or something is wrong."""
        enough = self.seen.get(kid, 0) + 20
        until(lambda: self.faults or self.seen.get(kid, 0) > enough)

    def _key(self, kid: str) -> jwt.PyJWK:
        with self._lock:
            if kid not in self._copy:
                read = self._server.request("GET", KEY_SET).json()["keys"]
                self._copy = {jwk["kid"]: jwt.PyJWK(jwk) for jwk in read}
            return self._copy[kid]


@contextlib.contextmanager
def load(asserting: Asserting, verifying: Verifying) -> Iterator[None]:
    """Clients of the proxy and of `/auth`, with sessions and with new tokens; at the end nothing was wrong."""
    stopped = threading.Event()
    session = asserting.server.token("session")

    def ask(number: int) -> None:
        count = 0
        connection = http.client.HTTPConnection("127.0.0.1", asserting.server.port, timeout=60)
        while not stopped.is_set():
            count += 1
            token = session if count % 2 else asserting.server.token(f"user-{number}-{count % 5}", n=count)
            for path in ("/chat/1", "/auth"):
                connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
                response = connection.getresponse()
                body = response.read()
                if response.status != 200:
                    verifying.faults.append(f"{path}: {response.status} {body[:200]!r}")
                elif path == "/auth":
                    verifying.verify(response.headers[NAME])
        connection.close()

    def guarded(number: int) -> None:
        try:
            ask(number)
        except Exception as error:  # noqa: BLE001 - a client that ends early would say nothing
            verifying.faults.append(repr(error))

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    assert verifying.faults == []


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("workers", "lane"), SHAPES)
def test_a_rotation_under_load(tmp_path: Path, workers: int, lane: bool) -> None:
    """Twice: published by every worker, then signed with by each; then the first key goes for good, and at once."""

    def kids(server: Any) -> set[str]:
        return {jwk["kid"] for jwk in server.request("GET", KEY_SET).json()["keys"]}

    with asserting_gateway(tmp_path, workers=workers, lane=lane) as asserting:
        server, verifying = asserting.server, Verifying(asserting)
        (first,) = kids(server)
        with load(asserting, verifying):
            verifying.await_more(first)
            for _ in range(2):
                made = json.loads(command(server, "keys", "rotate", "assertion", "--publish-ahead", "3", "--json"))
                new = made["key"]["kid"]
                verifying.await_more(new)
            command(server, "keys", "retire", "assertion", first, "--now")
            until(lambda: verifying.faults or all(first not in kids(server) for _ in range(20)))
            verifying.await_more(new)
        assert len(verifying.seen) == 3
        assert list(verifying.seen) == [first, *[kid for kid in verifying.seen if kid not in {first, new}], new]
