"""Connections: how many there may be, which one gives way, and that a good login comes through (R27)."""

from __future__ import annotations

import contextlib
import ipaddress
import resource
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.web.limits.client_limits import ClientAddresses
from gateway.web.limits.connections import Connections
from tests.web.conftest import running_gateway
from tests.web.proxy.conftest import OK, until
from tests.web.proxy.upstream import saying, scripted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.web.conftest import Server

HALF_OPEN = b"POST /messenger/login HTTP/1.1\r\nHost: g\r\nX: "
HALF_A_BODY = b"POST /messenger/login HTTP/1.1\r\nHost: g\r\nContent-Length: 60000\r\n\r\n{"
MOST_OF_A_BODY = HALF_A_BODY + b" " * 50_000
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n"


class FakeConnection:
    """A connection that is in one of three states."""

    def __init__(self, state: str) -> None:
        self.state = state
        self.gone = False

    def may_give_way(self, *, idle: bool) -> bool:
        return self.state == ("idle" if idle else "new")

    def give_way(self) -> None:
        self.gone = True


def room(most: int, most_of_address: int | None = None) -> Connections:
    connections = Connections()
    trusted = [ipaddress.ip_network("10.0.0.0/8")]
    connections.bound(most, most_of_address, ClientAddresses(trusted))
    return connections


def test_the_oldest_without_a_request_gives_way_first() -> None:
    """Then the oldest that idles; never one that owes an answer, nor a trusted proxy's."""
    busy, idle, fresh, fresher = (FakeConnection(state) for state in ("busy", "idle", "new", "new"))
    proxied = FakeConnection("new")
    connections = room(5)
    assert connections.enter(proxied, "10.0.0.1")
    for one in (busy, idle, fresh, fresher):
        assert connections.enter(one, "192.0.2.1")
    for gone in (fresh, fresher, idle):
        assert connections.enter(FakeConnection("busy"), "192.0.2.2")
        assert gone.gone
    assert not connections.enter(FakeConnection("busy"), "192.0.2.2")
    assert [busy.gone, proxied.gone] == [False, False]
    connections.leave(busy)
    assert connections.enter(FakeConnection("busy"), "192.0.2.2")
    assert len(connections) == 5


def test_a_busy_crowd_hides_nobody_who_may_give_way() -> None:
    """Only some are looked at; others are, the next time."""
    connections = room(201)
    for _ in range(200):
        assert connections.enter(FakeConnection("busy"), "192.0.2.1")
    fresh = FakeConnection("new")
    assert connections.enter(fresh, "192.0.2.1")
    tries = 1
    while not connections.enter(FakeConnection("busy"), "192.0.2.2"):
        tries += 1
    assert fresh.gone
    assert tries < 6


def test_an_address_has_its_own_number() -> None:
    """By address, by the /64 of IPv6; of trusted proxies without end; who leaves makes room, and leaves once."""
    connections = room(100, 2)
    first = FakeConnection("busy")
    for address in ("192.0.2.1", "2001:db8:2::1"):
        other = address.replace("::1", "::2")
        assert connections.enter(first if address == "192.0.2.1" else FakeConnection("busy"), address)
        assert connections.enter(FakeConnection("busy"), other)
        assert not connections.enter(FakeConnection("busy"), address)
    assert all(connections.enter(FakeConnection("busy"), "10.0.0.1") for _ in range(10))
    for _ in range(3):
        connections.leave(first)
    assert connections.enter(FakeConnection("busy"), "192.0.2.1")
    assert not connections.enter(FakeConnection("busy"), "192.0.2.1")


@contextlib.contextmanager
def many(port: int, count: int, begun: bytes) -> Iterator[list[socket.socket]]:
    """So many connections that have said this much."""
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            with contextlib.suppress(ConnectionError):
                connection.sendall(begun)
            sockets.append(connection)
        yield sockets


def is_gone(connection: socket.socket) -> bool:
    """Whether the other side has ended a connection."""
    connection.setblocking(False)
    try:
        return connection.recv(65536) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def healthy(connection: socket.socket) -> bool:
    """Ask for the health, and read the whole answer."""
    connection.sendall(HEALTH)
    received = b""
    while not received.endswith(b"}"):
        chunk = connection.recv(65536)
        assert chunk
        received += chunk
    return received.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("lane", [True, False])
@pytest.mark.parametrize(
    "begun",
    [b"", HALF_OPEN, HALF_A_BODY, MOST_OF_A_BODY],
    ids=["silent", "half a head", "half a body", "most of a body"],
)
def test_r27_half_open_connections_keep_no_login_out(tmp_path: Path, lane: bool, begun: bytes) -> None:
    """400 that say nothing, half a head or half a body, where there may be 100: each login among them is answered."""
    with running_gateway(tmp_path, lane=lane, others="[limits]\nconnections = 100\n") as server:
        with many(server.port, 200, begun), many(server.port, 100, begun):
            for number in range(5):
                with many(server.port, 20, begun):
                    assert server.login(server.token(f"good-{number}")).status == 200
            assert server.admin("GET", "/contacts").status == 200
        faults = server.log().count('"level": "error"')
        assert faults == 0


def test_r27_those_gone_are_the_half_open_ones(tmp_path: Path) -> None:
    """A connection that has asked, and idles, outlives those that say nothing."""
    with (
        running_gateway(tmp_path, others="[limits]\nconnections = 30\n") as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=60) as good,
    ):
        assert healthy(good)
        with many(server.port, 29, HALF_OPEN) as first, many(server.port, 25, HALF_OPEN):
            until(lambda: sum(map(is_gone, first)) >= 25)
            assert healthy(good)


def test_one_too_many_of_an_address_is_told(tmp_path: Path) -> None:
    """503 `overloaded` with Retry-After, and closed; when another one ends there is room again."""
    with running_gateway(tmp_path, others="[limits]\nconnections_per_address = 3\n") as server:
        with many(server.port, 3, HEALTH) as first:
            assert all(one.recv(65536).startswith(b"HTTP/1.1 200 ") for one in first)
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as another:
                received = b""
                while chunk := another.recv(65536):
                    received += chunk
            assert received.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 1\r\n" in received
            assert b'"code":"overloaded"' in received
        until(lambda: _serves(server))


def _serves(server: Server) -> bool:
    with contextlib.suppress(OSError):
        return server.request("GET", "/healthz").status == 200
    return False


def test_who_is_owed_an_answer_does_not_give_way(tmp_path: Path) -> None:
    """Three wait for an upstream, where there may be three: a fourth is refused, and the three get their answers."""
    go_on = threading.Event()

    def answer(connection: socket.socket, _head: bytes) -> None:
        go_on.wait(60)
        connection.sendall(OK)

    with scripted(answer) as upstream:
        route = f'[[workspaces.acme.routes]]\nprefix = "/public/"\nupstream = "{upstream.url}"\naccess = "public"\n'
        request = b"GET /public/x HTTP/1.1\r\nHost: g\r\n\r\n"
        with (
            running_gateway(tmp_path, others="[limits]\nconnections = 3\n", extra=route) as server,
            many(server.port, 3, request) as waiting,
        ):
            until(lambda: len(upstream.heads) == 3)
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as fourth:
                assert fourth.recv(65536).startswith(b"HTTP/1.1 503 ")
            go_on.set()
            assert all(one.recv(65536).startswith(b"HTTP/1.1 200 ") for one in waiting)


def test_a_socket_counts_until_it_ends(tmp_path: Path) -> None:
    """A WebSocket is a connection like others; a refused handshake, too, makes room again."""
    handshake = (
        b"GET /public/x HTTP/1.1\r\nHost: g\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    with scripted(saying(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")) as upstream:
        route = f'[[workspaces.acme.routes]]\nprefix = "/public/"\nupstream = "{upstream.url}"\naccess = "public"\n'
        limits = "[limits]\nconnections_per_address = 2\n"
        with running_gateway(tmp_path, others=limits, extra=route) as server:
            for _ in range(5):
                until(lambda: _serves(server))
                with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
                    connection.sendall(handshake)
                    assert connection.recv(65536).startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 503 "))
            until(lambda: _serves(server))


def test_the_limit_of_open_files_is_raised(tmp_path: Path) -> None:
    """The soft one to the hard one, for a single process and for workers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    try:
        with running_gateway(tmp_path) as server:
            limits = Path(f"/proc/{server.pid}/limits").read_text()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    line = next(line for line in limits.splitlines() if line.startswith("Max open files"))
    assert line.split()[3] == line.split()[4]
