"""What a client of a proxy hears when it is refused, or when nobody can tell who it is; nothing ever fails open."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
from typing import TYPE_CHECKING

import pytest

from tests.web.conftest import running_gateway
from tests.web.proxies import running
from tests.web.proxies.conftest import Proxied, bearer, dark_bearer, identity_of
from tests.web.proxies.recorder import recorded
from tests.web.proxies.running import running_proxy
from tests.web.proxy.upstream import saying, scripted

if TYPE_CHECKING:
    from pathlib import Path

    from tests.web.conftest import Server
    from tests.web.proxies.echo import Echo


def test_a_missing_credential_is_challenged(proxy: Proxied) -> None:
    """401 with `WWW-Authenticate` as RFC 6750 has it, and the code; the reason of a bad one, too."""
    missing, malformed = proxy.ask([]), proxy.ask([bearer("a.b.c")])
    assert (missing.status, malformed.status) == (401, 401)
    assert missing.headers["www-authenticate"] == 'Bearer realm="identity-gateway"'
    assert 'error="invalid_token"' in malformed.headers["www-authenticate"]
    codes = [reply.headers["x-identity-error"] for reply in (missing, malformed)]
    assert codes == ["credentials_missing", "token_malformed"]


def test_a_bad_identity_is_forbidden(proxy: Proxied) -> None:
    """403 for a well-signed placeholder, with the code, and no challenge: another token of the kind would not help."""
    reply = proxy.ask([bearer(proxy.server.token("undefined"))])
    assert (reply.status, reply.headers["x-identity-error"]) == (403, "user_id_placeholder")
    assert "www-authenticate" not in reply.headers


def test_an_outage_is_no_verdict(dark: Proxied, down: Proxied) -> None:
    """Without keys, or without a gateway: 503, never 401; from the gateway's own 503, the rest where the proxy can."""
    keyless = dark.ask([dark_bearer()])
    absent = down.ask([bearer(down.server.token("ada"))])
    assert (keyless.status, absent.status) == (503, 503)
    assert "www-authenticate" not in {**keyless.headers, **absent.headers}
    told = {name: keyless.headers.get(name) for name in ("x-identity-error", "retry-after")}
    # Envoy takes a 503 for no answer, and says nothing of it.
    none = {"x-identity-error": None, "retry-after": None}
    assert told == (none if dark.kind == "envoy" else {"x-identity-error": "keys_unavailable", "retry-after": "5"})


def test_b03_nobody_chooses_the_address_that_a_limit_counts(kind: str, tmp_path: Path, echo: Echo) -> None:
    """A limit per address counts the proxy's own word on who is connected to it, never a client's `X-Forwarded-For`."""
    with (
        running_gateway(
            tmp_path, public='trusted_proxies = ["127.0.0.1/32"]', others='[limits]\nper_address = "20/day"'
        ) as server,
        running_proxy(kind, tmp_path, gateway=server.port, upstream=echo.port) as port,
    ):
        proxied = Proxied(kind, port, server, echo, None)
        credential = bearer(server.token("limited"))
        statuses = []
        for number in range(30):
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, 60, ("127.0.0.2", 0))) as client:
                said = [("X-Forwarded-For", f"10.0.0.{number}"), ("Forwarded", f"for=10.0.0.{number}")]
                said += [("X-Real-IP", f"10.0.0.{number}"), ("X-Envoy-External-Address", f"10.0.0.{number}")]
                reply = proxied.ask([credential, *said], client=client)
                statuses.append(reply.status)
        assert statuses == [200] * 20 + [503] * 10
        if kind == "envoy":
            return  # it tells no two addresses of one machine apart, and of a 503 it hands on nothing
        assert reply.headers["x-identity-error"] == "rate_limited"
        assert int(reply.headers["retry-after"]) > 0
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, 60, ("127.0.0.3", 0))) as client:
            seen = proxied.seen([credential, ("X-Forwarded-For", "127.0.0.2")], client=client)
            assert [value.rpartition(" ")[2] for value in seen.values("x-forwarded-for")] == ["127.0.0.3"]


def test_a_gateway_that_goes_away_lets_nobody_in(kind: str, tmp_path: Path, echo: Echo) -> None:
    """Connections that the proxy kept make no difference: when the gateway has stopped, who was let in is not."""
    with (
        running_gateway(tmp_path) as server,
        running_proxy(kind, tmp_path, gateway=server.port, upstream=echo.port) as port,
    ):
        proxied = Proxied(kind, port, server, echo, None)
        token = server.token("before")
        assert proxied.seen([bearer(token)]).values("x-user-id") == ["before"]
        server.stop()
        assert server.exit_code() == 0
        before = len(echo.requests)
        assert proxied.ask([bearer(token)]).status == 503
        assert len(echo.requests) == before


def test_a_gateway_that_says_nothing_lets_nobody_in(kind: str, tmp_path: Path, gateway: Server, echo: Echo) -> None:
    """It accepts and is silent: after some seconds 503, and nothing has arrived."""
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        running_proxy(kind, tmp_path, gateway=silent.getsockname()[1], upstream=echo.port) as port,
    ):
        before = len(echo.requests)
        assert Proxied(kind, port, gateway, echo, None).ask([bearer(gateway.token("ada"))]).status == 503
        assert len(echo.requests) == before


@pytest.mark.parametrize(
    "answer",
    [
        *(b"HTTP/1.1 %d X\r\nX-Contact-Id: 1\r\nContent-Length: 0\r\n\r\n" % status for status in (302, 404, 500, 502)),
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\nX-Contact-Id: 1\r\n\r\n",
        b"X-Contact-Id: 1\r\n\r\n",
        b"",
    ],
)
def test_what_is_no_answer_of_a_gateway_lets_nobody_in(
    kind: str, tmp_path: Path, gateway: Server, echo: Echo, answer: bytes
) -> None:
    """Something else listens where the gateway should, or it breaks off: whatever is no 200 is a refusal."""
    with (
        scripted(saying(answer, close=True)) as other,
        running_proxy(kind, tmp_path, gateway=other.port, upstream=echo.port) as port,
    ):
        before = len(echo.requests)
        reply = Proxied(kind, port, gateway, echo, None).ask([bearer(gateway.token("ada"))])
        assert reply.status in {101, 302, 404, 503}  # Envoy hands on all but 5xx, as the answer of whom it asked
        assert len(echo.requests) == before


def test_two_credentials_do_not_pass(proxy: Proxied) -> None:
    """Two Authorization headers are refused, in either order, however the proxy hands them on (R22)."""
    one, two = (bearer(proxy.server.token(name)) for name in ("one", "two"))
    before = len(proxy.echo.requests)
    for pairs in ([one, two], [two, one], [one, one], [one, ("authorization", "Basic dTpw")]):
        assert proxy.ask(pairs).status in {400, 401}
    assert len(proxy.echo.requests) == before


def test_b02_a_client_cannot_nominate_the_credential_away(proxy: Proxied) -> None:
    """`Connection: authorization` makes nobody anybody else: the same verdict, or none."""
    reply = proxy.ask([bearer(proxy.server.token("nominating")), ("Connection", "close, authorization, x-user-id")])
    assert reply.status in {200, 401}
    if reply.status == 200:
        assert proxy.echo.requests[-1].values("x-user-id") == ["nominating"]


@pytest.mark.parametrize(
    "target",
    [
        *("/public/../chat/1", "/public/./../chat/1", "/public/%2e%2e/chat/1", "/public/.%2E/chat/1"),
        *("/public/..%2fchat/1", "/public%2f..%2fchat/1", "/public/..%5cchat/1", "/public/..\\chat/1"),
        *("/public/..//chat/1", "/chat/1?/public/", "/chat/1;/public/", "/publicly", "/PUBLIC/../chat/1"),
        *("/public/x/../../chat/1", "/public/%252e%252e/chat/1", "/public/..;/chat/1"),
    ],
)
def test_b06_no_path_is_open_to_all_that_only_looks_so(proxy: Proxied, target: str) -> None:
    """What another server might read as a protected path is asked about, or refused, or comes without any name."""
    before = len(proxy.echo.requests)
    reply = proxy.ask([("X-Contact-Id", "spoofed")], target=target)
    if reply.status == 200:
        seen = proxy.echo.requests[-1]
        assert seen.target.startswith("/public/")
        assert not re.search(r"/\.\.?(/|$)|%2e|%2f", seen.target, re.IGNORECASE)
        assert identity_of(seen) == {}
    else:
        assert reply.status in {400, 401}
        assert len(proxy.echo.requests) == before


@pytest.mark.parametrize("mark", ["local question", "local answer", "txn:set_var", "local reply"])
def test_haproxy_a_script_that_fails_lets_nobody_in(
    tmp_path: Path, gateway: Server, echo: Echo, monkeypatch: pytest.MonkeyPatch, mark: str
) -> None:
    """HAProxy goes on where a script fails; the rule behind it stops what the script did not say a word for."""
    whole = running.block_of

    def broken(language: str) -> str:
        assert language != "lua" or whole("lua").count(mark) == 1
        return whole(language).replace(mark, f"error('broken')\n{mark}")

    monkeypatch.setattr(running, "block_of", broken)
    with running_proxy("haproxy", tmp_path, gateway=gateway.port, upstream=echo.port) as port:
        before = len(echo.requests)
        proxied = Proxied("haproxy", port, gateway, echo, None)
        token = gateway.token("undefined" if mark == "local reply" else "ada")
        assert proxied.ask([bearer(token)]).status == 503
        assert len(echo.requests) == before
        assert proxied.ask([], target="/public/page").status == 200


def test_an_older_envoy_asks_with_a_prefix(
    tmp_path: Path, gateway: Server, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`path_prefix: "/auth?"`, for an Envoy without `path_override`: the client's target is a query of no effect."""
    whole = running.block_of

    def older(language: str) -> str:
        return whole(language).replace("path_override: /auth", 'path_prefix: "/auth?" # path_override: /auth')

    monkeypatch.setattr(running, "block_of", older)
    with (
        recorded(gateway.port) as recorder,
        running_proxy("envoy", tmp_path, gateway=recorder.port, upstream=echo.port) as port,
    ):
        proxied = Proxied("envoy", port, gateway, echo, recorder)
        for target in ("/chat/1", "/chat/1?app_id=dark&platform=web", "/auth/acme/web?x=/auth", "/?/../auth/acme/web"):
            assert proxied.ask([], target=target).headers["x-identity-error"] == "credentials_missing"
            seen = proxied.seen([bearer(gateway.token("older"))], target)
            assert (seen.target, seen.values("x-user-id")) == (target, ["older"])
        assert recorder.questions.count(b" /auth?/") == 8
