"""One connection, many requests, odd bytes: nothing is served twice, out of order, or for somebody else (R25)."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import random
import re
import socket
import time
from typing import TYPE_CHECKING

import pytest

from gateway.web import protocol
from gateway.web.carrier import DecisionCarrier
from gateway.web.decision import Decision
from gateway.web.express import express_protocol
from gateway.web.forward_auth import ForwardAuth
from gateway.web.headers import IdentityHeaders
from gateway.web.messenger import Me
from gateway.web.problems import Problems
from gateway.web.protocol import StrictProtocol, listener_config
from tests.web.conftest import running_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uvicorn import Config

    from gateway.web.authentication import Authenticator
    from gateway.web.decision import Presented
    from gateway.web.transport import Head, Request
    from tests.web.conftest import Server

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n"


def auth(server: Server, user_id: str, more: bytes = b"") -> bytes:
    """A request to `/auth`."""
    return b"GET /auth HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer %b\r\n%b\r\n" % (
        server.token(user_id).encode(),
        more,
    )


def login(server: Server, user_id: str, more: bytes = b"", body: bytes = b"") -> bytes:
    """A request to `/messenger/login`."""
    head = auth(server, user_id, more).replace(b"GET /auth", b"POST /messenger/login")
    return head + body


def knows(server: Server, user_id: str) -> bool:
    """Whether the store has a contact with this user_id."""
    return server.admin("GET", f"/contacts/find_by_external_id/{user_id}").status == 200


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) [A-Z]", received)]


def user_ids(received: bytes) -> list[bytes]:
    return re.findall(rb"x-user-id: ([\w-]+)", received)


def code_of(received: bytes) -> str | None:
    found = re.search(rb'"code":"(\w+)"', received)
    return found and found.group(1).decode()


def exchange(connection: socket.socket, data: bytes) -> bytes:
    """Send, and read one answer."""
    connection.sendall(data)
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    while length and len(body) < int(length.group(1)):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def test_a_connection_carries_no_identity(either: Server) -> None:
    """Keep-alive: each request is its own person, and one without a token is nobody (C10)."""
    with socket.create_connection(("127.0.0.1", either.port), timeout=10) as connection:
        for name in ("alive-1", "alive-2", "alive-1"):
            assert user_ids(exchange(connection, auth(either, name))) == [name.encode()]
        assert code_of(exchange(connection, b"GET /auth HTTP/1.1\r\nHost: g\r\n\r\n")) == "credentials_missing"


def test_answers_come_in_order(either: Server) -> None:
    """First sights (which wait for the disk), known people, and pages outside the decision, pipelined in any order."""
    either.login(either.token("known"))
    for round_number in range(5):
        fresh = [f"order-{round_number}-{number}" for number in range(4)]
        parts = [
            *(auth(either, fresh[0]), auth(either, "known"), HEALTH, auth(either, fresh[1]), HEALTH),
            *(auth(either, "known"), auth(either, fresh[2]), login(either, "known"), auth(either, fresh[3])),
        ]
        received = either.raw(b"".join(parts[round_number:] + parts[:round_number]))
        expected = [fresh[0], "known", None, fresh[1], None, "known", fresh[2], None, fresh[3]]
        expected = expected[round_number:] + expected[:round_number]
        assert statuses(received) == [200] * 9
        assert user_ids(received) == [name.encode() for name in expected if name]


@pytest.mark.parametrize("first", ["known", "unknown"])
def test_r25_nothing_is_served_after_the_last_request(either: Server, first: str) -> None:
    """A request behind `Connection: close` is not served, whether the last one waits or not (RFC 9112 section 9.6)."""
    either.login(either.token("known"))
    last = "known" if first == "known" else f"last-{time.time_ns()}"
    hidden = f"hidden-{time.time_ns()}"
    received = either.raw(auth(either, last, b"Connection: close\r\n") + auth(either, hidden))
    assert user_ids(received) == [last.encode()]
    received = either.raw(auth(either, "known").replace(b"HTTP/1.1", b"HTTP/1.0") + auth(either, hidden))
    assert user_ids(received) == [b"known"]
    assert not knows(either, hidden)


def test_an_upgrade_is_declined_by_an_answer(either: Server) -> None:
    """Answered as if no upgrade were asked for, then closed; what follows is not served (A26)."""
    hidden = f"upgraded-{time.time_ns()}"
    for protocol_name in (b"websocket", b"h2c"):
        upgrade = b"Connection: Upgrade\r\nUpgrade: %b\r\n" % protocol_name
        received = either.raw(login(either, "upgrading", upgrade) + auth(either, hidden))
        assert statuses(received) == [200]
        assert b"connection: close\r\n" in received
    assert not knows(either, hidden)


@pytest.mark.parametrize("protocol_name", ["h2c", "websocket"])
def test_a26_an_upgrade_with_a_body_is_refused(either: Server, protocol_name: str) -> None:
    """The parser skips that body: it must not be missed by whoever waits for it, nor its trailer be a credential."""
    received = either.raw(
        b"POST /messenger/login HTTP/1.1\r\nHost: g\r\nConnection: Upgrade\r\nUpgrade: %b\r\n"
        b"Transfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n"
        b"2\r\n{}\r\n0\r\nAuthorization: Bearer %b\r\n\r\n" % (protocol_name.encode(), either.token("trailer").encode())
    )
    assert (statuses(received), code_of(received)) == ([400], "request_invalid")
    assert b"connection: close\r\n" in received


def test_head_has_no_body(either: Server) -> None:
    """HEAD: the headers of the answer alone."""
    received = either.raw(auth(either, "head", b"Connection: close\r\n").replace(b"GET", b"HEAD", 1))
    assert (statuses(received), user_ids(received)) == ([200], [b"head"])
    refused = either.raw(b"HEAD /auth HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n")
    assert statuses(refused) == [401]
    assert refused.endswith(b"\r\n\r\n")


def test_expect_is_answered(either: Server) -> None:
    """`Expect: 100-continue`: the client is told to go on, then gets its answer."""
    body = b'{"app_id": "acme"}'
    more = b"Expect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", either.port), timeout=10) as connection:
        connection.sendall(login(either, "expecting", more))
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert statuses(exchange(connection, body)) == [200]


def test_a_body_in_pieces(either: Server) -> None:
    """Content-Length and chunked bodies, one byte at a time."""
    body = b'{"intercom_user_jwt": "%b"}' % either.token("pieces").encode()
    head = b"POST /messenger/login HTTP/1.1\r\nHost: g\r\nConnection: close\r\nContent-Type: application/json\r\n"
    sized = head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
    chunked += b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    for request in (sized, chunked):
        with socket.create_connection(("127.0.0.1", either.port), timeout=10) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for index in range(len(request)):
                connection.sendall(request[index : index + 1])
            assert statuses(connection.recv(65536)) == [200]


@pytest.mark.parametrize("length", [65_537, 10_000_000])
def test_a_large_body_is_413(either: Server, length: int) -> None:
    """Over 64 KiB, declared or chunked: 413, and the connection stands for the next request."""
    before = either.contacts()
    kind = b"Content-Type: application/json\r\n"
    sized = login(either, "large", kind + b"Content-Length: %d\r\n" % length, b" " * length)
    chunked = login(either, "large", kind + b"Transfer-Encoding: chunked\r\n", b"%x\r\n" % length + b" " * length)
    for request in (sized, chunked + b"\r\n0\r\n\r\n"):
        received = either.raw(request + HEALTH)
        assert statuses(received) == [413, 200]
        assert code_of(received) == "payload_too_large"
    assert either.contacts() == before


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 1x\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: +2\r\n",
        b"Content-Length: 2\r\nContent-Length: 2\r\n",
        b"Content-Length: 2\r\nContent-Length: 40\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
    ],
)
def test_a26_ambiguous_framing_is_refused(either: Server, framing: bytes) -> None:
    """400, closed, and nothing that hides behind it is served (R25)."""
    hidden = f"smuggled-{time.time_ns()}"
    received = either.raw(login(either, "framing", framing, b"{}" + auth(either, hidden)))
    assert (statuses(received), code_of(received)) == ([400], "request_invalid")
    assert b"connection: close\r\n" in received
    assert not knows(either, hidden)


@pytest.mark.parametrize(
    "chunks",
    [b"2\r\n{}X\r\n0\r\n\r\n", b"2;a\nb\r\n{}\r\n0\r\n\r\n", b"-1\r\n\r\n", b"2\n{}\n0\n\n", b"fffffffffffffffff\r\n"],
)
def test_a26_bad_chunks_are_refused(either: Server, chunks: bytes) -> None:
    """A chunk that ends otherwise than it says: 400, and nothing after it is served."""
    hidden = f"chunked-{time.time_ns()}"
    more = b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
    received = either.raw(login(either, "chunks", more, chunks + auth(either, hidden)))
    assert statuses(received) == [400]
    assert not knows(either, hidden)


@pytest.mark.parametrize(
    "line",
    [
        b"X: a\0b",
        b"X : a",
        b"X: a\r\n folded",
        b": a",
        b"X\x7f: a",
        b"X: a\rb",
        b"X\xff: a",
        b"no colon",
        b"X: a\x1b[0m",
    ],
)
def test_odd_bytes_in_a_header(either: Server, line: bytes) -> None:
    """Control characters, folding, blanks before the colon: 400 or ignored, never taken for another header."""
    received = either.raw(auth(either, "odd-bytes", line + b"\r\nConnection: close\r\n"))
    assert statuses(received) in ([400], [200])
    assert user_ids(received) in ([], [b"odd-bytes"])
    if statuses(received) == [400]:
        assert code_of(received) == "request_invalid"
    assert b"\x1b" not in either.log().encode()


@pytest.mark.parametrize(
    ("request_line", "hosts", "status"),
    [
        (b"GET /auth HTTP/1.1", b"", 400),
        (b"GET /auth HTTP/1.0", b"", 200),
        (b"GET /auth HTTP/1.1", b"Host: a\r\nHost: a\r\n", 401),
        (b"GET /auth HTTP/1.1", b"Host: a@b\r\n", 401),
        (b"GET /messenger/me HTTP/1.1", b"Host: a\r\nHost: b\r\n", 400),
        (b"GET /messenger/me HTTP/1.1", b"Host: a/b\r\n", 400),
        (b"GET /auth?x#y HTTP/1.1", b"Host: g\r\n", 400),
        (b"GET http://g/auth HTTP/1.1", b"Host: g\r\n", 400),
        (b"CONNECT g:80 HTTP/1.1", b"Host: g\r\n", 400),
        (b"GET /auth HTTP/2.0", b"Host: g\r\n", 400),
        (b"GET /auth HTTP/3.7", b"Host: g\r\n", 400),
    ],
)
def test_a21_host_and_target(either: Server, request_line: bytes, hosts: bytes, status: int) -> None:
    """One Host, a target in origin form; each refusal has the code request_invalid."""
    credential = b"Authorization: Bearer %b\r\n" % either.token("host").encode()
    received = either.raw(b"%b\r\n%b%bConnection: close\r\n\r\n" % (request_line, hosts, credential))
    assert statuses(received) == [status]
    if status != 200:
        assert code_of(received) == "request_invalid"


def test_a21_no_redirect_is_made_of_a_host(either: Server) -> None:
    """Another spelling of a path is nothing; in no answer does the client's Host stand."""
    for path in (b"/healthz/", b"/readyz/", b"//healthz", b"/contacts/", b"/contacts"):
        for admin in (False, True):
            received = either.raw(
                b"GET %b HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n" % path, admin=admin
            )
            assert statuses(received) in ([404], [401])
            assert b"evil.example" not in received


def test_what_is_no_http_waits_for_the_answer_that_is_owed(either: Server) -> None:
    """Garbage behind a first login that is under way: that login is answered, then the connection ends."""
    name = f"owed-{time.time_ns()}"
    received = either.raw(auth(either, name) + b"\x00\x01 garbage\r\n\r\n")
    assert statuses(received) in ([200], [200, 400])
    assert user_ids(received) == [name.encode()]


def test_a_client_that_goes_away(either: Server) -> None:
    """In the head, in a body, with answers under way: nothing half is decided, and no fault is logged (B17)."""
    before = either.log().count('"level": "error"')
    unfinished = login(either, "gone-half", b"Content-Type: application/json\r\nContent-Length: 500\r\n", b"{")
    waiting = b"".join(auth(either, f"gone-{number}-{time.time_ns()}") for number in range(5))
    for request in (b"GET /au", unfinished, waiting, waiting + unfinished, auth(either, f"gone-{time.time_ns()}")):
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", either.port), timeout=10) as connection:
                connection.sendall(request)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert either.login(either.token("still-here")).status == 200
    assert not knows(either, "gone-half")
    assert either.log().count('"level": "error"') == before


def test_many_small_heads_in_one_packet_are_no_large_head(either: Server) -> None:
    """A packet that holds 200 KB of whole requests and the beginning of another is fine."""
    one = auth(either, "packet")
    whole = one * (200_000 // len(one))
    with socket.create_connection(("127.0.0.1", either.port), timeout=10) as connection:
        connection.sendall(whole + one[:-20])
        received = b""
        while len(statuses(received)) < whole.count(one):
            received += connection.recv(1_000_000)
        connection.sendall(one[-20:])
        received += connection.recv(1_000_000)
    assert set(statuses(received)) == {200}


def test_b10_parallel_tokens_never_share_an_answer(either: Server) -> None:
    """40 people, each five times, from 40 connections at once: every answer is the asker's own."""
    tokens = {f"parallel-{number}": either.token(f"parallel-{number}") for number in range(40)}

    def ask(name: str) -> tuple[str, str, str]:
        reply = either.request("GET", "/auth", tokens[name])
        return name, reply.headers["x-user-id"], reply.headers["x-contact-id"]

    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(ask, [*tokens] * 5))
    assert all(name == user_id for name, user_id, _ in answers)
    assert len({(user_id, contact_id) for _, user_id, contact_id in answers}) == 40


def test_b17_mangled_requests_never_make_a_fault(either: Server) -> None:
    """500 requests with bytes changed, dropped and doubled: never a 5xx, no fault in the log, nobody but the named."""
    rng = random.Random(13)
    body = b'{"intercom_user_jwt": "%b", "app_id": "acme"}' % either.token("mangled").encode()
    sized = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    whole = [auth(either, "mangled"), login(either, "mangled"), login(either, "mangled", sized, body), HEALTH]
    faults = either.log().count('"level": "error"')
    for _ in range(500):
        request = bytearray(b"".join(rng.choices(whole, k=rng.randint(1, 3))))
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(request))
            mangle = rng.choice(["change", "drop", "double", "insert"])
            if mangle == "change":
                request[place] = rng.randrange(256)
            elif mangle == "drop":
                del request[place : place + rng.randint(1, 30)]
            elif mangle == "double":
                request[place:place] = request[place : place + 50]
            else:
                request[place:place] = rng.choice(
                    [b"\r\n", b"\0", b"Host: x\r\n", b"Transfer-Encoding: chunked\r\n", b": "]
                )
        with socket.create_connection(("127.0.0.1", either.port), timeout=10) as connection:
            received = b""
            with contextlib.suppress(ConnectionError):
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                while chunk := connection.recv(65536):
                    received += chunk
        assert not [status for status in statuses(received) if status >= 500], bytes(request)
        assert set(user_ids(received)) <= {b"mangled"}, bytes(request)
    assert either.log().count('"level": "error"') == faults
    assert either.request("GET", "/healthz").status == 200


class _Faulty(Me):
    """An address with a bug."""

    def presented(self, request: Request, head: Head) -> Presented:
        raise ValueError(f"what {head.token!r} must not say of {request.method!r}")


class _FaultyForwardAuth(ForwardAuth, _Faulty):
    """The same bug where a proxy asks."""

    presented = _Faulty.presented


@pytest.fixture(name="faulty_decision")
def _faulty_decision() -> Decision:
    authenticator: Authenticator = None  # type: ignore[assignment]  # the bug comes before it
    endings = [_Faulty(), _FaultyForwardAuth(IdentityHeaders())]
    return Decision(authenticator, endings, Problems(lambda count: b"r" * count))


async def nothing(*_arguments: object) -> None:
    """An application that is never asked."""


@contextlib.contextmanager
def served(decision: Decision, *, lane: bool) -> Iterator[int]:
    """A listener over this decision."""
    chosen = express_protocol(decision) if lane else StrictProtocol
    config: Config = listener_config(DecisionCarrier(nothing, decision), chosen, drain_seconds=1)
    with running_app(config) as port:
        yield port


@pytest.mark.parametrize(("path", "status"), [(b"/messenger/me", 500), (b"/auth", 503)])
def test_r12_a_bug_is_a_failure_without_a_word(
    faulty_decision: Decision, caplog: pytest.LogCaptureFixture, path: bytes, status: int
) -> None:
    """The same bytes from both carriers, no exception's words, the log's request id; a proxy gets one of its own."""
    answers = []
    for lane in (True, False):
        with served(faulty_decision, lane=lane) as port, socket.create_connection(("127.0.0.1", port)) as connection:
            answer = exchange(connection, b"GET %b HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer s3cret\r\n\r\n" % path)
            answers.append(re.sub(rb"date: [^\r]*", b"", answer))
    assert answers[0] == answers[1]
    assert statuses(answers[0]) == [status]
    assert b"s3cret" not in answers[0]
    assert {getattr(record, "request_id", None) for record in caplog.records} >= {(b"r" * 8).hex()}


@pytest.mark.parametrize("lane", [True, False])
@pytest.mark.parametrize(
    "begun", [b"", b"\r\n", b"GET /messenger/me HT", b"POST /x HTTP/1.1\r\nHost: g\r\nContent-Length: 9\r\n\r\n{"]
)
def test_r27_a_request_that_does_not_arrive_is_cut_off(
    faulty_decision: Decision, monkeypatch: pytest.MonkeyPatch, lane: bool, begun: bytes
) -> None:
    """Silence, half a head, half a body: the connection ends after the time that a request has."""
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.2)
    with served(faulty_decision, lane=lane) as port:
        connection = socket.create_connection(("127.0.0.1", port), timeout=20)
        with connection, contextlib.suppress(ConnectionResetError):
            connection.sendall(begun)
            while connection.recv(65536):
                pass


@pytest.mark.parametrize("lane", [True, False])
def test_r27_a_client_that_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch, lane: bool) -> None:
    """Requests without end, no answer read: the server stops reading, keeps little, and ends the connection."""
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.2)
    requests = b"GET /messenger/me HTTP/1.1\r\nHost: g\r\n\r\n" * 1000
    authenticator: Authenticator = None  # type: ignore[assignment]  # who presents nothing never gets there
    with served(Decision(authenticator, [Me()], Problems(os.urandom)), lane=lane) as port:
        connection = socket.create_connection(("127.0.0.1", port), timeout=20)
        with connection, contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for _ in range(10_000):
                connection.sendall(requests)
            raise AssertionError("everything was taken")


@pytest.mark.parametrize("lane", [True, False])
def test_a_connection_that_idles_is_closed(
    faulty_decision: Decision, monkeypatch: pytest.MonkeyPatch, lane: bool
) -> None:
    """It is kept for the next request, and not for ever."""
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.2)
    with (
        served(faulty_decision, lane=lane) as port,
        socket.create_connection(("127.0.0.1", port), timeout=20) as connection,
    ):
        for _ in range(2):
            assert statuses(exchange(connection, b"GET /messenger/me HTTP/1.1\r\nHost: g\r\n\r\n")) == [500]
        assert connection.recv(65536) == b""
