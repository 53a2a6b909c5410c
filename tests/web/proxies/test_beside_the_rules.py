"""Ways past a proxy's rules on one connection: trailers, tunnels, upgrades, pipelines, odd framing."""

from __future__ import annotations

import contextlib
import re
import socket
from typing import TYPE_CHECKING

import pytest

from tests.web.proxies.conftest import RESERVED, identity_of

if TYPE_CHECKING:
    from tests.web.proxies.conftest import Proxied

FORGED = b"X-Contact-Id: spoofed\r\nX-User-Id: spoofed\r\nAuthorization: Bearer spoofed\r\n"


def talk(proxy: Proxied, *packets: bytes) -> bytes:
    """Bytes in, all bytes out until the proxy closes or is silent for two seconds."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=2) as connection:
        received = b""
        with contextlib.suppress(TimeoutError, ConnectionResetError, BrokenPipeError):
            for packet in packets:
                connection.sendall(packet)
            while chunk := connection.recv(65536):
                received += chunk
        return received


def head(proxy: Proxied, line: bytes, *more: bytes, name: str = "ada") -> bytes:
    """The head of a request with a good token."""
    token = proxy.server.token(name).encode()
    return b"\r\n".join([line + b" HTTP/1.1", b"Host: chat", b"Authorization: Bearer " + token, *more, b"", b""])


@pytest.mark.parametrize("target", [b"/chat/1", b"/public/page"])
@pytest.mark.parametrize("announced", [(), (b"Trailer: X-Contact-Id, Authorization",)])
def test_security_4_1_a_trailer_reaches_nobody(proxy: Proxied, target: bytes, announced: tuple[bytes, ...]) -> None:
    """Trailers that forge an identity or a credential: neither the gateway nor the upstream gets one (R23)."""
    assert proxy.recorder is not None
    before = len(proxy.echo.requests)
    proxy.recorder.forget()
    request = head(proxy, b"POST " + target, b"Connection: close", b"Transfer-Encoding: chunked", *announced)
    answer = talk(proxy, request, b"2\r\nhi\r\n0\r\n" + FORGED + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 411" if proxy.kind == "haproxy" else b"HTTP/1.1 200")
    for seen in proxy.echo.requests[before:]:
        assert (seen.length, seen.trailers) == (2, [])
        assert identity_of(seen).get("x-user-id", "") == ("ada" if target == b"/chat/1" else "")
    assert b"spoofed" not in proxy.recorder.questions


@pytest.mark.parametrize("target", [b"/chat/1", b"/public/page"])
def test_no_upgrade_but_to_a_websocket(proxy: Proxied, target: bytes) -> None:
    """`Upgrade: h2c` does not reach the upstream: behind it any request could be sent, past every rule (A26)."""
    before = len(proxy.echo.requests)
    wish = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
    assert b"101" not in talk(proxy, head(proxy, b"GET " + target, *wish))[:12]
    for seen in proxy.echo.requests[before:]:
        assert not seen.values("upgrade")
        assert not [value for value in seen.values("connection") if "upgrade" in value.lower()]


def test_a_websocket_is_asked_about(proxy: Proxied) -> None:
    """The handshake of a WebSocket meets the same verdict; where the proxy hands it on, with the identity."""
    wish = (b"Connection: Upgrade, X-User-Id", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13")
    key = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    before = len(proxy.echo.requests)
    refused = talk(proxy, head(proxy, b"GET /chat/1", *wish, key, name="undefined"))
    assert refused.startswith(b"HTTP/1.1 403")
    assert len(proxy.echo.requests) == before
    talk(proxy, head(proxy, b"GET /chat/1", *wish, key))
    (seen,) = proxy.echo.requests[before:]
    assert identity_of(seen)["x-user-id"] == "ada"
    assert [value.lower() for value in seen.values("upgrade")] == ([] if proxy.kind == "nginx" else ["websocket"])
    assert [value.lower() for value in seen.values("connection")] == (
        ["close"] if proxy.kind == "nginx" else ["upgrade"]
    )


@pytest.mark.parametrize("method", [b"CONNECT", b"connect"])
def test_no_tunnel(proxy: Proxied, method: bytes) -> None:
    """`CONNECT` opens none: what came through it would meet no rule."""
    before = len(proxy.echo.requests)
    forged = b"GET /chat/1 HTTP/1.1\r\nHost: chat\r\n" + FORGED + b"\r\n"
    answer = talk(proxy, head(proxy, method + b" chat:80"), forged)
    assert not re.match(rb"HTTP/1.1 2", answer)
    assert len(proxy.echo.requests) == before


def test_r25_a_pipeline_is_asked_about_one_by_one(proxy: Proxied) -> None:
    """Requests in one packet, each its own person or nobody: none is served under another one's name."""
    names = ["first", "undefined", "second", "first"]
    last = head(proxy, b"GET /chat/1", b"Connection: close", name="second")
    packet = b"".join(head(proxy, b"GET /chat/1", name=name) for name in names) + last
    before = len(proxy.echo.requests)
    answer = talk(proxy, packet)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"403", b"200", b"200", b"200"]
    asked = [identity_of(seen)["x-user-id"] for seen in proxy.echo.requests[before:]]
    assert asked == ["first", "second", "first", "second"]


@pytest.mark.parametrize(
    "framing",
    [
        (b"Content-Length: 0", b"Transfer-Encoding: chunked"),
        (b"Content-Length: 3", b"Content-Length: 0"),
        (b"Transfer-Encoding : chunked",),
        (b"Transfer-Encoding: xchunked",),
        (b"Transfer-Encoding: chunked, identity",),
        (b"Transfer-Encoding:\x0bchunked",),
        (b"Content-Length: +0",),
        (b"Content-Length: 0\r\n X: y",),
    ],
)
def test_a26_no_hidden_request_is_served(proxy: Proxied, framing: tuple[bytes, ...]) -> None:
    """Odd framing around a forged second request: it is never served, neither as somebody nor as the first one."""
    hidden = b"GET /hidden HTTP/1.1\r\nHost: chat\r\n" + FORGED + b"\r\n"
    before = len(proxy.echo.requests)
    talk(proxy, head(proxy, b"POST /chat/1", *framing), b"0\r\n\r\n" + hidden)
    for seen in proxy.echo.requests[before:]:
        assert (identity_of(seen).get("x-user-id"), seen.target) == ("ada", "/chat/1")
        assert "spoofed" not in str(seen)


def test_what_a_proxy_asks_is_a_question_alone(proxy: Proxied) -> None:
    """The credential, and whose it is: no body, expectation, cookie, path or forged header of the request (B12)."""
    assert proxy.recorder is not None
    proxy.recorder.forget()
    more = [b"Expect: 100-continue", b"Content-Length: 2", b"Connection: close", b"Cookie: theme=spoofed"]
    more += [b"%b: spoofed" % name.encode() for name in [*RESERVED, "x-original-url", "x-forwarded-uri", "forwarded"]]
    answer = talk(proxy, head(proxy, b"POST /chat/spoofed?spoofed", *more), b"hi")
    assert b"HTTP/1.1 200" in answer
    asked = proxy.recorder.questions.lower()
    assert asked.count(b"/auth http/1.") == 1
    names = {line.partition(b":")[0] for line in asked.splitlines()[1:] if line}
    told = {b"authorization", b"x-forwarded-for", b"host"}
    own = {b"connection", b"content-length", b"accept", b"user-agent"}
    own |= {b"x-envoy-internal", b"x-envoy-expected-rq-timeout-ms"}
    assert told <= names <= told | own
    assert b"spoofed" not in asked
    assert b"content-length: 2" not in asked
