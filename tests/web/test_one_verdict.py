"""One decision, two carriers, four endings: the same request meets the same verdict everywhere."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from gateway import IdentityMiddleware, create_authenticator
from gateway.identity.platforms import Platform
from gateway.web.enforcement import EXCUSED
from tests.web.conftest import running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request as HttpRequest

    from tests.web.conftest import Server

VARIES = re.compile(rb'(?<=\r\ndate: )[^\r]*|(?<="request_id":")[0-9a-f]{16}|[0-9a-f]{24}|(?<=_at":)[0-9]+')

HEADS = {
    "login": b"POST /messenger/login HTTP/1.1\r\nHost: gateway\r\n%b\r\n",
    "login with app_id": b"POST /messenger/login?app_id=acme HTTP/1.1\r\nHost: gateway\r\n%b\r\n",
    "login elsewhere": b"POST /messenger/login?app_id=other HTTP/1.1\r\nHost: gateway\r\n%b\r\n",
    "login by GET": b"GET /messenger/login HTTP/1.1\r\nHost: gateway\r\n%b\r\n",
    "me": b"GET /messenger/me HTTP/1.1\r\nHost: gateway\r\n%b\r\n",
    "auth": b"GET /auth HTTP/1.1\r\nHost: gateway\r\n%b\r\n",
    "auth by POST": b"POST /auth HTTP/1.1\r\nHost: gateway\r\n%b\r\n",
    "auth by DELETE": b"DELETE /auth HTTP/1.1\r\nHost: gateway\r\n%b\r\n",
    "auth for a workspace": b"GET /auth/acme HTTP/1.1\r\nHost: gateway\r\n%b\r\n",
    "auth for nobody": b"GET /auth/other HTTP/1.1\r\nHost: gateway\r\n%b\r\n",
    "auth in HTTP/1.0": b"GET /auth HTTP/1.0\r\nHost: gateway\r\n%b\r\n",
    "auth, closing": b"GET /auth HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n%b\r\n",
    "two hosts": b"GET /auth HTTP/1.1\r\nHost: a\r\nHost: b\r\n%b\r\n",
    "odd host": b"GET /auth HTTP/1.1\r\nHost: a@b\r\n%b\r\n",
    "large head": b"GET /auth HTTP/1.1\r\nHost: gateway\r\nX: " + b"x" * 33_000 + b"\r\n%b\r\n",
    "spoofed": b"GET /auth HTTP/1.1\r\nHost: gateway\r\nX_User_Id: root\r\nX-Contact-Id: 1\r\n%b\r\n",
    "chunked": b"POST /messenger/login HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Type: application/json\r\n%b\r\n2\r\n{}\r\n0\r\n\r\n",
    "bodied": b"POST /messenger/login HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
    b"Content-Length: 2\r\n%b\r\n{}",
    "no origin form": b"GET http://gateway/auth HTTP/1.1\r\nHost: gateway\r\n%b\r\n",
    "fragment": b"GET /auth#x HTTP/1.1\r\nHost: gateway\r\n%b\r\n",
    "fragment in the query": b"GET /auth?a#x HTTP/1.1\r\nHost: gateway\r\n%b\r\n",
    "no host": b"GET /auth HTTP/1.1\r\nConnection: close\r\n%b\r\n",
    "no host in HTTP/1.0": b"GET /auth HTTP/1.0\r\n%b\r\n",
    "upgrade": b"GET /auth HTTP/1.1\r\nHost: gateway\r\nConnection: upgrade\r\nUpgrade: h2c\r\n%b\r\n",
    "odd query": b"GET /messenger/me?app_id=acme&x=%%ff?y;z='\"<>\\^`{|}[] HTTP/1.1\r\nHost: gateway\r\n%b\r\n",
    "odd query bytes": b"GET /auth?x=\xff\xc3\xa9 HTTP/1.1\r\nHost: gateway\r\n%b\r\n",
    "odd query end": b"GET /messenger/me?a?b?? HTTP/1.1\r\nHost: gateway\r\n%b\r\n",
    "empty query": b"GET /messenger/me? HTTP/1.1\r\nHost: gateway\r\n%b\r\n",
    "control character in the query": b"GET /auth?\x01 HTTP/1.1\r\nHost: gateway\r\n%b\r\n",
    "two app_ids": b"POST /messenger/login?app_id=acme&app_id=x HTTP/1.1\r\nHost: gateway\r\n%b\r\n",
    "a hundred and one fields": b"GET /messenger/me?" + b"a=1&" * 101 + b" HTTP/1.1\r\nHost: gateway\r\n%b\r\n",
    "auth with a body": b"POST /auth HTTP/1.1\r\nHost: gateway\r\nContent-Length: 5\r\n%b\r\nhello",
    "GET with a body": b"GET /messenger/me HTTP/1.1\r\nHost: gateway\r\nContent-Length: 5\r\n%b\r\nhello",
    "HEAD": b"HEAD /auth HTTP/1.1\r\nHost: gateway\r\n%b\r\n",
    "bad length": b"POST /messenger/login HTTP/1.1\r\nHost: gateway\r\nContent-Length: x\r\n%b\r\n",
    "bad header": b"GET /auth HTTP/1.1\r\nHost: gateway\r\nX : y\r\n%b\r\n",
    "elsewhere": b"GET /auth/ HTTP/1.1\r\nHost: gateway\r\n%b\r\n",
    "user_data": b"POST /messenger/login HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
    b'Content-Length: 16\r\n%b\r\n{"user_data": 1} ',
    "user_data of somebody": b"POST /messenger/login HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
    b'Content-Length: 48\r\n%b\r\n{"user_data": {"name": "Ada", "email": "a@b.c"}}',
}


def _credentials(server: Server) -> Iterator[tuple[str, bytes]]:
    yield "nothing", b""
    yield "basic", b"Authorization: Basic dTpw\r\n"
    yield "empty bearer", b"Authorization: Bearer \r\n"
    tokens = {
        "good": server.token("one-verdict", email="one@example.com"),
        "placeholder": server.token("undefined"),
        "expired": server.token("one-verdict", exp=1, ttl=None),
        "no id": server.token(None),
        "nonsense": "a.b.c",
        "long": "a" * 9000,
    }
    for name, token in tokens.items():
        yield name, b"Authorization: Bearer %b\r\n" % token.encode()
    yield "two", b"Authorization: Bearer a.b.c\r\nAuthorization: Bearer a.b.d\r\n"
    yield "another case", b"AUTHORIZATION: bEARER %b\r\n" % tokens["good"].encode()


PLATFORM_HEADS = {
    "login": b"POST /messenger/login?platform=%b HTTP/1.1\r\nHost: gateway\r\n",
    "me": b"GET /messenger/me?app_id=acme&platform=%b HTTP/1.1\r\nHost: gateway\r\n",
    "auth": b"GET /auth/acme/%b HTTP/1.1\r\nHost: gateway\r\n",
    "auth by POST": b"POST /auth/acme/%b HTTP/1.1\r\nHost: gateway\r\n",
    "two hosts": b"GET /auth/acme/%b HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
    "chunked": b"POST /messenger/login?platform=%b HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Type: application/json\r\n",
}
_ENDS = {"chunked": b"\r\n2\r\n{}\r\n0\r\n\r\n"}


@pytest.fixture(scope="module", params=["report", "off"], name="lenient")
def _lenient(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Server]]:
    """A gateway of each carrier that enforces nothing on the web, and everything elsewhere."""
    extra = f'enforcement = {{ web = "{request.param}" }}'
    lane, asgi = (tmp_path_factory.mktemp(f"{request.param}-{name}") for name in ("lane", "asgi"))
    with running_gateway(lane, extra=extra) as server, running_gateway(asgi, lane=False, extra=extra) as asgi_server:
        yield server, asgi_server


@pytest.mark.parametrize("head", PLATFORM_HEADS)
def test_both_carriers_let_pass_the_same_bytes(lenient: tuple[Server, Server], head: str) -> None:
    """Where a platform is not enforced, and where it is: byte for byte, as above."""
    for platform in Platform:
        begin = PLATFORM_HEADS[head] % platform.encode()
        for (name, credential), (_, asgi_credential) in zip(*map(_credentials, lenient), strict=True):
            requests = (begin + one + _ENDS.get(head, b"\r\n") for one in (credential, asgi_credential))
            lane, asgi = (
                VARIES.sub(b"", running.raw(_closing(request)))
                for running, request in zip(lenient, requests, strict=True)
            )
            assert lane == asgi, (platform, name)
            assert lane.startswith(b"HTTP/1.1 "), (platform, name)


def test_all_endings_let_pass_the_same_requests(lenient: tuple[Server, Server]) -> None:
    """On each platform login, me, `/auth` and the middleware let in the same people, and let pass the same nobodies."""
    server, _ = lenient
    authenticator = create_authenticator(server.folder / "gateway.toml")

    async def whoami(request: HttpRequest) -> Response:
        return Response(request.user.identity if request.user.is_authenticated else "nobody")

    for platform in Platform:
        protected = [Middleware(IdentityMiddleware, authenticator=authenticator, workspace="acme", platform=platform)]
        with TestClient(Starlette(routes=[Route("/", whoami)], middleware=protected)) as client:
            for name, credential in _credentials(server):
                pairs = [line.split(b": ", 1) for line in credential.split(b"\r\n") if line]
                application = client.get("/", headers=httpx2.Headers([(name, value) for name, value in pairs]))
                replies = {
                    ending: server.raw(_closing(PLATFORM_HEADS[ending] % platform.encode() + credential + b"\r\n"))
                    for ending in ("login", "me", "auth")
                }
                body = json.loads(replies["login"].partition(b"\r\n\r\n")[2])
                passes = platform is Platform.WEB and body["code"] in EXCUSED if "code" in body else True
                for ending, reply in replies.items():
                    assert reply.startswith(b"HTTP/1.1 200") == passes, (platform, name, ending)
                assert (application.status_code == 200) == passes, (platform, name)
                contact_id = re.search(rb"x-contact-id: ([0-9a-f]{24})", replies["auth"])
                if "code" in body:
                    assert contact_id is None
                    assert b"x-identity-error: %b\r\n" % body["code"].encode() in replies["auth"]
                    assert application.text == "nobody" or application.json()["code"] == body["code"]
                else:
                    assert contact_id is not None
                    assert contact_id.group(1).decode() == body["contact"]["id"] == application.text


@pytest.mark.parametrize("head", HEADS)
def test_both_carriers_answer_the_same_bytes(server: Server, asgi_server: Server, head: str) -> None:
    """The express lane and the ASGI way give byte for byte the same answer, but for date, request id and contact id."""
    pairs = zip(_credentials(server), _credentials(asgi_server), strict=True)
    for (name, lane_credential), (_, asgi_credential) in pairs:
        # Twice, so that the first sight of a contact and what is remembered of it are both compared.
        for _ in range(2):
            lane = server.raw(_closing(HEADS[head] % lane_credential))
            asgi = asgi_server.raw(_closing(HEADS[head] % asgi_credential))
            assert VARIES.sub(b"", lane) == VARIES.sub(b"", asgi), name
            assert lane.startswith(b"HTTP/1.1 "), name


def _closing(request: bytes) -> bytes:
    """The request with `Connection: close`, unless it speaks of its connection itself."""
    if b"Connection:" in request or b"HTTP/1.0" in request:
        return request
    return request.replace(b"\r\nHost: ", b"\r\nConnection: close\r\nHost: ", 1)


def test_forward_auth_agrees_with_login(server: Server) -> None:
    """`/auth` lets in exactly whom login lets in, with the same contact; its refusals carry the same code."""
    for name, credential in _credentials(server):
        login = server.raw(_closing(HEADS["login"] % credential))
        auth = server.raw(_closing(HEADS["auth"] % credential))
        welcomed = login.startswith(b"HTTP/1.1 200")
        assert auth.startswith(b"HTTP/1.1 200") == welcomed, name
        if welcomed:
            contact_id = re.search(rb"x-contact-id: ([0-9a-f]{24})", auth)
            assert contact_id is not None
            assert contact_id.group(1) in login
        else:
            code = re.search(rb"x-identity-error: (\w+)", auth)
            assert code is not None
            assert b'"code":"%b"' % code.group(1) in login


def test_the_middleware_agrees_with_login(server: Server) -> None:
    """The library, over the same configuration and store, lets in exactly whom login lets in, with the same contact."""
    authenticator = create_authenticator(server.folder / "gateway.toml")

    async def whoami(request: HttpRequest) -> Response:
        return Response(request.user.identity)

    protected = [Middleware(IdentityMiddleware, authenticator=authenticator)]
    with TestClient(Starlette(routes=[Route("/", whoami)], middleware=protected)) as client:
        for name, credential in _credentials(server):
            login = server.raw(_closing(HEADS["login"] % credential))
            pairs = [line.split(b": ", 1) for line in credential.split(b"\r\n") if line]
            reply = client.get("/", headers=httpx2.Headers([(name, value) for name, value in pairs]))
            assert login.startswith(b"HTTP/1.1 %d" % reply.status_code), name
            found = reply.text if reply.status_code == 200 else f'"code":"{reply.json()["code"]}"'
            assert found.encode() in login, name


def test_forward_auth_speaks_four_statuses(server: Server) -> None:
    """Proxies understand 200, 401, 403 and 503: a bad identity is 403 there, a bad request 401."""
    placeholder = server.request("GET", "/auth", server.token("undefined"))
    assert (placeholder.status, placeholder.code) == (403, "user_id_placeholder")
    conflict = server.raw(
        b"GET /auth HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n"
    )
    assert conflict.startswith(b"HTTP/1.1 401")


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    """Ten requests in one packet, each its own person: the answers come in order, first sights among them."""
    names = [f"pipelined-{number}" for number in range(10)]
    requests = [HEADS["auth"] % (b"Authorization: Bearer %b\r\n" % server.token(name).encode()) for name in names]
    received = server.raw(b"".join(requests))
    assert re.findall(rb"x-user-id: ([\w-]+)", received) == [name.encode() for name in names]


def test_security_4_1_a_trailer_is_no_header(server: Server, asgi_server: Server) -> None:
    """A chunked trailer that says Authorization is not a credential, in either carrier (R23)."""
    for running in (server, asgi_server):
        request = (
            b"POST /messenger/login HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: application/json\r\n\r\n2\r\n{}\r\n0\r\nAuthorization: Bearer %b\r\n\r\n"
        ) % running.token("trailer").encode()
        assert b"credentials_missing" in running.raw(request)


def test_a_head_without_end_is_cut_off(server: Server) -> None:
    """A megabyte of header is refused and the connection closed, long before the megabyte is kept."""
    received = server.raw(b"GET /auth HTTP/1.1\r\nHost: gateway\r\nX: " + b"x" * 1_000_000)
    assert received == b"" or received.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("target", [b"@evil.example", b"http://evil.example/auth", b"/auth#x", b"*", b"auth"])
def test_a21_the_target_is_in_origin_form(server: Server, target: bytes) -> None:
    """A target that is no path is refused by the parser's own 400."""
    received = server.raw(b"GET %b HTTP/1.1\r\nHost: gateway\r\n\r\n" % target)
    assert received.startswith(b"HTTP/1.1 400")


def test_identity_headers_of_odd_values_are_one_spelling(server: Server) -> None:
    """Non-ASCII and `%` are percent-encoded, so that two ids never look alike to an upstream."""
    accented, literal = "caf\u00e9", "caf%C3%A9"
    seen = {server.request("GET", "/auth", server.token(value)).headers["x-user-id"] for value in (accented, literal)}
    assert seen == {"caf%C3%A9", "caf%25C3%25A9"}
