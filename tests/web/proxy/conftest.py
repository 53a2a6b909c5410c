"""A real gateway before a scripted upstream, once for each carrier."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING

import pytest
from msgspec import Struct

from tests.web.conftest import Server, running_gateway
from tests.web.proxy.upstream import ScriptedUpstream, saying, scripted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

CARRIERS = {"lane": True, "asgi": False}


class Proxied(Struct, frozen=True):
    """A gateway and the upstream behind all its routes."""

    server: Server
    upstream: ScriptedUpstream
    lane: bool

    def answers(self, *packets: bytes, close: bool = False) -> None:
        """From now on the upstream answers every request with these packets."""
        self.upstream.answer = saying(*packets, close=close)

    def does(self, script: Callable[[socket.socket, bytes], None]) -> None:
        """From now on the upstream answers by a script."""
        self.upstream.answer = script

    def ask(self, line: str, *fields: str, token: str | None = None, body: bytes = b"") -> bytes:
        """One request on a connection of its own, and all that comes back until the gateway closes."""
        lines = [f"{line} HTTP/1.1", *(() if any(one.startswith("Host:") for one in fields) else ("Host: gateway",))]
        lines += [f"Authorization: Bearer {token}"] if token else []
        raw = "\r\n".join([*lines, *fields, "Connection: close", "", ""])
        return self.talk(raw.encode("latin-1") + body)

    def talk(self, raw: bytes) -> bytes:
        """Bytes in, and all bytes out until the gateway closes, which it must."""
        with self.connected() as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(raw)
            received = b""
            with contextlib.suppress(ConnectionResetError):
                while chunk := connection.recv(65536):
                    received += chunk
            return received

    def connected(self) -> socket.socket:
        """A connection to the gateway, with a patience for a loaded machine."""
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=60)

    def received(self) -> bytes:
        """The head of the newest request, as the upstream got it."""
        return self.upstream.heads[-1].partition(b"\r\n\r\n")[0] + b"\r\n"


def fields_of(message: bytes) -> list[tuple[str, str]]:
    """The fields of a message's head, names in lower case, in their order."""
    lines = message.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    pairs = [line.partition(":") for line in lines if line]
    return [(name.lower(), value.strip()) for name, _, value in pairs]


def field(message: bytes, wanted: str) -> str | None:
    """The one field of a name, None when there is none."""
    values = [value for name, value in fields_of(message) if name == wanted]
    assert len(values) < 2, f"{wanted} stands there {len(values)} times"
    return values[0] if values else None


def status(message: bytes) -> int:
    """The status of the answer that a message begins with."""
    return int(message.split(b" ", 2)[1])


def until(happens: Callable[[], object]) -> None:
    """Wait for what will happen soon, on a loaded machine, too."""
    for _ in range(3_000):
        if happens():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def routes_to(url: str) -> str:
    """Routes of every access to one upstream."""
    return f"""
[[workspaces.acme.routes]]
prefix = "/chat/"
upstream = "{url}"
cookie = "session"
[[workspaces.acme.routes]]
prefix = "/open/"
upstream = "{url}"
access = "optional"
cookie = "session"
[[workspaces.acme.routes]]
prefix = "/public/"
upstream = "{url}"
access = "public"
[[workspaces.acme.routes]]
prefix = "/kept/"
upstream = "{url}"
cookie = "session"
keep_token = true
[[workspaces.acme.routes]]
prefix = "/hosted/"
host = "chat.acme.example"
upstream = "{url}"
access = "public"
"""


@pytest.fixture(scope="module", params=CARRIERS)
def proxied(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """A gateway of each carrier, with all kinds of routes to one upstream."""
    lane = CARRIERS[request.param]
    folder = tmp_path_factory.mktemp(f"proxied-{request.param}")
    with (
        scripted(saying(OK)) as upstream,
        running_gateway(folder, lane=lane, extra=routes_to(upstream.url)) as server,
    ):
        yield Proxied(server, upstream, lane)


@pytest.fixture(autouse=True)
def _calm(request: pytest.FixtureRequest) -> None:
    """Each test begins with an upstream that answers plainly."""
    if "proxied" in request.fixturenames:
        request.getfixturevalue("proxied").answers(OK)
