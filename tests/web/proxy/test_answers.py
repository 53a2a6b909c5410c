"""Answers are strict: what is not HTTP/1.1 as it is written is no answer, and its connection is never used again."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from tests.web.proxy.conftest import OK, Proxied, status, until

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

NO_ANSWER = {
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nokk",
    "the same length twice": HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "a list of lengths": HEAD + b"Content-Length: 2, 2\r\n\r\nok",
    "a signed length": HEAD + b"Content-Length: +2\r\n\r\nok",
    "a length in hexadecimal": HEAD + b"Content-Length: 0x2\r\n\r\nok",
    "no length": HEAD + b"Content-Length:\r\n\r\nok",
    "a length without end": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\nok",
    "a length and a coding": HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding and a length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    "another coding": HEAD + b"Transfer-Encoding: gzip\r\n\r\nok",
    "a coding before chunked": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked with a stray byte": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked in another alphabet": HEAD + b"Transfer-Encoding: \xe9chunked\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "one bare LF": HEAD + b"A: b\nContent-Length: 2\r\n\r\nok",
    "a bare CR": HEAD + b"A: b\rc\r\nContent-Length: 2\r\n\r\nok",
    "obs-fold": HEAD + b"A: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
    "white space at first": HEAD + b" A: b\r\nContent-Length: 2\r\n\r\nok",
    "white space before the colon": HEAD + b"Content-Length : 2\r\n\r\nok",
    "no colon": HEAD + b"A\r\nContent-Length: 2\r\n\r\nok",
    "no name": HEAD + b": a\r\nContent-Length: 2\r\n\r\nok",
    "NUL in a value": HEAD + b"A: b\0c\r\nContent-Length: 2\r\n\r\nok",
    "NUL in a name": HEAD + b"A\0: b\r\nContent-Length: 2\r\n\r\nok",
    "NUL beside the status": b"HTTP/1.1 200 O\0K\r\nContent-Length: 2\r\n\r\nok",
    "ESC beside the status": b"HTTP/1.1 200 O\x1bK\r\nContent-Length: 2\r\n\r\nok",
    "a status of two digits": b"HTTP/1.1 99 OK\r\nContent-Length: 2\r\n\r\nok",
    "a status below 100": b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok",
    "a status above 599": b"HTTP/1.1 999 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "no HTTP": b"hello\r\n\r\n",
    "an upgrade that nobody asked for": b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "101 as if it were nothing": b"HTTP/1.1 101 Switching\r\n\r\n" + OK,
    "an endless head": HEAD + b"".join(b"A: %b\r\n" % (b"a" * 1000) for _ in range(900)),
    "an endless line": HEAD + b"A: " + b"a" * 900_000,
    "endless empty lines": b"\r\n" * 50_000,
    "endless interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 20 + OK,
}
"""Answers that go wrong before their head is whole."""

CUT = {
    "a chunk longer than it says": CHUNKED + b"2\r\nokk\r\n0\r\n\r\n",
    "a chunk whose size is none": CHUNKED + b"2\r\nok\r\nzz\r\nok\r\n0\r\n\r\n",
    "a size with a sign": CHUNKED + b"2\r\nok\r\n-2\r\nok\r\n0\r\n\r\n",
    "a size with 0x": CHUNKED + b"2\r\nok\r\n0x2\r\nok\r\n0\r\n\r\n",
    "a size without end": CHUNKED + b"2\r\nok\r\n" + b"f" * 40 + b"\r\n",
    "bare LF behind a size": CHUNKED + b"2\r\nok\r\n2\nok\r\n0\r\n\r\n",
    "bare LF behind a chunk": CHUNKED + b"2\r\nok\n0\r\n\r\n",
    "a bare CR in an extension": CHUNKED + b"2\r\nok\r\n2;a\rb\r\nok\r\n0\r\n\r\n",
    "an endless extension": CHUNKED + b"2\r\nok\r\n2;" + b"a" * 900_000,
    "an endless trailer": CHUNKED + b"2\r\nok\r\n0\r\nA: " + b"a" * 900_000,
    "endless trailers": CHUNKED + b"2\r\nok\r\n0\r\n" + b"A: b\r\n" * 150_000,
    "a trailer without a colon": CHUNKED + b"2\r\nok\r\n0\r\nA\r\n\r\n",
}
"""Answers that go wrong behind their head."""

EARLY_END = {
    "in the middle of a length": HEAD + b"Content-Length: 5\r\n\r\nok",
    "in the middle of a chunk": CHUNKED + b"5\r\nok",
    "before the last chunk": CHUNKED + b"2\r\nok\r\n",
    "before the end of the trailers": CHUNKED + b"2\r\nok\r\n0\r\nA: b\r\n",
}

SPOILED = {
    "a second answer": OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen",
    "stray bytes": OK + b"stolen",
    "an empty line and bytes": OK + b"\r\nstolen",
    "a body that 304 cannot have": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\nstolen",
    "a body that 204 cannot have": b"HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\nstolen",
}
"""Answers that are whole, and followed by what nobody asked for."""


def assert_not_used_again(proxied: Proxied, connections: int) -> None:
    """The next request comes over another connection, and gets its own answer."""
    proxied.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine")
    assert proxied.ask("GET /public/next").endswith(b"\r\n\r\nmine")
    assert proxied.upstream.connections > connections


@pytest.mark.parametrize("answer", NO_ANSWER.values(), ids=NO_ANSWER)
def test_what_is_no_answer_is_502(proxied: Proxied, answer: bytes) -> None:
    """Nothing of it reaches the client, and the reason stands in the log alone."""
    proxied.answers(answer)
    received = proxied.ask("GET /public/x")
    assert status(received) == 502
    assert b"upstream_unavailable" in received
    assert b"ok" not in received.partition(b"\r\n\r\n")[2]
    assert_not_used_again(proxied, proxied.upstream.connections)


@pytest.mark.parametrize("answer", CUT.values(), ids=CUT)
def test_what_goes_wrong_later_is_cut(proxied: Proxied, answer: bytes) -> None:
    """The client got the head and perhaps some of the body: it must not take that for whole."""
    proxied.answers(answer)
    received = proxied.ask("GET /public/x")
    assert received == b"" or status(received) == 200  # a reset may overtake the head
    assert not received.endswith(b"0\r\n\r\n")
    assert_not_used_again(proxied, proxied.upstream.connections)


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("answer", EARLY_END.values(), ids=EARLY_END)
def test_an_answer_that_ends_in_its_middle_is_cut(proxied: Proxied, answer: bytes, reset: bool) -> None:
    """Whether the upstream closes or resets: the client never sees a clean end."""

    def script(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(answer)
        end(connection, reset=reset)

    proxied.does(script)
    received = proxied.ask("GET /public/x")
    assert not received.endswith(b"0\r\n\r\n")
    if b"Content-Length" in answer:
        assert len(received.partition(b"\r\n\r\n")[2]) < 5


@pytest.mark.parametrize("proxied", ["lane"], indirect=True)  # under ASGI uvicorn sends chunks to everybody
def test_http_1_0_sees_a_cut_as_a_reset(proxied: Proxied) -> None:
    """Where only the connection's end ends an answer, a cut must not look like one."""
    proxied.answers(CHUNKED + b"5\r\nhello\r\n", close=True)
    with proxied.connected() as connection:
        connection.sendall(b"GET /public/x HTTP/1.0\r\n\r\n")
        until(lambda: connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET)


@pytest.mark.parametrize("answer", SPOILED.values(), ids=SPOILED)
def test_c10_what_nobody_asked_for_is_nobodys_answer(proxied: Proxied, answer: bytes) -> None:
    """C10, A26: the answer itself is whole and arrives; the rest spoils the connection and reaches no one."""
    proxied.answers(answer)
    received = proxied.ask("GET /public/x")
    assert status(received) in {200, 204, 304}
    assert b"stolen" not in received
    assert_not_used_again(proxied, proxied.upstream.connections)


def test_c10_a_body_behind_the_answer_to_head_is_nobodys(proxied: Proxied) -> None:
    """An upstream that answers HEAD like GET does not get its body taken for the next answer."""
    for answer in (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen", CHUNKED + b"6\r\nstolen\r\n0\r\n\r\n"):
        proxied.answers(answer)
        received = proxied.ask("HEAD /public/x")
        assert status(received) == 200
        assert b"stolen" not in received
        assert_not_used_again(proxied, proxied.upstream.connections)


def test_c10_what_an_idle_connection_says_is_nobodys(proxied: Proxied) -> None:
    """Bytes that come while nothing is asked end the connection; the next request has another one."""
    late: list[socket.socket] = []

    def script(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(OK)
        late.append(connection)

    proxied.does(script)
    assert status(proxied.ask("GET /public/x")) == 200
    late[0].sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen")
    until(lambda: closed(late[0]))
    assert_not_used_again(proxied, proxied.upstream.connections)


def test_an_early_end_without_any_answer_is_502(proxied: Proxied) -> None:
    """For a request that must not be sent twice; the upstream saw it once."""
    heard = len(proxied.upstream.heads)
    proxied.does(lambda connection, _head: end(connection, reset=False))
    assert status(proxied.ask("POST /public/x", "Content-Length: 2", body=b"ok")) == 502
    assert len(proxied.upstream.heads) == heard + 1


def end(connection: socket.socket, *, reset: bool) -> None:
    """Close a connection, or reset it."""
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    else:
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def closed(connection: socket.socket) -> bool:
    """Whether the other side has closed."""
    try:
        connection.sendall(b"x")
    except OSError:
        return True
    return False
