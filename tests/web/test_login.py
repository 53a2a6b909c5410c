"""The messenger's addresses over real sockets."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from gateway.identity.issuing import issue_token

if TYPE_CHECKING:
    from tests.web.conftest import Server


def test_the_first_login_creates_and_the_second_finds(server: Server) -> None:
    """A token becomes one contact; the next login of the same user_id meets the same id."""
    token = server.token("first", email="first@example.com", name="Ada")
    first, second = server.login(token), server.login(token)
    assert (first.status, second.status) == (200, 200)
    assert re.fullmatch("[0-9a-f]{24}", first.json()["contact"]["id"])
    assert first.json()["contact"] == second.json()["contact"]
    assert first.json()["identity"] | {"created": False, "matched_by": "external_id"} == second.json()["identity"]
    assert first.json()["identity"]["created"] is True
    assert first.json()["contact"]["name"] == "Ada"


def test_me_answers_for_the_token(server: Server) -> None:
    """`GET /messenger/me` is the same for the token presented."""
    token = server.token("me")
    login = server.login(token)
    me = server.request("GET", "/messenger/me", token)
    assert me.json()["contact"] == login.json()["contact"]
    assert me.headers["cache-control"] == "no-store"


def test_the_token_may_stand_in_the_body(server: Server) -> None:
    """The body field `intercom_user_jwt` carries a token, `app_id` the workspace."""
    body = {"intercom_user_jwt": server.token("body"), "app_id": "acme"}
    assert server.login(None, body).json()["identity"]["user_id"] == "body"


def test_the_email_stands_in_for_the_user_id(server: Server) -> None:
    """No user_id, but an email: the normalised email becomes the user_id."""
    reply = server.login(server.token(None, email="Fall.Back@Example.com"))
    assert reply.json()["identity"]["user_id"] == "fall.back@example.com"


def test_an_issuer_with_iss_and_aud(server: Server) -> None:
    """An asymmetric token of the configured issuer and audience logs in."""
    claims = {"user_id": "es", "iss": "https://login.acme.example", "aud": "messenger"}
    token = issue_token(claims, server.issuer_key, ttl=600, now=time.time(), header=None)
    assert server.login(token).json()["identity"]["issuer"] == "login"


def test_a_numeric_user_id_is_its_decimal_text(server: Server) -> None:
    """42 and "42" are one contact (R17)."""
    number, text = server.login(server.token(42)), server.login(server.token("42"))
    assert number.json()["contact"]["id"] == text.json()["contact"]["id"]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"not json", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"app_id": 1}', "application/json", 400),
        (b'{"app_id": "a", "app_id": "acme"}', "application/json", 400),
        (b'{"app_id": "nobody"}', "application/json", 400),
        (b"{}", "text/plain", 400),
        (b"a=b", "application/x-www-form-urlencoded", 400),
        (b"{" + b" " * 70_000 + b"}", "application/json", 413),
    ],
)
def test_a_bad_body_is_refused(server: Server, body: bytes, content_type: str, status: int) -> None:
    """Not JSON, no object, a wrong type, duplicate members, an unknown workspace or type, too large: never a 5xx."""
    reply = server.request(
        "POST", "/messenger/login", server.token("x"), headers={"Content-Type": content_type}, body=body
    )
    assert reply.status == status
    assert reply.code == ("payload_too_large" if status == 413 else "request_invalid")


def test_no_credentials(server: Server) -> None:
    """Without a token: 401 and a bare challenge (RFC 6750 section 3)."""
    reply = server.login(None)
    assert (reply.status, reply.code) == (401, "credentials_missing")
    assert reply.headers["www-authenticate"] == 'Bearer realm="identity-gateway"'
    assert reply.headers["content-type"] == "application/problem+json"


def test_another_scheme_is_no_credential(server: Server) -> None:
    """`Authorization: Basic` is not ours to judge."""
    reply = server.request("POST", "/messenger/login", headers={"Authorization": "Basic dTpw"})
    assert (reply.status, reply.code) == (401, "credentials_missing")


def test_two_different_tokens_are_refused(server: Server) -> None:
    """Two different tokens in one request: 400, never the first; the same one twice is one."""
    one, two = server.token("one"), server.token("two")
    reply = server.login(one, {"intercom_user_jwt": two})
    assert (reply.status, reply.code) == (400, "credentials_conflict")
    assert server.login(one, {"intercom_user_jwt": one}).status == 200


def test_a_refusal_tells_no_more_than_its_code(server: Server) -> None:
    """The body holds the closed list's code and a request id; no claim, no token part (A17, B20, B25)."""
    token = server.token("undefined", email="hidden@example.com")
    reply = server.login(token)
    assert (reply.status, reply.code) == (422, "user_id_placeholder")
    assert set(reply.json()) == {"type", "title", "status", "detail", "code", "field", "request_id"}
    assert reply.json()["field"] == "user_id"
    log = (server.folder / "log").read_text()
    assert json.loads(log.splitlines()[-1])["request_id"] == reply.json()["request_id"]
    for part in [*token.split("."), "hidden@example.com"]:
        assert part not in log
        assert part.encode() not in reply.body


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "PROPFIND"])
def test_a24_only_listed_methods(server: Server, method: str) -> None:
    """Another method than POST: 405 and the list of those that stand."""
    reply = server.request(method, "/messenger/login", server.token("x"))
    assert (reply.status, reply.headers.get("allow")) == (405, "POST")


@pytest.mark.parametrize("path", ["/messenger/login", "/auth", "/healthz"])
def test_a24_a_method_that_nobody_knows(server: Server, path: str) -> None:
    """What is no registered method is not HTTP to the parser: 400, and nothing is dispatched."""
    reply = server.request("BREW", path, server.token("brewed"))
    assert (reply.status, reply.code, reply.headers["connection"]) == (400, "request_invalid", "close")


def test_elsewhere_is_nothing(server: Server) -> None:
    """An unknown path is a 404 problem; the admin's paths are unknown here (B22)."""
    for path in ("/nowhere", "/contacts", "/messenger/login/", "/messenger//login", "/messenger/%6cogin"):
        reply = server.request("POST", path, server.token("x"))
        assert reply.status == 404, path


def test_expired_is_final(server: Server) -> None:
    """A remembered token is refused once it has expired, leeway included."""
    claims: dict[str, Any] = {"user_id": "brief", "exp": int(time.time()) - 59}
    token = issue_token(claims, server.secret, ttl=None, now=time.time(), header=None)
    assert server.login(token).status == 200
    time.sleep(2.1)
    assert server.login(token).code == "token_expired"
