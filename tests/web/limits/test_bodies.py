"""Bodies and heads have bounds: told early where the length is, cut while they come where it is not (R26)."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.web.conftest import Server, running_gateway
from tests.web.proxy.conftest import CARRIERS, OK
from tests.web.proxy.upstream import ScriptedUpstream, saying, scripted

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 100_000


@pytest.fixture(scope="module", name="bounded", params=CARRIERS)
def _bounded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, ScriptedUpstream]]:
    """A gateway of each carrier with a route that takes bodies of 100,000 bytes."""
    with scripted(saying()) as upstream:
        route = f'[[workspaces.acme.routes]]\nprefix = "/public/"\nupstream = "{upstream.url}"\naccess = "public"\n'
        folder = tmp_path_factory.mktemp("bounded")
        lane = CARRIERS[request.param]
        with running_gateway(folder, lane=lane, extra=f"{route}max_body = {LIMIT}\n") as server:
            yield server, upstream


def talk(server: Server, raw: bytes) -> bytes:
    """Bytes in, and all bytes out until the gateway closes, which it must."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        received = b""
        try:
            connection.sendall(raw)
            while chunk := connection.recv(65536):
                received += chunk
        except ConnectionError:
            pass
        return received


def reading(length: int, end: bytes) -> object:
    """A script that reads a body to its end, and answers."""

    def answer(connection: socket.socket, head: bytes) -> None:
        body = head.partition(b"\r\n\r\n")[2]
        while len(body) < length or not body.endswith(end):
            chunk = connection.recv(65536)
            if not chunk:
                return
            body += chunk
        connection.sendall(OK)

    return answer


def test_r26_a_length_past_the_bound_is_refused_early(bounded: tuple[Server, ScriptedUpstream]) -> None:
    """413 before a byte of the body is there, and the upstream is not asked; at the bound it passes."""
    server, upstream = bounded
    upstream.heads.clear()
    head = b"POST /public/x HTTP/1.1\r\nHost: g\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(head % (LIMIT + 1))
        received = connection.recv(65536)
    assert received.startswith(b"HTTP/1.1 413 ")
    assert upstream.heads == []
    upstream.answer = reading(LIMIT, b"")  # type: ignore[assignment]  # a script
    assert talk(server, head % LIMIT + b"x" * LIMIT).startswith(b"HTTP/1.1 200 ")


def test_r26_a_chunked_body_is_cut_at_the_bound(bounded: tuple[Server, ScriptedUpstream]) -> None:
    """413 while it comes; the upstream never sees an end of it. At the bound it passes."""
    server, upstream = bounded
    ends: list[bytes] = []

    def count(connection: socket.socket, head: bytes) -> None:
        body = head.partition(b"\r\n\r\n")[2]
        while chunk := connection.recv(65536):
            body += chunk
        ends.append(body)

    head = b"POST /public/x HTTP/1.1\r\nHost: g\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"2710\r\n" + b"x" * 10_000 + b"\r\n"
    upstream.answer = count
    received = talk(server, head + chunk * 10 + b"1\r\nx\r\n" + chunk * 50)
    assert received.startswith(b"HTTP/1.1 413 ")
    assert not any(body.endswith(b"0\r\n\r\n") or body.count(b"x") > LIMIT for body in ends)
    upstream.answer = reading(LIMIT, b"0\r\n\r\n")  # type: ignore[assignment]  # a script
    assert talk(server, head + chunk * 10 + b"0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_a_head_has_so_many_fields(bounded: tuple[Server, ScriptedUpstream]) -> None:
    """Thousands of short fields are refused on every way in, with a status that its readers understand."""
    server, upstream = bounded
    upstream.answer = saying(OK)
    for path, few, many in ((b"/public/x", 200, 413), (b"/messenger/me", 401, 413), (b"/auth", 401, 401)):
        for count, status in ((250, few), (260, many)):
            raw = b"GET %b HTTP/1.1\r\nHost: g\r\nConnection: close\r\n%b\r\n" % (path, b"a: b\r\n" * count)
            received = talk(server, raw)
            assert received.startswith(b"HTTP/1.1 %d " % status)
            assert (b"payload_too_large" in received) is (count == 260)
