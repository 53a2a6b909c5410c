"""WebSockets that stand idle, slow ones and dead ones: pings tell them apart, on both sides of the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from gateway.web.proxy import socket_protocol, upstream_socket
from gateway.web.proxy.forwarder import Admitted, Socket
from gateway.web.proxy.route import Route
from gateway.web.proxy.socket_protocol import SocketProtocol
from gateway.web.proxy.upstream_socket import open_socket
from gateway.web.proxy.upstreams import Address, Limits, Upstreams
from tests.keys.test_fetching import Authority
from tests.web.conftest import running_app, running_gateway
from tests.web.proxy.streaming import PATIENCE, Sockets, Streaming, running_sockets
from tests.web.proxy.test_sockets import MIB, next_frame, read_all, refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.types import Message, Receive, Scope, Send
    from websockets.sync.server import ServerConnection

    from gateway.web.proxy.upstream_socket import UpstreamSocket

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: g\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Application:
    """An ASGI application with a WebSocket, which sends what it is given and reads when it is told to."""

    def __init__(self) -> None:
        self.reads = threading.Event()
        self.message = b""
        self.received: list[Message] = []
        self.ended = threading.Event()

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
        if self.message:
            await send({"type": "websocket.send", "bytes": self.message})
        await asyncio.to_thread(self.reads.wait)
        while not self.received or self.received[-1]["type"] != "websocket.disconnect":
            self.received.append(await receive())
        self.ended.set()


@pytest.fixture(name="application")
def _application() -> Application:
    return Application()


@pytest.fixture(name="port")
def _port(application: Application, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The application under uvicorn, with pings that come and are given up soon."""
    monkeypatch.setattr(socket_protocol, "PONG_SECONDS", 0.3)
    config = uvicorn.Config(application, ws=SocketProtocol, ws_ping_interval=0.1, log_config=None, lifespan="off")
    with running_app(config) as port:
        yield port
        application.reads.set()


@contextlib.contextmanager
def raw(port: int) -> Iterator[socket.socket]:
    """A client that shook hands, and does nothing by itself."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        client.sendall(HANDSHAKE)
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(1)
        yield client


def pong(payload: bytes) -> bytes:
    return bytes([0x8A, 0x80 | len(payload)]) + b"\0\0\0\0" + payload


def test_an_idle_client_that_answers_stays(port: int, application: Application) -> None:
    application.reads.set()
    with raw(port) as client:
        for _ in range(10):  # far beyond what a client without a pong gets
            opcode, payload = next_frame(client)
            assert opcode == 0x9
            client.sendall(pong(payload))
        assert application.received == []


def test_a_client_that_does_not_answer_is_given_up(port: int, application: Application) -> None:
    """With 1011, and its connection ends."""
    application.reads.set()
    with raw(port) as client:
        assert next_frame(client)[0] == 0x9
        assert next_frame(client)[0] == 0x8
        assert read_all(client) == b""
    assert application.ended.wait(PATIENCE)


def test_a_client_of_which_nothing_is_read_is_not_given_up(port: int, application: Application) -> None:
    """Its pongs are unread because the application is late."""
    with raw(port) as client:
        client.sendall(bytes([0x82, 0x80]) + b"\0\0\0\0")  # an empty message fills the queue, so no more is read
        opcode, payload = next_frame(client)
        assert opcode == 0x9
        client.sendall(pong(payload))
        client.settimeout(1.5)  # five times what a client gets that does not answer
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(PATIENCE)
        application.reads.set()
        assert next_frame(client)[0] == 0x9  # its pong was heard
        assert [message["bytes"] for message in application.received] == [b""]


def test_a_client_that_reads_slowly_is_not_given_up(port: int, application: Application) -> None:
    """16 MiB on a slow line take longer than a pong may: what waits for the client becomes less."""
    application.message = b"x" * (16 * MIB)
    application.reads.set()
    with raw(port) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.recv(10, socket.MSG_WAITALL)
        left = 16 * MIB
        pause = threading.Event()
        while left:
            left -= len(client.recv(min(left, 512 * 1024)))
            pause.wait(0.02)
        assert next_frame(client)[0] == 0x9


async def _open(port: int, path: str = "/") -> UpstreamSocket:
    upstreams = Upstreams([Address("127.0.0.1", port)], Limits())
    route = Route(workspace="acme", prefix=b"/", upstreams=upstreams)
    return await open_socket(Socket("g", path, "", [], [], None, route, Admitted()))


async def test_an_upstream_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is idle and answers is not."""
    monkeypatch.setattr(upstream_socket, "PING_SECONDS", 0.05)
    monkeypatch.setattr(upstream_socket, "PONG_SECONDS", 0.3)
    with running_sockets() as sockets:
        alive = await _open(sockets.port)
        standing = asyncio.create_task(alive.recv())
        with running_sockets() as others:
            # Its reader stands still behind messages that nobody takes, as an upstream's does that hangs.
            others.handler = hanging
            dead = await _open(others.port)
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await dead.send(b"x" * 100_000)
            assert dead.close_code == 1006
            RELEASE.set()
        assert not standing.done()
        await alive.close()
        with contextlib.suppress(ConnectionClosed):
            await standing


RELEASE = threading.Event()


def hanging(_connection: ServerConnection) -> None:
    RELEASE.wait(PATIENCE)


async def test_an_upstream_that_waits_for_its_client_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pongs are unread because its messages are."""
    monkeypatch.setattr(upstream_socket, "PING_SECONDS", 0.05)
    monkeypatch.setattr(upstream_socket, "PONG_SECONDS", 0.1)
    sent = [0]

    def handler(connection: ServerConnection) -> None:
        for number in range(500):
            connection.send(str(number))
            sent[0] += 1
        connection.recv()

    with running_sockets() as sockets:
        sockets.handler = handler
        slow = await _open(sockets.port)
        await asyncio.sleep(1)  # ten times what an upstream gets that does not answer
        assert [await slow.recv() for _ in range(500)] == [str(number) for number in range(500)]
        await slow.close()


def test_tls_to_the_upstream_by_its_own_name(tmp_path: Path) -> None:
    """The route's authorities vouch for the upstream's own name, not for the `Host` that a client sends."""
    authority = Authority(tmp_path)
    with (
        running_sockets(ssl=authority.server("localhost")) as right,
        running_sockets(ssl=authority.server("chat.acme.example")) as wrong,
    ):
        routes = "".join(
            f"""
[[workspaces.acme.routes]]
prefix = "/{name}/"
upstream = "https://localhost:{sockets.port}"
access = "public"
{ca}
"""
            for name, sockets, ca in (
                ("right", right, f'ca_file = "{authority.file}"'),
                ("wrong", wrong, f'ca_file = "{authority.file}"'),
                ("unknown", right, ""),
            )
        )
        with running_gateway(tmp_path, extra=routes) as server:
            url = f"ws://127.0.0.1:{server.port}/right/one"
            # `host` in place of the client's own: the connection goes to the gateway all the same.
            with connect("ws://chat.acme.example/right/one", sock=_connected(server.port), proxy=None) as client:
                client.send("hello")
                assert client.recv(timeout=PATIENCE) == "hello"
                assert right.next().request.headers["Host"] == "chat.acme.example"  # type: ignore[union-attr]  # it has one
            with connect(url, proxy=None) as client:
                client.send("hello")
                assert client.recv(timeout=PATIENCE) == "hello"
            streaming = Streaming(server, None, Sockets())  # type: ignore[arg-type]  # no other upstream here
            for name in ("wrong", "unknown"):
                assert refused(streaming, None, f"/{name}/one").status_code == 502
        assert wrong.opened.empty()


def _connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
