"""What comes at the wrong moment: clients that go away, requests behind requests, ends in the middle (C10).

Whatever happens to one exchange, no byte of it reaches another one, and nothing of it is left behind.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.web.conftest import gateway_on, running_gateway
from tests.web.proxy.conftest import CARRIERS, OK, Proxied, field, routes_to, status, until
from tests.web.proxy.test_bodies import HELD, PIECE, still
from tests.web.proxy.upstream import saying, scripted

if TYPE_CHECKING:
    from collections.abc import Callable


def files_of(pid: int) -> int:
    """How many files and sockets a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def telling(connection: socket.socket, head: bytes) -> None:
    """A script that answers with who asked, in two halves with a pause of a chance length between them."""
    who = field(head, "x-user-id") or "nobody"
    body = f"{who} asked for {head.split(b' ')[1].decode()}".encode()
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:3])
    time.sleep(random.random() / 50)
    connection.sendall(body[3:])


def test_c10_nobody_gets_the_answer_of_somebody_else(proxied: Proxied) -> None:
    """C10: while clients of many people go away at chance moments, everybody who stays gets the own answer, whole."""
    proxied.does(telling)
    people = {f"person-{number}": proxied.server.token(f"person-{number}") for number in range(20)}
    before = files_of(proxied.server.pid)

    def ask(number: int) -> None:
        chance = random.Random(number)
        person = chance.choice(list(people))
        request = f"GET /chat/{number} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {people[person]}\r\n\r\n"
        with proxied.connected() as connection:
            for _ in range(chance.randrange(3)):
                connection.sendall(request.encode())
                if chance.random() < 0.4:
                    time.sleep(chance.random() / 50)
                    return
                received = connection.recv(65536)
                expected = f"{person} asked for /chat/{number}".encode()
                while len(received.partition(b"\r\n\r\n")[2]) < len(expected):
                    chunk = connection.recv(65536)
                    assert chunk
                    received += chunk
                assert received.endswith(b"\r\n\r\n" + expected)

    with ThreadPoolExecutor(16) as clients:
        list(clients.map(ask, range(600)))
    until(lambda: files_of(proxied.server.pid) < before + 64)


@pytest.mark.parametrize("at", ["before the head", "in the body"])
def test_c10_a_client_that_goes_away_takes_its_connection_along(proxied: Proxied, at: str) -> None:
    """The upstream hears of it, and the connection carries nothing else."""
    ended = threading.Event()

    def script(connection: socket.socket, _head: bytes) -> None:
        if at == "in the body":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nada")
        if not connection.recv(1):
            ended.set()
        connection.sendall(b"'s secret")

    proxied.does(script)
    heard = len(proxied.upstream.heads)
    with proxied.connected() as connection:
        connection.sendall(b"GET /public/x HTTP/1.1\r\nHost: g\r\n\r\n")
        until(lambda: len(proxied.upstream.heads) > heard)
        if at == "in the body":
            assert connection.recv(65536)
    assert ended.wait(30)
    proxied.answers(OK)
    assert proxied.ask("GET /public/next").endswith(b"\r\n\r\nok")


def test_requests_behind_one_that_is_forwarded_are_answered_in_turn(proxied: Proxied) -> None:
    """Pipelining: each gets its own answer, in order, whatever carries it."""
    proxied.does(telling)
    asked = b"".join(b"GET /public/%d HTTP/1.1\r\nHost: g\r\n\r\n" % number for number in range(5))
    received = proxied.talk(asked + b"GET /chat/x HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n")
    at = [received.index(b"asked for /public/%d" % number) for number in range(5)]
    assert at == sorted(at)
    assert received.count(b"HTTP/1.1 200 OK") == 5
    assert received.rindex(b"HTTP/1.1 401") > at[-1]


def test_a_request_behind_it_does_not_lift_the_back_pressure(proxied: Proxied) -> None:
    """A client that asks for more and reads nothing still stops the upstream, and its going away still ends it."""
    sent, ended = [0], threading.Event()

    def script(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (256 << 20))
        try:
            while sent[0] < 256 << 20:
                sent[0] += connection.send(PIECE)
        except OSError:
            ended.set()

    proxied.does(script)
    with proxied.connected() as connection:
        connection.sendall(b"GET /public/1 HTTP/1.1\r\nHost: g\r\n\r\nGET /public/2 HTTP/1.1\r\nHost: g\r\n\r\n")
        until(lambda: still(sent))
        assert sent[0] < HELD
    assert ended.wait(30)


def test_a_request_behind_a_stream_that_is_left_ends_it(proxied: Proxied) -> None:
    """The upstream hears that the client has gone although another request waits behind the one that is answered.

    With its queue full the gateway reads no more of the client: it hears of its end when it writes.
    """
    ended = threading.Event()

    def script(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                connection.sendall(b"2\r\nok\r\n")
                time.sleep(0.05)
        except OSError:
            ended.set()

    proxied.does(script)
    with proxied.connected() as connection:
        connection.sendall(b"GET /public/1 HTTP/1.1\r\nHost: g\r\n\r\n")
        assert connection.recv(65536)
        connection.sendall(b"GET /public/2 HTTP/1.1\r\nHost: g\r\n\r\n")
        time.sleep(0.1)
    assert ended.wait(30)


@pytest.mark.parametrize("broken", [b"zz\r\n", b"5\r\nhelloX", b"0\r\nContent-Length: 1\r\n\r\n"])
def test_a26_a_body_that_breaks_is_never_completed(proxied: Proxied, broken: bytes) -> None:
    """The upstream sees the end of the connection and not of the body; the client sees one answer, a refusal."""
    seen: list[bytes] = []
    ended = threading.Event()

    def script(connection: socket.socket, head: bytes) -> None:
        body = head.partition(b"\r\n\r\n")[2]
        try:
            while chunk := connection.recv(65536):
                body += chunk
        except OSError:
            pass
        seen.append(body)
        ended.set()

    assert status(proxied.ask("GET /public/x")) == 200  # so that there is a connection, which is written to at once
    proxied.does(script)
    body = b"3\r\nabc\r\n" + broken
    received = proxied.talk(b"POST /public/x HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    assert status(received) == 400
    assert received.count(b"HTTP/1.1") == 1
    assert ended.wait(30)
    assert not seen[0].endswith(b"0\r\n\r\n")


def test_a_body_that_breaks_behind_an_answer_makes_no_second_one(proxied: Proxied) -> None:
    """When the answer has begun, its end is an abrupt one: a refusal in its middle could be taken for the next."""

    def script(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nok")
        connection.recv(65536)
        time.sleep(5)

    proxied.does(script)
    with proxied.connected() as connection:
        connection.sendall(b"POST /public/x HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        received = connection.recv(65536)
        assert status(received) == 200
        connection.sendall(b"zz\r\n")
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass
    assert received.count(b"HTTP/1.1") == 1


def test_an_upstream_that_dies_in_an_upload_is_502(proxied: Proxied) -> None:
    """The rest of the body is thrown away, and the client is told."""

    def script(connection: socket.socket, _head: bytes) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()

    proxied.does(script)
    with proxied.connected() as connection:
        head = b"POST /public/x HTTP/1.1\r\nHost: g\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % (32 << 20))
        for _ in range(32):
            connection.sendall(PIECE)
        assert status(connection.recv(65536)) == 502


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_body_that_comes_while_the_decision_waits_goes_on_after_it(
    request: pytest.FixtureRequest, tmp_path: Path, carrier: str
) -> None:
    """A store on the network makes the decision wait: the body is held back meanwhile, and then nothing is missing."""
    size = 8 << 20

    def script(connection: socket.socket, head: bytes) -> None:
        got = len(head.partition(b"\r\n\r\n")[2])
        while got < size:
            got += len(connection.recv(1 << 20))
        connection.sendall(OK)

    with (
        scripted(script) as upstream,
        gateway_on("postgres", request, tmp_path, lane=CARRIERS[carrier], extra=routes_to(upstream.url)) as server,
    ):
        proxied = Proxied(server, upstream, lane=CARRIERS[carrier])
        for number in range(6):
            head = f"POST /chat/x HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {server.token(f'user-{number}')}\r\n"
            raw = (head + f"Connection: close\r\nContent-Length: {size}\r\n\r\n").encode() + PIECE * 8
            assert status(proxied.talk(raw)) == 200


@pytest.mark.parametrize("carrier", CARRIERS)
def test_an_answer_under_way_is_finished_at_the_end(tmp_path: Path, carrier: str) -> None:
    """SIGTERM: what is being answered is answered to its end, and then the gateway ends, too."""
    go_on = threading.Event()

    def script(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        assert go_on.wait(60)
        connection.sendall(b"world")

    with (
        scripted(script) as upstream,
        running_gateway(tmp_path, lane=CARRIERS[carrier], extra=routes_to(upstream.url)) as server,
    ):
        proxied = Proxied(server, upstream, lane=CARRIERS[carrier])
        with proxied.connected() as connection:
            connection.sendall(b"GET /public/x HTTP/1.1\r\nHost: g\r\n\r\n")
            received = connection.recv(65536)
            os.kill(server.pid, signal.SIGTERM)
            time.sleep(2)
            go_on.set()
            while chunk := connection.recv(65536):
                received += chunk
        assert received.endswith(b"helloworld")
        assert server.exit_code() == 0


def test_nothing_is_left_behind(proxied: Proxied) -> None:
    """After hundreds of exchanges that ended in every way, the gateway has no more files open than its pool's."""
    proxied.answers(OK)
    scripts: list[Callable[[socket.socket, bytes], None]] = [
        saying(OK),
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", close=True),
        saying(b"garbage\r\n\r\n"),
        saying(b"", close=True),
    ]
    before = files_of(proxied.server.pid)
    for round_ in range(100):
        proxied.does(scripts[round_ % 4])
        proxied.ask("GET /public/x")
        proxied.ask("POST /public/x", "Content-Length: 2", body=b"ok")
        with proxied.connected() as connection:
            connection.sendall(b"POST /public/x HTTP/1.1\r\nHost: g\r\nContent-Length: 9\r\n\r\nabc")
    until(lambda: files_of(proxied.server.pid) <= before + 8)
