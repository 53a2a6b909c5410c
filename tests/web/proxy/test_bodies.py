"""Bodies stream: whoever is slower makes the other side wait, and nothing is held in memory but what sockets hold."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.web.proxy.conftest import OK, Proxied, status, until

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

GIGABYTE = 1 << 30
PIECE = bytes(range(256)) * 4096  # 1 MiB
HELD = 64 << 20
"""More than kernels, buffers and allocators hold of two connections; far less than a body."""

STILL_SECONDS = 1.5


def resident(proxied: Proxied) -> int:
    """Bytes of memory that the gateway has."""
    fields = Path(f"/proc/{proxied.server.pid}/statm").read_text().split()
    return int(fields[1]) * 4096


@contextlib.contextmanager
def most_resident(proxied: Proxied) -> Iterator[list[int]]:
    """By how much the gateway's memory grew at most during a block, in the one element."""
    before, grown, over = resident(proxied), [0], threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            grown[0] = max(grown[0], resident(proxied) - before)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield grown
    finally:
        over.set()
        thread.join()


def sends_a_gigabyte(connection: socket.socket, _head: bytes) -> None:
    """A script: an answer of a gigabyte."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIGABYTE)
    for _ in range(GIGABYTE // len(PIECE)):
        connection.sendall(PIECE)


def sends_a_gigabyte_in_chunks(connection: socket.socket, _head: bytes) -> None:
    """A script: the same in chunks."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(GIGABYTE // len(PIECE)):
        connection.sendall(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
    connection.sendall(b"0\r\n\r\n")


@pytest.mark.parametrize("script", [sends_a_gigabyte, sends_a_gigabyte_in_chunks])
def test_a_gigabyte_comes_down_in_flat_memory(proxied: Proxied, script: Callable[[socket.socket, bytes], None]) -> None:
    """To a client that stops in between, too."""
    proxied.does(script)
    with most_resident(proxied) as grown, proxied.connected() as connection:
        connection.sendall(b"GET /public/x HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n")
        received = 0
        while chunk := connection.recv(1 << 20):
            if received >> 28 != (received + len(chunk)) >> 28:
                time.sleep(0.3)
            received += len(chunk)
    assert GIGABYTE <= received < GIGABYTE + (8 << 20)
    assert grown[0] < HELD


def upload_of(received: list[int], ends: Callable[[int, bytes], bool]) -> Callable[[socket.socket, bytes], None]:
    """A script that reads a body with pauses until it `ends`, by its size and last bytes, and counts it."""

    def script(connection: socket.socket, head: bytes) -> None:
        body = tail = head.partition(b"\r\n\r\n")[2]
        received[0] = len(body)
        while not ends(received[0], tail):
            body = connection.recv(1 << 20)
            if not body:
                return
            if received[0] >> 28 != (received[0] + len(body)) >> 28:
                time.sleep(0.3)
            received[0] += len(body)
            tail = (tail + body)[-8:]
        connection.sendall(OK)

    return script


def upload(proxied: Proxied, framing: bytes, piece: bytes, end: bytes = b"") -> int:
    """Send a gigabyte up; the status of the answer."""
    with proxied.connected() as connection:
        connection.sendall(b"POST /public/x HTTP/1.1\r\nHost: g\r\nConnection: close\r\n%b\r\n\r\n" % framing)
        for _ in range(GIGABYTE // len(PIECE)):
            connection.sendall(piece)
        connection.sendall(end)
        return status(connection.recv(65536))


def test_a_gigabyte_goes_up_in_flat_memory(proxied: Proxied) -> None:
    """To an upstream that stops in between, too."""
    received = [0]
    proxied.does(upload_of(received, lambda size, _tail: size >= GIGABYTE))
    with most_resident(proxied) as grown:
        assert upload(proxied, b"Content-Length: %d" % GIGABYTE, PIECE) == 200
    assert received[0] == GIGABYTE
    assert grown[0] < HELD


def test_a_gigabyte_goes_up_in_chunks_in_flat_memory(proxied: Proxied) -> None:
    """The same in chunks."""
    received = [0]
    proxied.does(upload_of(received, lambda _size, tail: tail.endswith(b"\r\n0\r\n\r\n")))
    with most_resident(proxied) as grown:
        piece = b"%x\r\n%b\r\n" % (len(PIECE), PIECE)
        assert upload(proxied, b"Transfer-Encoding: chunked", piece, b"0\r\n\r\n") == 200
    assert GIGABYTE < received[0] < GIGABYTE + (8 << 20)
    assert grown[0] < HELD


def still(amount: list[int]) -> bool:
    """Whether an amount has stopped growing."""
    before = amount[0]
    time.sleep(STILL_SECONDS)
    return before > 0 and amount[0] == before


def test_a_client_that_does_not_read_stops_the_upstream(proxied: Proxied) -> None:
    """Back-pressure reaches the other end: the upstream can send no more than what sockets hold. Then all goes on."""
    sent, size = [0], 256 << 20

    def script(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent[0] < size:
            sent[0] += connection.send(PIECE)

    proxied.does(script)
    with proxied.connected() as connection:
        connection.sendall(b"GET /public/x HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n")
        until(lambda: still(sent))
        assert sent[0] < HELD
        received = 0
        while chunk := connection.recv(1 << 20):
            received += len(chunk)
    assert sent[0] == size
    assert received > size


def test_an_upstream_that_does_not_read_stops_the_client(proxied: Proxied) -> None:
    """The same the other way."""
    go_on, sent, size = threading.Event(), [0], 256 << 20

    def script(connection: socket.socket, head: bytes) -> None:
        got = len(head.partition(b"\r\n\r\n")[2])
        assert go_on.wait(60)
        while got < size:
            got += len(connection.recv(1 << 20))
        connection.sendall(OK)

    def send(connection: socket.socket) -> None:
        while sent[0] < size:
            sent[0] += connection.send(PIECE[: size - sent[0]])

    proxied.does(script)
    with proxied.connected() as connection:
        connection.sendall(
            b"POST /public/x HTTP/1.1\r\nHost: g\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size
        )
        uploading = threading.Thread(target=send, args=(connection,))
        uploading.start()
        until(lambda: still(sent))
        assert sent[0] < HELD
        go_on.set()
        uploading.join(60)
        assert status(connection.recv(65536)) == 200
    assert sent[0] == size


def test_both_directions_at_once(proxied: Proxied) -> None:
    """An upstream may answer while it is still being sent to: neither direction waits for the other."""

    def script(connection: socket.socket, head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        body = head.partition(b"\r\n\r\n")[2]
        got = 0
        while got < 10:
            connection.sendall(body)
            got += len(body)
            body = connection.recv(65536) if got < 10 else b""

    proxied.does(script)
    with proxied.connected() as connection:
        connection.sendall(b"POST /public/x HTTP/1.1\r\nHost: g\r\nContent-Length: 10\r\n\r\nhello")
        received = connection.recv(65536)
        while not received.endswith(b"hello"):
            received += connection.recv(65536)
        connection.sendall(b"world")
        while not received.endswith(b"world"):
            received += connection.recv(65536)
    assert status(received) == 200


def test_an_early_answer_is_seen_though_the_client_goes_on_sending(proxied: Proxied) -> None:
    """RFC 9112 section 9.6: a refusal of a large upload reaches the client, who reads it when it has sent all."""

    def script(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        while connection.recv(65536):
            pass

    proxied.does(script)
    for path, expected in (("/public/x", 413), ("/chat/x", 401)):
        with proxied.connected() as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: g\r\nContent-Length: {32 << 20}\r\n\r\n"
            connection.sendall(head.encode())
            for _ in range(32):
                connection.sendall(PIECE)
            assert status(connection.recv(65536)) == expected
