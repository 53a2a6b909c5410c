"""HTTP both ways: what each side sent is what the other one gets, and each is told where it ends."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from tests.web.proxy.conftest import OK, Proxied, field, fields_of, status

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def whole(connection: socket.socket, head: bytes) -> bytes:
    """A request of which the head (and perhaps more) was read, read to its end; its body as it came, frames and all."""
    begin, _, body = head.partition(b"\r\n\r\n")
    lower = begin.lower()
    if b"transfer-encoding: chunked" in lower:
        while not (body.endswith(b"\r\n\r\n") and b"0\r\n" in body):
            body += some(connection)
    elif b"content-length: " in lower:
        length = int(lower.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += some(connection)
    return body


def some(connection: socket.socket) -> bytes:
    """What comes next; `ConnectionError` when nothing does any more."""
    received = connection.recv(65536)
    if not received:
        raise ConnectionError
    return received


def echoing(bodies: list[bytes]) -> Callable[[socket.socket, bytes], None]:
    """A script that reads each request to its end, keeps its body as it came, and answers."""

    def answer(connection: socket.socket, head: bytes) -> None:
        bodies.append(whole(connection, head))
        connection.sendall(OK)

    return answer


def unchunked(framed: bytes) -> bytes:
    """A chunked body, without trailers, as its bytes."""
    content = b""
    while True:
        size, _, rest = framed.partition(b"\r\n")
        if not int(size, 16):
            assert rest == b"\r\n"
            return content
        content += rest[: int(size, 16)]
        framed = rest[int(size, 16) + 2 :]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_methods_pass_with_and_without_a_body(proxied: Proxied, method: str) -> None:
    """A body keeps its length; where there is none, none is announced."""
    bodies: list[bytes] = []
    proxied.does(echoing(bodies))
    assert status(proxied.ask(f"{method} /public/x")) == 200
    assert field(proxied.received(), "content-length") is None
    assert field(proxied.received(), "transfer-encoding") is None
    assert status(proxied.ask(f"{method} /public/x", "Content-Length: 5", body=b"a\r\n\0b")) == 200
    assert field(proxied.received(), "content-length") == "5"
    assert bodies == [b"", b"a\r\n\0b"]


def test_an_empty_body_stays_one(proxied: Proxied) -> None:
    """A length of nought is a length, however it is written."""
    for length in ("0", "00"):
        assert status(proxied.ask("POST /public/x", f"Content-Length: {length}")) == 200
        assert field(proxied.received(), "content-length") == "0"


def test_a26_a_chunked_body_is_framed_anew(proxied: Proxied) -> None:
    """A26: its content arrives, its extensions and its spelling of sizes do not."""
    bodies: list[bytes] = []
    proxied.does(echoing(bodies))
    body = b'0005;name="value"\r\nhello\r\n06\r\n world\r\n0;last\r\n\r\n'
    assert status(proxied.ask("POST /public/x", "Transfer-Encoding: Chunked", body=body)) == 200
    assert field(proxied.received(), "transfer-encoding") == "chunked"
    assert unchunked(bodies[0]) == b"hello world"
    assert b"name" not in bodies[0]


TRAILERS = (
    b"X-Checksum: abc\r\nX-User-Id: forged\r\nx_contact.id: forged\r\nAuthorization: forged\r\nHost: forged\r\n"
    b"transfer_encoding: forged\r\nContent_Length: 9\r\nX-Forwarded-For: forged\r\n"
    b"Cookie: forged\r\nContent-Type: forged\r\nIf-Match: forged\r\nConnection: forged\r\nTE: forged\r\n"
    b"X-Original-Url: forged\r\n\r\n"
)


def test_r23_trailers_of_a_request_are_never_headers(proxied: Proxied) -> None:
    """R23: what may go on goes on as a trailer (the lane) or not at all; identity and framing never do."""
    bodies: list[bytes] = []
    proxied.does(echoing(bodies))
    body = b"5\r\nhello\r\n0\r\n" + TRAILERS
    assert status(proxied.ask("POST /open/x", "Transfer-Encoding: chunked", body=body)) == 200
    assert b"x-checksum" not in proxied.received()
    assert b"forged" not in proxied.received() + bodies[0]
    end = b"0\r\nx-checksum: abc\r\n\r\n" if proxied.lane else b"0\r\n\r\n"
    assert bodies[0].endswith(b"hello\r\n" + end)


def test_trailers_of_an_answer_go_on(proxied: Proxied) -> None:
    """The same the other way."""
    proxied.answers(CHUNKED + b"5\r\nhello\r\n0\r\n" + TRAILERS)
    answer = proxied.ask("GET /public/x")
    assert b"forged" not in answer
    assert answer.endswith(b"hello\r\n0\r\nx-checksum: abc\r\n\r\n" if proxied.lane else b"hello\r\n0\r\n\r\n")


def test_a26_a_length_in_a_trailer_is_refused(proxied: Proxied) -> None:
    """A26: of a request before its end was sent on; of an answer by cutting it."""
    bodies: list[bytes] = []
    proxied.does(echoing(bodies))
    body = b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n"
    for trailers in (body, body.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked")):
        assert status(proxied.ask("POST /public/x", "Transfer-Encoding: chunked", body=trailers)) == 400
    assert bodies == []
    proxied.answers(CHUNKED + body)
    answer = proxied.ask("GET /public/x")
    assert not answer.endswith(b"0\r\n\r\n")


def test_an_endless_trailer_is_cut_off(proxied: Proxied) -> None:
    """Trailers have the bound of a head: what does not end is refused before it fills the memory."""
    proxied.does(echoing([]))
    with proxied.connected() as connection:
        connection.sendall(b"POST /public/x HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ")
        with pytest.raises(OSError):  # noqa: PT011 - whichever way it hears of the end
            connection.sendall(b"a" * 40_000_000)


def test_expect_is_answered_here_before_the_body(proxied: Proxied) -> None:
    """RFC 9110 section 10.1.1: 100 when the request is let through; the upstream hears of no expectation."""
    bodies: list[bytes] = []
    proxied.does(echoing(bodies))
    with proxied.connected() as connection:
        head = b"POST /public/x HTTP/1.1\r\nHost: g\r\nExpect: 100-Continue\r\nContent-Length: 5\r\nConnection: close"
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hello")
        assert status(connection.recv(65536)) == 200
    assert bodies == [b"hello"]
    assert field(proxied.received(), "expect") is None


def test_expect_is_refused_without_100(proxied: Proxied) -> None:
    """Who is refused need not send the body, and the connection ends, for nobody knows whether it will come."""
    with proxied.connected() as connection:
        connection.sendall(b"POST /chat/x HTTP/1.1\r\nHost: g\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    assert status(received) == 401
    assert field(received, "connection") == "close"


@pytest.mark.parametrize("proxied", ["lane"], indirect=True)  # under ASGI uvicorn sends chunks to everybody
@pytest.mark.parametrize("expects", [b"", b"Expect: 100-continue\r\n"])
def test_http_1_0_gets_what_it_understands(proxied: Proxied, expects: bytes) -> None:
    """No chunks, no interim answers, an end by the connection's; the upstream is asked in HTTP/1.1."""
    proxied.answers(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + CHUNKED + b"5\r\nhello\r\n0\r\n\r\n")
    answer = proxied.talk(b"GET /public/x HTTP/1.0\r\nConnection: keep-alive\r\n%b\r\n" % expects)
    assert status(answer) == 200
    assert field(answer, "transfer-encoding") is None
    assert answer.endswith(b"\r\n\r\nhello")
    assert proxied.received().startswith(b"GET /public/x HTTP/1.1\r\nhost: localhost\r\n")


def test_http_1_0_has_no_chunks(proxied: Proxied) -> None:
    """RFC 9112 section 6.1: a coding in HTTP/1.0 is faulty framing, and so are other versions."""
    heard = len(proxied.upstream.heads)
    for head in (
        b"POST /public/x HTTP/1.0\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /public/x HTTP/2.0\r\nHost: g\r\n\r\n",
        b"GET /public/x HTTP/0.9\r\nHost: g\r\n\r\n",
    ):
        assert status(proxied.talk(head)) == 400
    assert len(proxied.upstream.heads) == heard


def test_head_gets_the_head_alone(proxied: Proxied) -> None:
    """The length is that of what GET would bring; the connection to the upstream is not confused by it."""
    for length in (b"Content-Length: 1234\r\n", b"Transfer-Encoding: chunked\r\n", b""):
        proxied.answers(b"HTTP/1.1 200 OK\r\n%b\r\n" % length)
        answer = proxied.ask("HEAD /public/x")
        assert status(answer) == 200
        assert answer.endswith(b"\r\n\r\n")
        assert field(answer, "content-length") == ("1234" if b"1234" in length else None)


@pytest.mark.parametrize(("line", "expected"), [("HEAD /chat/x", 401), ("HEAD /nowhere", 404), ("HEAD /chat//", 400)])
def test_head_is_refused_without_a_body(proxied: Proxied, line: str, expected: int) -> None:
    """A body that follows the refusal of HEAD would be taken for the next answer."""
    with proxied.connected() as connection:
        connection.sendall(f"{line} HTTP/1.1\r\nHost: g\r\n\r\n".encode())
        first = connection.recv(65536)
        assert status(first) == expected
        assert first.endswith(b"\r\n\r\n")
        connection.sendall(b"GET /public/x HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_interim_answers_come_before_the_answer(proxied: Proxied) -> None:
    """103 goes on in the lane, without what is ours to say; 100 is between us and the upstream; ASGI knows none."""
    proxied.answers(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nX-User-Id: 1\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: </b.css>\r\n\r\n" + OK
    )
    answer = proxied.ask("GET /public/x")
    if proxied.lane:
        hints = b"HTTP/1.1 103 Early Hints\r\nlink: </%c.css>\r\n\r\n"
        assert answer.startswith(hints % b"a" + hints % b"b" + b"HTTP/1.1 200 OK\r\n")
    else:
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nok")


@pytest.mark.parametrize(
    "head",
    [
        b"204 No Content\r\nContent-Length: 7\r\n",
        b"304 Not Modified\r\nContent-Length: 7\r\n",
        b"204 No Content\r\nTransfer-Encoding: chunked\r\n",
        b"204 No Content\r\n",
        b"304 Not Modified\r\n",
    ],
)
def test_204_and_304_have_no_body(proxied: Proxied, head: bytes) -> None:
    """Whatever they announce; 204 announces nothing (RFC 9110 section 8.6)."""
    proxied.answers(b"HTTP/1.1 %b\r\n" % head)
    with proxied.connected() as connection:
        for _ in range(2):
            connection.sendall(b"GET /public/x HTTP/1.1\r\nHost: g\r\n\r\n")
            answer = connection.recv(65536)
            assert status(answer) == int(head[:3])
            assert answer.endswith(b"\r\n\r\n")
            assert field(answer, "transfer-encoding") is None
            if status(answer) == 204:
                assert field(answer, "content-length") is None


def test_an_answer_that_only_its_end_ends(proxied: Proxied) -> None:
    """It is chunked for the client, who so knows its end."""
    for version in (b"1.0", b"1.1"):
        proxied.answers(b"HTTP/%b 200 OK\r\nX: 1\r\n\r\nhello" % version, b" world", close=True)
        answer = proxied.ask("GET /public/x")
        assert field(answer, "transfer-encoding") == "chunked"
        assert unchunked(answer.partition(b"\r\n\r\n")[2]) == b"hello world"


def test_encodings_pass_byte_for_byte(proxied: Proxied) -> None:
    """A compressed body is nobody's business on the way."""
    body = gzip.compress(bytes(range(256)) * 50)
    proxied.answers(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    answer = proxied.ask("GET /public/x", "Accept-Encoding: gzip, br")
    assert answer.partition(b"\r\n\r\n")[2] == body
    assert field(answer, "content-encoding") == "gzip"
    assert field(proxied.received(), "accept-encoding") == "gzip, br"


def test_an_answers_fields_come_back_as_they_are(proxied: Proxied) -> None:
    """Several `Set-Cookie`, obs-text, large and many fields."""
    many = b"".join(b"X-Many: %d\r\n" % number for number in range(500))
    head = (
        b"HTTP/1.1 299 Caf\xe9\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nX-Text: \xff\xe9\r\nX-Large: %b\r\n"
        % (b"a" * 40_000)
    )
    proxied.answers(head + many + b"Via: 1.0 old\r\nContent-Length: 2\r\n\r\nok")
    answer = proxied.ask("GET /public/x")
    got = fields_of(answer)
    assert [value for name, value in got if name == "set-cookie"] == ["a=1; Path=/", "b=2"]
    assert [value for name, value in got if name == "x-many"] == [str(number) for number in range(500)]
    assert {("x-text", "\xff\xe9"), ("x-large", "a" * 40_000), ("via", "1.0 old")} <= set(got)
    if proxied.lane:
        assert answer.startswith(b"HTTP/1.1 299 Caf\xe9\r\n")


@pytest.mark.parametrize("dated", [b"", b"Date: Mon, 01 Jan 2001 00:00:00 GMT\r\n"])
def test_an_answer_has_one_date(proxied: Proxied, dated: bytes) -> None:
    """RFC 9110 section 6.6.1: the upstream's where the lane carries it, else ours."""
    proxied.answers(b"HTTP/1.1 200 OK\r\n%bContent-Length: 2\r\n\r\nok" % dated)
    date = field(proxied.ask("GET /public/x"), "date")
    assert date is not None
    assert (date == "Mon, 01 Jan 2001 00:00:00 GMT") == (proxied.lane and bool(dated))


def test_an_upgrade_to_something_else_is_declined(proxied: Proxied) -> None:
    """It is a plain request to the upstream, and what follows it on the connection is not served (A26)."""
    heard = len(proxied.upstream.heads)
    answer = proxied.talk(
        b"GET /public/x HTTP/1.1\r\nHost: g\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABk\r\n\r\nGET /public/y HTTP/1.1\r\nHost: g\r\n\r\n"
    )
    assert status(answer) == 200
    assert field(answer, "connection") == "close"
    assert len(proxied.upstream.heads) == heard + 1
    assert not {"upgrade", "http2-settings", "connection"} & {name for name, _ in fields_of(proxied.received())}
