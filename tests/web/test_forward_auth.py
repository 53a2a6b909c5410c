"""What proxies send beside the question, and what a client can make them send, changes nothing of `/auth`'s answer.

`/auth` reads no `X-Forwarded-*` and no `X-Original-*` at all: the workspace and the platform stand in its own path,
which the proxy's configuration writes. So there is no peer whose word would have to be trusted for it.
"""

from __future__ import annotations

import contextlib
import re
import socket
from typing import TYPE_CHECKING

import pytest

from tests.web.conftest import free_port, running_gateway
from tests.web.test_one_verdict import VARIES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.web.conftest import Server

MARK = "f0rwarded"
SAID = {
    "Traefik, Caddy": {
        "X-Forwarded-Method": "OPTIONS",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": f"{MARK}.example",
        "X-Forwarded-Uri": f"/public/{MARK}?app_id=other",
        "X-Forwarded-For": "127.0.0.1, 10.0.0.1",
    },
    "a health check": {"X-Forwarded-Uri": "/healthz", "X-Original-URL": "/readyz", "User-Agent": "kube-probe/1.30"},
    "nginx": {"X-Original-URI": "/.well-known/jwks.json", "X-Original-Method": "GET", "X-Real-IP": "127.0.0.1"},
    "Envoy": {
        "X-Envoy-Internal": "true",
        "X-Envoy-Original-Path": "/healthz",
        "X-Envoy-Expected-Rq-Timeout-Ms": "5000",
    },
    "prefixes and ports": {"X-Forwarded-Prefix": f"/{MARK}", "X-Forwarded-Port": "8081", "X-Forwarded-Server": MARK},
    "rewrites": {"X-Rewrite-URL": "/healthz", "X-HTTP-Method-Override": "HEAD", "X-Accel-Redirect": "/healthz"},
    "forwarded": {"Forwarded": f"for=127.0.0.1;host={MARK};proto=https", "Via": "1.1 proxy"},
    "a name": {"X-Forwarded-User": "root", "X-Forwarded-Email": "root@example.com", "X-Contact-Id": "0" * 24},
    "an error": {"X-Identity-Error": "none", "X-Identity-Assertion": "a.b.c"},
    "another credential": {
        "X-Forwarded-Access-Token": MARK,
        "Proxy-Authorization": f"Bearer {MARK}",
        "Cookie": "token=x",
    },
    "an expectation": {"Accept-Encoding": "gzip", "Range": "bytes=0-0", "If-None-Match": "*", "TE": "trailers"},
    "nominated": {"Connection": "close, x-contact-id, x-identity-error, cache-control", "Keep-Alive": "timeout=0"},
}


@pytest.mark.parametrize("proxy", SAID)
def test_b03_b04_r24_nothing_that_is_said_of_a_request_changes_the_answer(either: Server, proxy: str) -> None:
    """Byte for byte the same answer as without, for somebody, a bad token, a bad identity and nobody."""
    token = either.token("forwarded")
    assert either.request("GET", "/auth", token).status == 200
    for path in ("/auth", "/auth/acme", "/auth/acme/ios", "/auth/nobody"):
        for credential in (token, "a.b.c", either.token("undefined"), None):
            lines = [f"GET {path} HTTP/1.1", "Host: gateway"]
            lines += [] if credential is None else [f"Authorization: Bearer {credential}"]
            plain, told = (
                VARIES.sub(b"", either.raw("\r\n".join([*lines, *more, "", ""]).encode()))
                for more in (
                    ["Connection: close"],
                    [f"{name}: {value}" for name, value in ({"Connection": "close"} | SAID[proxy]).items()],
                )
            )
            assert plain == told
            assert re.match(rb"HTTP/1.1 (200|401|403|404) ", plain)
    assert MARK not in either.log()


def test_a_question_may_come_as_every_proxy_puts_it(either: Server) -> None:
    """HTTP/1.0 and 1.1, any method, `Content-Length: 0`, the client's `Host`, its path as a query: one verdict."""
    token = either.token("asked-about").encode()
    questions = [
        b"GET /auth HTTP/1.0\r\nHost: 127.0.0.1:8080\r\nConnection: close\r\n",
        b"GET /auth HTTP/1.0\r\n",
        b"GET /auth HTTP/1.1\r\nhost: 127.0.0.1:8080\r\naccept: */*\r\nuser-agent: HAProxy\r\n",
        b"POST /auth HTTP/1.1\r\nhost: chat.example\r\ncontent-length: 0\r\nx-envoy-internal: true\r\n",
        b"PROPFIND /auth HTTP/1.1\r\nhost: chat.example:8443\r\ncontent-length: 0\r\n",
        b"GET /auth?/chat/1?app_id=other&platform=web HTTP/1.1\r\nhost: [::1]:8443\r\ncontent-length: 0\r\n",
        b"GET /auth HTTP/1.1\r\nHost: a\r\nX-Forwarded-Method: POST\r\nTE: trailers\r\nAccept-Encoding: gzip\r\n",
        b"DELETE /auth HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
        b"GET /auth HTTP/1.1\r\nHost: a\r\nOrigin: null\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
    ]
    for question in questions:
        for lines, answer in ((b"Authorization: Bearer " + token + b"\r\n", b"200"), (b"", b"401")):
            end = b"\r\n" if b"Connection:" in question else b"Connection: close\r\n\r\n"
            received = either.raw(question + lines + end)
            assert received.startswith(b"HTTP/1.1 " + answer), question
            assert (b"x-user-id: asked-about\r\n" in received) == (answer == b"200")
    head = either.raw(b"HEAD /auth HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401")
    assert head.endswith(b"\r\n\r\n")


def _unanswered(server: Server, begin: bytes) -> bytes:
    """What comes within a second in answer to this, on a connection that goes on."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=1) as connection:
        connection.sendall(begin)
        received = b""
        with contextlib.suppress(TimeoutError):
            while chunk := connection.recv(65536):
                received += chunk
        return received


@pytest.mark.parametrize("address", ["GET /auth", "POST /auth", "GET /auth/acme/web", "GET /messenger/me"])
@pytest.mark.parametrize("framing", ["Content-Length: 70", "Content-Length: 100000", "Transfer-Encoding: chunked"])
def test_r25_a_body_that_was_left_out_gets_no_answer(either: Server, address: str, framing: str) -> None:
    """A proxy that announces a body and leaves it out would else take the next answer for that of its next question.

    `proxy_pass_request_body off` without an empty `Content-Length`, over kept connections: a client chooses the length,
    and so where in the next one's question the next request begins.
    """
    credential = f"Authorization: Bearer {either.token('first')}"
    begin = f"{address} HTTP/1.1\r\nHost: gateway\r\n{credential}\r\n{framing}\r\n\r\n".encode()
    assert _unanswered(either, begin) == b""
    length = int(framing.rpartition(" ")[2]) if "Length" in framing else 0
    body = b"x" * length if length else b"1\r\nx\r\n0\r\n\r\n"
    other = (
        f"GET /auth HTTP/1.1\r\nHost: g\r\nConnection: close\r\nAuthorization: Bearer {either.token('second')}\r\n\r\n"
    )
    received = either.raw(begin + body + other.encode())
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200", b"200"]
    assert received.index(b"first") < received.index(b"x-user-id: second")


@pytest.fixture(scope="module", params=[True, False], ids=["express lane", "ASGI"], name="routed")
def _routed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A gateway that would hand WebSockets on."""
    routes = f'routes = [{{ prefix = "/", upstream = "http://127.0.0.1:{free_port()}" }}]'
    with running_gateway(tmp_path_factory.mktemp("routed"), lane=request.param, extra=routes) as server:
        yield server


def test_the_handshake_of_a_websocket_is_a_question(routed: Server, server: Server) -> None:
    """`Upgrade` copied through to `/auth`: the verdict and no WebSocket, whether there are routes or not."""
    handshake = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    handshake += b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    for running in (routed, server):
        for path in ("/auth", "/auth/acme/web"):
            question = f"GET {path} HTTP/1.1\r\nHost: gateway\r\n".encode()
            token = running.token("on-a-socket").encode()
            passed = running.raw(question + b"Authorization: Bearer " + token + b"\r\n" + handshake)
            assert passed.startswith(b"HTTP/1.1 200")
            assert b"x-user-id: on-a-socket\r\n" in passed
            refused = running.raw(question + handshake)
            assert refused.startswith(b"HTTP/1.1 401")
            assert b"x-identity-error: credentials_missing\r\n" in refused
            assert b'www-authenticate: Bearer realm="identity-gateway"\r\n' in refused
            placeholder = running.token("undefined").encode()
            assert running.raw(question + b"Authorization: Bearer " + placeholder + b"\r\n" + handshake).startswith(
                b"HTTP/1.1 403"
            )
