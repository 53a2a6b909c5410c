"""WebSockets through a real gateway: everything that one side says reaches the other, until the identity ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close

from tests.web.conftest import running_gateway, workers_of
from tests.web.proxy.conftest import CARRIERS, fields_of, until
from tests.web.proxy.streaming import ENDINGS, GATEWAYS, PATIENCE, Streaming, streaming_gateway, token_for
from tests.web.proxy.upstream import saying, scripted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.sync.client import ClientConnection
    from websockets.sync.server import ServerConnection

    from tests.web.proxy.upstream import ScriptedUpstream

MIB = 1024 * 1024
_HANDSHAKE = (
    *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


@pytest.fixture(name="streaming", scope="module", params=CARRIERS)
def _streaming(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Streaming]:
    with streaming_gateway(tmp_path_factory.mktemp("sockets"), lane=CARRIERS[request.param]) as streaming:
        yield streaming


@pytest.fixture(name="everywhere", scope="module", params=GATEWAYS)
def _everywhere(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Streaming]:
    """For what one process decides and the other hears."""
    with streaming_gateway(tmp_path_factory.mktemp("sockets-everywhere"), **GATEWAYS[request.param]) as streaming:
        yield streaming


@pytest.fixture(autouse=True)
def _calm(request: pytest.FixtureRequest) -> None:
    """Each test begins with an upstream that echoes, and of which nothing is remembered."""
    for name in {"streaming", "everywhere"} & set(request.fixturenames):
        request.getfixturevalue(name).sockets.forget()


def closed(client: ClientConnection) -> Close | None:
    """Wait for the end, and say how the other side closed; None when it did not."""
    try:
        while True:
            client.recv(timeout=PATIENCE)
    except ConnectionClosed as end:
        return end.rcvd


def refused(streaming: Streaming, token: str | None, path: str = "/ws/one", **options: Any) -> Any:
    """The answer to a handshake that is refused."""
    with pytest.raises(InvalidStatus) as refusal, streaming.socket(token, path, **options):
        pass
    return refusal.value.response


# What is handed on.


def test_text_and_bytes_both_ways(streaming: Streaming) -> None:
    with streaming.socket(streaming.server.token("talker")) as client:
        for message in ("hello", "", "žluťoučký 張 🙂", b"\x00\xff", b"", "x" * MIB, os.urandom(MIB)):
            client.send(message)
            assert client.recv(timeout=PATIENCE) == message
        client.send(["in ", "pieces, ", "", "of which", " one is empty"])
        assert client.recv(timeout=PATIENCE) == "in pieces, of which one is empty"
        client.send([b"\x00", b"\x01" * MIB, b"\x02"])
        assert client.recv(timeout=PATIENCE) == b"\x00" + b"\x01" * MIB + b"\x02"


def test_the_upstreams_pieces_arrive_as_one_message(streaming: Streaming) -> None:
    def handler(connection: ServerConnection) -> None:
        connection.send(["a", "b", "c"])
        connection.recv()

    streaming.sockets.handler = handler
    with streaming.socket(streaming.server.token("talker")) as client:
        assert client.recv(timeout=PATIENCE) == "abc"


def test_16_mib_and_one_byte_more(streaming: Streaming) -> None:
    """16 MiB pass both ways; a byte more ends the socket with 1009, and both sides hear of it."""
    with streaming.socket(streaming.server.token("large")) as client:
        client.send(b"x" * (16 * MIB))
        assert client.recv(timeout=PATIENCE) == b"x" * (16 * MIB)
        with contextlib.suppress(ConnectionClosed):
            client.send(b"x" * (16 * MIB + 1))
        assert closed(client).code == 1009  # type: ignore[union-attr]  # None would fail as well
    assert streaming.sockets.end()[0] == 1009

    streaming.sockets.handler = lambda connection: connection.send(b"x" * (16 * MIB + 1))
    with streaming.socket(streaming.server.token("large")) as client:
        assert closed(client).code == 1009  # type: ignore[union-attr]  # as above
    assert streaming.sockets.end()[0] == 1009


def test_a_message_of_pieces_is_counted_whole(streaming: Streaming) -> None:
    """16 MiB in many pieces are still too much with one byte more."""
    with streaming.socket(streaming.server.token("large")) as client:
        with contextlib.suppress(ConnectionClosed):
            client.send([b"x" * MIB] * 16 + [b"x"])
        assert closed(client).code == 1009  # type: ignore[union-attr]  # None would fail as well


def test_pings_are_answered_on_both_sides(streaming: Streaming) -> None:
    def handler(connection: ServerConnection) -> None:
        assert connection.ping(b"from the upstream").wait(PATIENCE)
        connection.send("answered")
        connection.recv()

    streaming.sockets.handler = handler
    with streaming.socket(streaming.server.token("pinger")) as client:
        assert client.ping(b"from the client").wait(PATIENCE)
        assert client.recv(timeout=PATIENCE) == "answered"


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1000, "bye"), (1001, "away"), (3000, "ž"), (4999, "x" * 123)]
)
def test_codes_and_reasons_both_ways(streaming: Streaming, code: int, reason: str) -> None:
    with streaming.socket(streaming.server.token("closer")) as client:
        client.close(code, reason)
    assert streaming.sockets.end() == (code, reason)

    def handler(connection: ServerConnection) -> None:
        connection.send("last words")
        connection.close(code, reason)

    streaming.sockets.handler = handler
    with streaming.socket(streaming.server.token("closer")) as client:
        assert client.recv(timeout=PATIENCE) == "last words"
        assert closed(client) == Close(code, reason)


def test_what_was_sent_before_the_end_arrives(streaming: Streaming) -> None:
    received: list[str | bytes] = []
    streaming.sockets.handler = received.extend
    with streaming.socket(streaming.server.token("hasty")) as client:
        for number in range(500):
            client.send(str(number))
        client.close()
    assert streaming.sockets.end()[0] == 1000
    assert received == [str(number) for number in range(500)]


def test_an_upstream_that_is_gone_is_1011(streaming: Streaming) -> None:
    """Nobody said goodbye, and the client is told so."""
    streaming.sockets.handler = lambda connection: connection.socket.shutdown(socket.SHUT_RDWR)
    with streaming.socket(streaming.server.token("left")) as client:
        assert closed(client) == Close(1011, "")


def test_a_client_that_vanishes_closes_the_upstreams_socket(streaming: Streaming) -> None:
    with streaming.socket(streaming.server.token("vanishes")) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.socket.shutdown(socket.SHUT_RDWR)
        assert streaming.sockets.end()[0] == 1001


def test_a_client_that_vanishes_while_the_upstream_sends(streaming: Streaming) -> None:
    """Also one that only stops to send, and reads nothing of the much that waits for it."""

    def handler(connection: ServerConnection) -> None:
        while True:
            connection.send(b"x" * 100_000)

    streaming.sockets.handler = handler
    for how in (socket.SHUT_WR, socket.SHUT_RDWR):
        with upgraded(
            streaming, "/ws/one", f"Authorization: Bearer {streaming.server.token('vanishes')}"
        ) as connection:
            connection.recv(100_000)
            connection.shutdown(how)
            assert streaming.sockets.end()[0] in {1001, 1006}  # nothing is read behind so much that is unread


# Who may come, and what the upstream hears of it.


@pytest.mark.parametrize("where", ["header", "cookie", "subprotocol", "Subprotocol in another case", "all of them"])
def test_a_token_may_come_in_three_ways(streaming: Streaming, where: str) -> None:
    """The upstream gets the identity, never the token; nor does the answer, nor the log."""
    token = streaming.server.token(f"by-{where.split(maxsplit=1)[0]}")
    headers = {}
    options: dict[str, Any] = {}
    if where in {"cookie", "all of them"}:
        headers["Cookie"] = f"theme=dark; session={token}; lang=cs"
    if where in {"subprotocol", "all of them"}:
        options["subprotocols"] = ["identity", f"bearer.{token}"]
    if where == "Subprotocol in another case":
        options["subprotocols"] = ["identity", f"BEARER.{token}"]
    in_header = token if where in {"header", "all of them"} else None
    with streaming.socket(in_header, headers=headers, **options) as client:
        request = streaming.sockets.next().request
        assert request is not None
        assert request.headers["X-User-Id"] == f"by-{where.split(maxsplit=1)[0]}"
        assert client.subprotocol == ("identity" if options else None)
        told = [*request.headers.raw_items(), *client.response.headers.raw_items()]  # type: ignore[union-attr]  # open
        assert not any(token in value or token.split(".")[2] in value for _, value in told)
        assert request.headers.get("Cookie") == ("theme=dark; lang=cs" if "Cookie" in headers else None)
        assert "Sec-WebSocket-Protocol" not in request.headers
    assert token.split(".")[2] not in streaming.server.log()


def test_b08_two_different_tokens_are_refused(streaming: Streaming) -> None:
    """Whatever two ways they come; a good one beside a bad one, too."""
    first, second = streaming.server.token("first"), streaming.server.token("second")
    for options in (
        {"headers": {"Cookie": f"session={second}"}},
        {"subprotocols": [f"bearer.{second}"]},
        {"subprotocols": ["bearer."]},
        {"headers": {"Cookie": f"session={first}; session={second}"}},
    ):
        response = refused(streaming, first, **options)
        assert (response.status_code, b"credentials_conflict" in response.body) == (400, True)


def test_c10_another_sites_page_opens_no_socket_with_its_visitors_cookie(streaming: Streaming) -> None:
    """RFC 6455 section 10.2: a cookie comes along whoever asks, so `Origin` must be ours, or one that is named."""
    token = streaming.server.token("visitor")
    host = f"127.0.0.1:{streaming.server.port}"
    cookie = {"Cookie": f"session={token}"}
    for origin in ("https://evil.example", f"http://{host}.evil.example", "http://127.0.0.1", "null", host, "https://"):
        response = refused(streaming, None, headers={**cookie, "Origin": origin})
        assert (response.status_code, b'"field":"origin"' in response.body) == (400, True), origin
        response = refused(streaming, token, headers={**cookie, "Origin": origin})
        assert response.status_code == 400
    assert streaming.sockets.opened.empty()
    for origin in (f"http://{host}", f"HTTPS://{host}", "https://friend.example"):
        with streaming.socket(None, headers={**cookie, "Origin": origin}) as client:
            client.send("mine")
            assert client.recv(timeout=PATIENCE) == "mine"
    # What no browser adds by itself proves who asks, whatever the page.
    with streaming.socket(token, headers={"Origin": "https://evil.example"}) as client:
        client.send("mine")
        assert client.recv(timeout=PATIENCE) == "mine"


def test_subprotocols_are_the_upstreams_choice(streaming: Streaming) -> None:
    """Its choice reaches the client; `identity` is ours, and chosen only where it chose none."""
    token = streaming.server.token("chooser")
    for offered, sent, chosen in (
        (["other", "chat"], "other, chat", "chat"),
        (["strange"], "strange", None),
        (["identity", f"bearer.{token}", "chat"], "chat", "chat"),
        (["identity", f"bearer.{token}", "strange"], "strange", "identity"),
        (["identity", f"bearer.{token}"], None, "identity"),
    ):
        with streaming.socket(token, subprotocols=offered) as client:
            assert client.subprotocol == chosen
            assert streaming.sockets.next().request.headers.get("Sec-WebSocket-Protocol") == sent  # type: ignore[union-attr]  # it has one


def test_b01_no_spoofed_identity_arrives(streaming: Streaming) -> None:
    """Every spelling, duplicates, nominated by `Connection`; for nobody on an optional and a public route, too."""
    spoofed = [
        *("X-Contact-Id", "x_contact_id", "X.Contact.Id", "X-USER-ID", "x-user_email", "X-Identity-Matched-By"),
        *(
            "X-Forwarded-User",
            "x_forwarded_user",
            "X-Forwarded-Email",
            "X-Identity-Assertion",
            "X-Real-IP",
            "Forwarded",
        ),
    ]
    token = streaming.server.token("honest", email="honest@example.com")
    for path, credential in (
        ("/ws/one", token),
        ("/optional-ws/one", token),
        ("/optional-ws/one", None),
        ("/public-ws/one", token),
    ):
        fields = [f"{name}: forged" for name in spoofed] * 2
        fields += [f"Authorization: Bearer {credential}"] if credential else []
        with upgraded(streaming, path, *fields, connection="Upgrade, X-Contact-Id, X-User-Id, X-Forwarded-For") as _:
            headers = list(streaming.sockets.next().request.headers.raw_items())  # type: ignore[union-attr]  # it has one
        assert not any("forged" in value for _, value in headers)
        assert not any("authorization" in name.lower() for name, _ in headers)
        identity = {name.lower(): value for name, value in headers if "user" in name or "contact" in name}
        known = credential is not None and not path.startswith("/public")
        assert identity.get("x-user-id") == ("honest" if known else None)
        assert ("x-contact-id" in identity) == known


def test_origin_cookies_and_query_go_on_untouched(streaming: Streaming) -> None:
    query = "a=1&b=%2F..%2f&c=x;y&d=http://[::1&e=%25%00&&=?"
    fields = ("Origin: https://chat.acme.example", "Cookie: a=1; b=2", "Accept-Language: cs", "User-Agent: own/1")
    token = streaming.server.token("exact")
    path = "/ws/a%20b/~!$&'()*+,=:@"
    with upgraded(streaming, f"{path}?{query}", *fields, f"Authorization: Bearer {token}", host="Chat.ACME.example:80"):
        request = streaming.sockets.next().request
    assert request is not None
    assert request.path == f"{path}?{query}"
    assert request.headers.get_all("Host") == ["Chat.ACME.example:80"]
    for field in fields:
        name, _, value = field.partition(": ")
        assert request.headers.get_all(name) == [value]


def test_the_upstreams_own_fields_come_back(streaming: Streaming, tmp_path: Path) -> None:
    """Its cookies, but none of ours that it could forge, nor what is negotiated with us."""
    answer = (
        b"HTTP/1.1 403 Sorry\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Contact-Id: forged\r\nX-Why: because\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n4\r\nsorr\r\n1\r\ny\r\n0\r\n\r\n"
    )
    del streaming
    with scripted(saying(answer)) as upstream, single(tmp_path, upstream) as gateway:
        response = refused(gateway, gateway.server.token("refused"))
        assert (response.status_code, response.reason_phrase, bytes(response.body)) == (403, "Forbidden", b"sorry")
        assert response.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
        assert response.headers["X-Why"] == "because"
        assert "X-Contact-Id" not in response.headers
        assert response.headers.get_all("Content-Length") == ["5"]


# Refusals before the upgrade.


def test_refusals_are_real_statuses(streaming: Streaming) -> None:
    """With the problem body, the challenge, and no WebSocket."""
    server = streaming.server
    blocked = server.token("blocked-before")
    assert server.admin("POST", f"/contacts/{streaming.contact_id(blocked)}/block").status == 200
    for token, path, status, code in (
        (None, "/ws/one", 401, b"credentials_missing"),
        ("not.a.token", "/ws/one", 401, b"token_malformed"),
        (server.token("late", ttl=-3600, iat=int(time.time()) - 7200), "/ws/one", 401, b"token_expired"),
        ("not.a.token", "/optional-ws/one", 401, b"token_malformed"),
        (blocked, "/ws/one", 403, b"contact_blocked"),
        (server.token("undefined"), "/ws/one", 422, b"user_id_placeholder"),
        (server.token("lost"), "/nowhere", 404, b"request_invalid"),
        (server.token("lost"), "/messenger/login", 404, b"request_invalid"),
        (server.token("lost"), "/healthz", 404, b"request_invalid"),
    ):
        response = refused(streaming, token, path)
        assert (response.status_code, code in response.body) == (status, True)
        assert response.headers["Content-Type"] == "application/problem+json"
        assert ("WWW-Authenticate" in response.headers) == (status == 401)
    assert streaming.sockets.opened.empty()


@pytest.mark.parametrize(
    "path",
    [
        *("/ws/../admin", "/ws/%2e%2e/admin", "/ws//one", "/ws/%2fone", "/ws/a%5cb", "/ws/.", "/ws/%252e%252e/x"),
        *("/ws/a;b", "/ws/%41", "/ws\\one", "//ws/one", "/ws/%00", "/ws/%zz"),
    ],
)
def test_b06_a_path_in_another_spelling_is_refused(streaming: Streaming, path: str) -> None:
    """As for other requests: nothing that a server behind us could read as another path."""
    with handshake(streaming, path, f"Authorization: Bearer {streaming.server.token('paths')}") as (_, head):
        assert head.startswith(b"HTTP/1.1 400 ")
    assert streaming.sockets.opened.empty()


def test_an_upstream_that_is_down_or_silent(tmp_path: Path) -> None:
    """502 where nobody listens, or where it is no HTTP; 504 where nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent, scripted(saying(b"junk\r\n\r\n", close=True)) as junk:
        with socket.create_server(("127.0.0.1", 0)) as closed_again:
            nobody = closed_again.getsockname()[1]
        urls = {
            "silent": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "junk": junk.url,
            "nobody": f"http://127.0.0.1:{nobody}",
        }
        routes = "".join(
            f'[[workspaces.acme.routes]]\nprefix = "/{name}/"\nupstream = "{url}"\nfirst_byte_timeout = 1\n'
            for name, url in urls.items()
        )
        with running_gateway(tmp_path, extra=routes) as server:
            streaming = Streaming(server, junk, None)  # type: ignore[arg-type]  # no WebSockets here
            for name, status in (("silent", 504), ("junk", 502), ("nobody", 502)):
                response = refused(streaming, server.token("waits"), f"/{name}/one")
                assert (response.status_code, response.headers["Content-Type"]) == (status, "application/problem+json")


def test_another_upstream_takes_over(streaming: Streaming, tmp_path: Path) -> None:
    """Of several, one that cannot be reached is passed over."""
    with socket.create_server(("127.0.0.1", 0)) as closed_again:
        nobody = closed_again.getsockname()[1]
    urls = f'["http://127.0.0.1:{nobody}", "http://127.0.0.1:{streaming.sockets.port}"]'
    with running_gateway(tmp_path, extra=f'[[workspaces.acme.routes]]\nprefix = "/ws/"\nupstream = {urls}\n') as server:
        one = Streaming(server, streaming.upstream, streaming.sockets)
        for _ in range(4):
            with one.socket(server.token("persistent")) as client:
                client.send("hello")
                assert client.recv(timeout=PATIENCE) == "hello"


@pytest.mark.parametrize("status", [200, 302, 401, 403, 404, 426, 429, 500, 503])
def test_the_upstreams_own_refusal_passes_through(status: int, redirecting: Streaming) -> None:
    """With its body; a redirect is not followed, for its target was never matched, and may be anywhere."""
    elsewhere = f"http://127.0.0.1:{redirecting.upstream.port}/ws/elsewhere"
    redirecting.upstream.answer = saying(
        b"HTTP/1.1 %d Own\r\nLocation: %b\r\nContent-Type: text/x-own\r\nContent-Length: 3\r\n\r\nown"
        % (status, elsewhere.encode())
    )
    before = redirecting.upstream.connections
    token = redirecting.server.token("refused")
    with handshake(redirecting, "/ws/one", f"Authorization: Bearer {token}") as (connection, head):
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert (
            fields_of(head).count(("location", elsewhere)) == fields_of(head).count(("content-type", "text/x-own")) == 1
        )
        assert read_all(connection) == b"own"
    assert redirecting.upstream.connections == before + 1


def test_an_upgrade_that_is_none_is_502(redirecting: Streaming) -> None:
    """A 101 that does not answer the key, an interim answer, a subprotocol that nobody offered."""
    for answer in (
        b"HTTP/1.1 101 Other\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA=\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n",
        b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 400 Bad\r\nContent-Length: 99999999\r\n\r\n",
    ):
        redirecting.upstream.answer = saying(answer, close=True)
        response = refused(redirecting, redirecting.server.token("refused"))
        assert (response.status_code, b"upstream_unavailable" in response.body) == (502, True)


@pytest.fixture(name="redirecting", scope="module")
def _redirecting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Streaming]:
    with scripted(saying(b"")) as upstream, single(tmp_path_factory.mktemp("single"), upstream) as streaming:
        yield streaming


def test_handshakes_that_are_none(streaming: Streaming) -> None:
    """Each is answered, and its connection closed: uvicorn would say nothing to most of them, and wait for ever."""
    bearer = f"Authorization: Bearer {streaming.server.token('odd')}"
    long = "X-Long: " + "x" * 9000
    for line, fields, statuses in (
        ("POST /ws/one HTTP/1.1", _HANDSHAKE, {b"400", b"405"}),
        ("GET /ws/one HTTP/1.1", (*_HANDSHAKE, long), {b"400"}),
        ("GET /ws/one HTTP/1.1", (*_HANDSHAKE, *(f"X-{number}: 1" for number in range(130))), {b"400"}),
        ("GET /ws/one HTTP/1.1", _HANDSHAKE[:3], {b"400"}),
        ("GET /ws/one HTTP/1.1", (*_HANDSHAKE[:2], "Sec-WebSocket-Version: 8", _HANDSHAKE[3]), {b"400", b"426"}),
        ("GET /ws/one HTTP/1.1", (*_HANDSHAKE, "Origin: a", "Origin: b"), {b"400", b"403"}),
    ):
        lines = [line, "Host: gateway", bearer, *fields, "", ""]
        with connected(streaming) as connection:
            connection.sendall("\r\n".join(lines).encode())
            assert read_all(connection).split(b" ", 2)[1] in statuses
    assert streaming.sockets.opened.empty()
    assert '"level": "error"' not in streaming.server.log()


def test_a26_what_follows_an_upgrade_is_not_served(streaming: Streaming) -> None:
    """A request behind a handshake, accepted or refused, is nobody's."""
    server = streaming.server
    for token, begin in ((server.token("smuggler"), b"HTTP/1.1 101 "), (None, b"HTTP/1.1 401 ")):
        fields = [f"Authorization: Bearer {token}"] if token else []
        hidden = f"GET /messenger/me HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {server.token('hidden')}\r\n\r\n"
        with connected(streaming) as connection:
            lines = ["GET /ws/one HTTP/1.1", "Host: gateway", *_HANDSHAKE, *fields, "", hidden]
            connection.sendall("\r\n".join(lines).encode())
            connection.settimeout(2)
            received = read_all(connection)
            assert received.startswith(begin)
            assert received.count(b"HTTP/1.1 ") == 1
            assert b"hidden" not in received


def test_a26_no_upgrade_behind_a_request_that_is_not_answered(streaming: Streaming) -> None:
    """Its answer would be written between the frames."""
    release = threading.Event()

    def slow(connection: socket.socket, _head: bytes) -> None:
        release.wait(PATIENCE)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")

    streaming.upstream.answer = slow
    bearer = f"Authorization: Bearer {streaming.server.token('pipelining')}"
    with connected(streaming) as connection:
        first = ["GET /chat/slow HTTP/1.1", "Host: gateway", bearer, "", ""]
        second = ["GET /ws/one HTTP/1.1", "Host: gateway", bearer, *_HANDSHAKE, "", ""]
        connection.sendall("\r\n".join([*first[:-1], *second]).encode())
        release.set()
        received = read_all(connection)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"slow" in received
    assert b" 101 " not in received


def test_the_admin_listener_has_no_websockets(streaming: Streaming) -> None:
    with socket.create_connection(("127.0.0.1", streaming.server.admin_port), timeout=PATIENCE) as connection:
        connection.sendall("\r\n".join(["GET /ws/one HTTP/1.1", "Host: g", *_HANDSHAKE, "", ""]).encode())
        assert read_all(connection).startswith(b"HTTP/1.1 401 ")


# Back-pressure, and what must not grow.


def test_a_client_that_does_not_read_stops_the_upstream(streaming: Streaming) -> None:
    """The upstream gets as far as the buffers of the sockets between them, and no further; nothing is lost."""
    sent = [0]

    def handler(connection: ServerConnection) -> None:
        for number in range(4096):
            connection.send(number.to_bytes(4) * 16_384)
            sent[0] = number + 1

    streaming.sockets.handler = handler
    with streaming.socket(streaming.server.token("slow-reader"), max_queue=1) as client:
        settled(sent)
        assert sent[0] < 1024  # of 64 KiB each: a quarter of what there is
        for number in range(4096):
            assert client.recv(timeout=PATIENCE) == number.to_bytes(4) * 16_384
        assert closed(client) == Close(1000, "")


def test_an_upstream_that_does_not_read_stops_the_client(streaming: Streaming) -> None:
    release, received = threading.Event(), [0]

    def handler(connection: ServerConnection) -> None:
        release.wait(PATIENCE)
        for message in connection:
            assert message == received[0].to_bytes(4) * 16_384
            received[0] += 1

    streaming.sockets.handler = handler
    sent = [0]

    def send(client: ClientConnection) -> None:
        for number in range(4096):
            client.send(number.to_bytes(4) * 16_384)
            sent[0] = number + 1

    with streaming.socket(streaming.server.token("fast-writer")) as client:
        sending = threading.Thread(target=send, args=(client,))
        sending.start()
        settled(sent)
        assert sent[0] < 1024
        release.set()
        sending.join(PATIENCE)
        client.close()
    assert streaming.sockets.end()[0] == 1000
    assert received == [4096]


def test_a_message_of_many_pieces_takes_the_memory_of_its_bytes(streaming: Streaming) -> None:
    """Half a million pieces of two bytes: 1 MB. uvicorn keeps each, in 25 MB, and of empty ones any number."""
    with upgraded(streaming, "/ws/one", f"Authorization: Bearer {streaming.server.token('pieces')}") as connection:
        before = memory_of(streaming)
        connection.sendall(frame(0x2, b"begin", fin=False))
        for _ in range(8):
            connection.sendall(frame(0x0, b"xx", fin=False) * 65_536)
            connection.sendall(frame(0x0, b"", fin=False) * 10_000)
        connection.sendall(frame(0x9, b"through"))
        while next_frame(connection) != (0xA, b"through"):
            pass
        assert memory_of(streaming) - before < 12 * MIB


def test_pings_of_a_client_that_reads_no_pong_take_no_memory(streaming: Streaming) -> None:
    """60 MB of them."""
    with upgraded(streaming, "/ws/one", f"Authorization: Bearer {streaming.server.token('pings')}") as connection:
        connection.sendall(frame(0x1, b"hello"))
        assert next_frame(connection) == (0x1, b"hello")
        before = memory_of(streaming)
        many = frame(0x9, b"x" * 125) * 7_500
        for _ in range(60):
            connection.sendall(many)
        assert memory_of(streaming) - before < 24 * MIB


def test_two_hundred_sockets_leave_nothing_behind(everywhere: Streaming) -> None:
    """Opened, used and ended in every way: no connection stays, on either side."""
    token = everywhere.server.token("many")
    before = connections_of(everywhere)
    for _ in range(10):
        clients, upstreams = [], []
        for _ in range(20):
            clients.append(everywhere.socket(token))
            upstreams.append(everywhere.sockets.next())
        for number, (client, upstream) in enumerate(zip(clients, upstreams, strict=True)):
            client.send("hello")
            assert client.recv(timeout=PATIENCE) == "hello"
            if number % 4 == 0:
                client.close()
            elif number % 4 == 1:
                client.socket.shutdown(socket.SHUT_RDWR)
            elif number % 4 == 2:
                threading.Thread(target=upstream.close).start()
            else:
                upstream.socket.shutdown(socket.SHUT_RDWR)
        for client in clients:
            client.close()
        for _ in clients:
            everywhere.sockets.end()
    until(lambda: connections_of(everywhere) <= before)
    assert '"level": "error"' not in everywhere.server.log()


def test_a_handshake_that_never_ends_is_cut(streaming: Streaming) -> None:
    """It is a head as any other: bounded by its size, and by time (tests/web/test_connections.py)."""
    with connected(streaming) as connection:
        connection.sendall(b"GET /ws/one HTTP/1.1\r\nHost: g\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(600):
                connection.sendall(b"X-More: " + b"x" * 1000 + b"\r\n")
        # What it still sends when it is refused may reset the connection before it has read that.
        assert read_all(connection)[:13] in {b"HTTP/1.1 413 ", b""}


# The end of an identity.


@pytest.mark.parametrize("ending", ENDINGS)
def test_b14_a_socket_ends_with_its_identity(everywhere: Streaming, ending: str) -> None:
    """By whatever ends it, in every worker, on both sides, with a code; and whoever reconnects is told why."""
    token = token_for(everywhere.server, ending, "socketed")
    ends_at = int(time.time()) + 8 - 1
    clients = [everywhere.socket(token) for _ in range(8 if ending != "exp and leeway" else 2)]
    for client in clients:
        client.send("hello")
        assert client.recv(timeout=PATIENCE) == "hello"
    ENDINGS[ending].does(everywhere, token)
    expected = Close(ENDINGS[ending].closing_code, "the identity is no longer accepted")
    assert [closed(client) for client in clients] == [expected] * len(clients)
    for _ in clients:
        assert everywhere.sockets.end()[0] == expected.code
    if ending == "exp and leeway":
        assert time.time() >= ends_at
    if ENDINGS[ending].refusal is None:
        with everywhere.socket(token) as client:
            client.send("again")
            assert client.recv(timeout=PATIENCE) == "again"
    else:
        status, code = ENDINGS[ending].refusal  # type: ignore[misc]  # it is not None here
        response = refused(everywhere, token)
        assert (response.status_code, code.encode() in response.body) == (status, True)


def test_b14_nobodys_socket_stays(streaming: Streaming) -> None:
    """On an optional and a public route; another person's, and another token of the same person, too."""
    others = [
        streaming.socket(None, "/optional-ws/one"),
        streaming.socket(None, "/public-ws/one"),
        streaming.socket(streaming.server.token("another-person")),
        streaming.socket(streaming.server.token("ends", jti="another")),
    ]
    token = streaming.server.token("ends")
    with streaming.socket(token) as client:
        ENDINGS["logout"].does(streaming, token)
        assert closed(client).code == 4401  # type: ignore[union-attr]  # None would fail as well
    for other in others:
        other.send("still here")
        assert other.recv(timeout=PATIENCE) == "still here"
        other.close()


def test_b14_a_client_that_does_not_read_keeps_no_identity(streaming: Streaming) -> None:
    """It cannot be told, but its upstream is, at once."""

    def handler(connection: ServerConnection) -> None:
        while True:
            connection.send(b"x" * 100_000)

    streaming.sockets.handler = handler
    token = streaming.server.token("never-reads")
    with upgraded(streaming, "/ws/one", f"Authorization: Bearer {token}") as connection:
        streaming.sockets.next()
        ENDINGS["logout"].does(streaming, token)
        assert streaming.sockets.end()[0] in {4401, 1006}  # the upstream only writes, and may not get to read the code
        connection.settimeout(PATIENCE)
        read_all(connection)  # it ends: nothing waits for it for ever


@pytest.mark.parametrize("workers", [1, 2])
def test_a_restart_is_1012(tmp_path: Path, workers: int) -> None:
    """After the notice, on both sides; a stream of events ends, too, and the gateway with code 0."""
    with streaming_gateway(tmp_path, workers=workers) as streaming:
        token = streaming.server.token("restarted")
        clients = [streaming.socket(token) for _ in range(4)]
        for client in clients:
            client.send("hello")
            assert client.recv(timeout=PATIENCE) == "hello"
        if workers > 1:
            assert len(list(workers_of(streaming.server.pid))) == workers
        os.kill(streaming.server.pid, signal.SIGTERM)
        assert [closed(client).code for client in clients] == [1012] * 4  # type: ignore[union-attr]  # None fails as well
        assert [streaming.sockets.end()[0] for _ in clients] == [1012] * 4
        assert streaming.server.exit_code() == 0
        assert '"level": "error"' not in streaming.server.log()


# By hand.


@contextlib.contextmanager
def single(folder: Path, upstream: ScriptedUpstream) -> Iterator[Streaming]:
    """A gateway before one scripted upstream."""
    route = f'[[workspaces.acme.routes]]\nprefix = "/ws/"\nupstream = "{upstream.url}"\n'
    with running_gateway(folder, extra=route) as server:
        yield Streaming(server, upstream, None)  # type: ignore[arg-type]  # no WebSockets of their own


def connected(streaming: Streaming) -> socket.socket:
    return socket.create_connection(("127.0.0.1", streaming.server.port), timeout=PATIENCE)


@contextlib.contextmanager
def handshake(
    streaming: Streaming, target: str, *fields: str, host: str = "gateway", connection: str = "Upgrade"
) -> Iterator[tuple[socket.socket, bytes]]:
    """A connection whose handshake was sent byte for byte, and the head of its answer."""
    own = [field for field in _HANDSHAKE if not field.startswith("Connection")]
    lines = [f"GET {target} HTTP/1.1", f"Host: {host}", f"Connection: {connection}", *own, *fields, "", ""]
    with connected(streaming) as client:
        client.sendall("\r\n".join(lines).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            byte = client.recv(1)
            assert byte, head
            head += byte
        yield client, head


@contextlib.contextmanager
def upgraded(streaming: Streaming, target: str, *fields: str, **named: str) -> Iterator[socket.socket]:
    """The same, accepted."""
    with handshake(streaming, target, *fields, **named) as (client, head):
        assert head.startswith(b"HTTP/1.1 101 "), head
        yield client


def read_all(connection: socket.socket) -> bytes:
    """Everything until the end, or until nothing comes any more."""
    received = b""
    with contextlib.suppress(TimeoutError, ConnectionResetError):
        while chunk := connection.recv(65536):
            received = (received + chunk)[-MIB:]
    return received


def frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """A client's frame of at most 125 bytes; the mask of zeros leaves it readable (RFC 6455 section 5.2)."""
    return bytes([opcode | (0x80 if fin else 0), 0x80 | len(payload)]) + b"\0\0\0\0" + payload


def next_frame(connection: socket.socket) -> tuple[int, bytes]:
    """The next frame of a server, a short one: its opcode and payload."""
    first, length = connection.recv(2, socket.MSG_WAITALL)
    return first & 0xF, connection.recv(length, socket.MSG_WAITALL) if length else b""


def settled(count: list[int]) -> None:
    """Wait until a count stands still."""
    before = -1
    while before != count[0] or not count[0]:
        before = count[0]
        time.sleep(1)


def _processes(streaming: Streaming) -> list[int]:
    return list(workers_of(streaming.server.pid)) or [streaming.server.pid]


def memory_of(streaming: Streaming) -> int:
    """Resident bytes of the gateway."""
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in _processes(streaming)]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")


def connections_of(streaming: Streaming) -> int:
    """How many sockets the gateway has open."""
    count = 0
    for pid in _processes(streaming):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                count += descriptor.readlink().name.startswith("socket:")
    return count
