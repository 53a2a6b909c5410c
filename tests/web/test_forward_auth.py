"""What proxies send beside the question, and what a client can make them send, changes nothing of `/auth`'s answer.

`/auth` reads no `X-Forwarded-*` and no `X-Original-*` at all: the workspace and the platform stand in its own path,
which the proxy's configuration writes. So there is no peer whose word would have to be trusted for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.web.test_one_verdict import VARIES

if TYPE_CHECKING:
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
        b"GET /auth HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        b"Origin: null\r\n",
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
