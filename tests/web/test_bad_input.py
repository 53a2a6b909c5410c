"""Bad input at a running gateway: its code, never a 5xx, nothing written, nobody asked, nothing told."""

from __future__ import annotations

import http.client
import json
import socket
import time
from typing import TYPE_CHECKING

import pytest

from gateway.errors import Code
from gateway.web.problems import status_of
from tests.corpus import BadToken, bad_tokens, key_signer, shared_secret_signer
from tests.web.conftest import ISSUER, Reply, other_workspace, running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.identity.crafting import Signer
    from tests.web.conftest import Server

_SHORTEST_PART = 12
"""A part of a token with fewer characters may stand in an answer by chance."""


def signers(server: Server) -> list[Signer]:
    """Who signs for this gateway's two issuers."""
    return [
        shared_secret_signer(server.secret.material, time.time(), kid=server.secret.kid),
        key_signer(
            "ES256",
            time.time(),
            issuer=ISSUER,
            audience="messenger",
            key=server.issuer_key.material,
            kid=server.issuer_key.kid,
            beside_secrets=True,
        ),
    ]


def replies_to(server: Server, token: bytes) -> Iterator[tuple[str, Reply]]:
    """What each address says to a token, in each place in which it can stand."""
    bearer = {"Authorization": b"Bearer " + token}
    if BadToken("", token, Code.TOKEN_MALFORMED).fits_a_header:
        yield "login", kept_alive(server, "POST", "/messenger/login", bearer)
        yield "me", kept_alive(server, "GET", "/messenger/me", bearer)
        yield "auth", kept_alive(server, "GET", "/auth", bearer)
    try:
        body = json.dumps({"intercom_user_jwt": token.decode()}).encode()
    except UnicodeDecodeError:
        return
    if len(body) <= 65536:
        headers = {"Content-Type": b"application/json"}
        yield "login by body", kept_alive(server, "POST", "/messenger/login", headers, body)


_connections: dict[int, http.client.HTTPConnection] = {}


def kept_alive(server: Server, method: str, path: str, headers: dict[str, bytes], body: bytes | None = None) -> Reply:
    """One request on the one connection to this gateway: bad input does not end it."""
    connection = _connections.get(server.port)
    if connection is None:
        connection = _connections[server.port] = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    for connection in _connections.values():
        connection.close()
    _connections.clear()


def test_r12_the_corpus_of_bad_tokens(either: Server) -> None:
    """Every token gets its code at each address, nobody is written, and no part of a token or claim is told."""
    before = either.contacts()
    secrets: set[bytes] = {b"ada@example.com", b"user-1"}
    told = []
    for signer in signers(either):
        for bad in bad_tokens(signer):
            secrets.update(part for part in bad.token.split(b".") if len(part) >= _SHORTEST_PART)
            for address, reply in replies_to(either, bad.token):
                assert reply.code == bad.code, (bad.name, address)
                expected = status_of(bad.code) if address != "auth" else 401 if status_of(bad.code) == 401 else 403
                assert reply.status == expected, (bad.name, address)
                told += [reply.body, repr(reply.headers).encode()]
        secrets.add(bytes(signer.key) if signer.symmetric else b"PRIVATE KEY")
    assert len(told) > 2000
    assert either.contacts() == before
    everything = b"".join(told) + either.log().encode()
    assert not [secret for secret in secrets if secret in everything]


def test_a04_nobody_is_asked_for_keys(either: Server) -> None:
    """`jku`, `x5u`, `iss` and `kid` that point to us: no connection comes, whatever becomes of the token (R8)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.3)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/jwks.json"
        for signer in signers(either):
            for header in ({"jku": url}, {"x5u": url}, {"kid": url, "jku": url}, {"jwk": {"kty": "oct", "k": "AA"}}):
                for _, reply in replies_to(either, signer.token(header, {"user_id": "asked-for-keys"})):
                    assert reply.status < 500
            for claims in ({"iss": url}, {"iss": url, "jwks_uri": url}, {"aud": url}):
                for _, reply in replies_to(either, signer.token(None, {"user_id": "asked-for-keys", **claims})):
                    assert reply.status < 500
        with pytest.raises(TimeoutError):
            listener.accept()


def test_a01_public_keys_are_no_secrets(either: Server) -> None:
    """Every published form of the issuer's public key as an HMAC secret, with and without the issuer's `iss`."""
    before = either.contacts()
    published = (either.folder / "jwks.json").read_bytes()
    jwk = json.dumps(json.loads(published)["keys"][0]).encode()
    for secret in (published, published.strip(), jwk):
        now = time.time()
        for kid in (None, either.issuer_key.kid, either.secret.kid):
            forged = shared_secret_signer(secret, now, kid=kid)
            for claims in ({}, {"iss": ISSUER, "aud": "messenger"}):
                for _, reply in replies_to(either, forged.token(None, {"user_id": "forged", **claims})):
                    assert reply.status == 401
    assert either.contacts() == before


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        (b"", "credentials_missing"),
        (b"Authorization: Basic dTpw\r\n", "credentials_missing"),
        (b"Authorization: Bearer\r\n", "token_malformed"),
        (b"Authorization: Bearer \r\n", "token_malformed"),
        (b"Authorization: Bearer\t%(token)b\r\n", "token_malformed"),
        (b'Authorization: Bearer "%(token)b"\r\n', "token_malformed"),
        (b"Authorization: Bearer %(token)b %(token)b\r\n", "token_malformed"),
        (b"Authorization: Bearer %(token)b, Bearer %(token)b\r\n", "token_malformed"),
        (b"Authorization: %(token)b\r\n", "credentials_missing"),
        (b"Authorization: Bearer %(token)b\r\nAuthorization: Bearer %(token)b\r\n", "credentials_conflict"),
        (b"Authorization: Basic dTpw\r\nAuthorization: Bearer %(token)b\r\n", "credentials_conflict"),
        (b"Proxy-Authorization: Bearer %(token)b\r\n", "credentials_missing"),
        (b"Cookie: token=%(token)b\r\n", "credentials_missing"),
        (b"X-Forwarded-Authorization: Bearer %(token)b\r\n", "credentials_missing"),
        (b"Authorization_: Bearer %(token)b\r\n", "credentials_missing"),
        (b"Authorization: Bearer " + b"." * 8000 + b"\r\n", "token_malformed"),
        (b"Authorization: Bearer " + b"." * 9000 + b"\r\n", "token_too_large"),
        (b"Authorization: Bearer " + b"a" * 33_000 + b"\r\n", "payload_too_large"),
        (b"X: " + b"x" * 33_000 + b"\r\nAuthorization: Bearer %(token)b\r\n", "payload_too_large"),
        (b"X: y\r\n" * 6000 + b"Authorization: Bearer %(token)b\r\n", "payload_too_large"),
    ],
)
@pytest.mark.parametrize("target", [b"POST /messenger/login", b"GET /messenger/me", b"GET /auth", b"POST /auth/acme"])
def test_r22_credentials_in_odd_places(either: Server, target: bytes, headers: bytes, code: str) -> None:
    """One token, in the one header, in the one scheme; anything else has its code."""
    before = either.contacts()
    filled = headers.replace(b"%(token)b", either.token("odd-place").encode())
    received = either.raw(b"%b HTTP/1.1\r\nHost: g\r\nConnection: close\r\n%b\r\n" % (target, filled))
    assert received.startswith((b"HTTP/1.1 40", b"HTTP/1.1 413"))
    assert b'"code":"%b"' % code.encode() in received
    assert either.contacts() == before


@pytest.mark.parametrize("filler", [b".", b"a"])
@pytest.mark.parametrize("size", [1_000_000, 10_000_000])
def test_a16_a_token_without_measure(either: Server, size: int, filler: bytes) -> None:
    """A megabyte of token, ten of dots: refused or cut off, in the header and in the body; the next is served."""
    head = b"POST /messenger/login HTTP/1.1\r\nHost: g\r\nConnection: close\r\n"
    by_header = either.raw(head + b"Authorization: Bearer %b\r\n\r\n" % (filler * size))
    assert by_header == b"" or by_header.startswith(b"HTTP/1.1 413")
    body = b'{"intercom_user_jwt": "%b"}' % (filler * size)
    by_body = either.raw(head + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    assert by_body == b"" or by_body.startswith(b"HTTP/1.1 413")
    assert either.request("GET", "/healthz").status == 200


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"not json", "application/json", "request_invalid"),
        (b"\xff\xfe{\x00}\x00", "application/json", "request_invalid"),
        (b"\xef\xbb\xbf{}", "application/json", "request_invalid"),
        (b"[" * 60_000, "application/json", "request_invalid"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "application/json", "request_invalid"),
        (b'{"intercom_user_jwt": NaN}', "application/json", "request_invalid"),
        (b'{"x": 1e400}', "application/json", "request_invalid"),
        (b'{"x": ' + b"9" * 50_000 + b"}", "application/json", "request_invalid"),
        (b'{"intercom_user_jwt": "\\ud800"}', "application/json", "request_invalid"),
        (b'{"intercom_user_jwt": ["a"]}', "application/json", "request_invalid"),
        (b'{"intercom_user_jwt": "a", "intercom_user_jwt": "b"}', "application/json", "request_invalid"),
        (b'{"app_id": ""}', "application/json", "request_invalid"),
        (b'{"app_id": "acme\\u0000"}', "application/json", "request_invalid"),
        (b'{"user_data": [{"name": "Eve"}]}', "application/json", "request_invalid"),
        (b"{}", "application/json2", "request_invalid"),
        (b"{}", "text/json", "request_invalid"),
        (b"{}", "", "request_invalid"),
        (b"--x\r\n\r\n{}\r\n--x--", "multipart/form-data; boundary=x", "request_invalid"),
        (b"{" + b" " * 65_535 + b"}", "application/json", "payload_too_large"),
    ],
)
def test_a_bad_body_at_login(either: Server, body: bytes, content_type: str, code: str) -> None:
    """A body that is not one strict JSON object, too large, or of another type, beside a token that is good."""
    before = either.contacts()
    token = either.token("bad-body")
    reply = either.request("POST", "/messenger/login", token, headers={"Content-Type": content_type}, body=body)
    assert (reply.status, reply.code) == (status_of(Code(code)), code)
    assert either.contacts() == before


def test_two_different_app_ids_are_refused(either: Server) -> None:
    """In the body and in the query: never the first of two."""
    for query, body in (("?app_id=acme", {"app_id": "other"}), ("?app_id=acme&app_id=b", {}), ("?app_id=", {})):
        encoded = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        reply = either.request("POST", f"/messenger/login{query}", either.token("x"), headers=headers, body=encoded)
        assert (reply.status, reply.code, reply.json()["field"]) == (400, "request_invalid", "app_id")


def test_b01_a_clients_identity_headers_decide_nothing(either: Server) -> None:
    """`X_User_Id` and its like, from a stranger and beside a token: the answer is the token's alone."""
    token = either.token("honest")
    contact_id = either.login(token).json()["contact"]["id"]
    for name in (
        "X-User-Id",
        "X_User_Id",
        "x.user.id",
        "X-Contact-Id",
        "X_CONTACT_ID",
        "X-Forwarded-User",
        "Remote-User",
    ):
        for spoofed in ("root", "0" * 24):
            assert either.request("GET", "/auth", headers={name: spoofed}).code == "credentials_missing"
            reply = either.request("GET", "/auth", token, headers={name: spoofed})
            assert (reply.headers["x-contact-id"], reply.headers["x-user-id"]) == (contact_id, "honest")


@pytest.mark.parametrize(
    "name", ["X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Uri", "X-Forwarded-Prefix", "X-Original-URI", "Forwarded"]
)
def test_b03_no_forwarded_header_changes_the_decision(either: Server, name: str) -> None:
    """What a proxy may say of the original request opens nothing (R24, B04)."""
    headers = {name: "/healthz", "User-Agent": "kube-probe/1.30", "X-Forwarded-Method": "OPTIONS"}
    assert either.request("GET", "/auth", headers=headers).code == "credentials_missing"
    assert either.request("GET", "/messenger/me", headers=headers).code == "credentials_missing"


@pytest.mark.parametrize(
    "path",
    [
        "/auth/",
        "/auth//acme",
        "/auth/acme/",
        "/auth/..",
        "/%61uth",
        "/auth%2facme",
        "/auth;x",
        "//auth",
        "/x/../auth",
        "/AUTH",
    ],
)
def test_b06_only_the_exact_path_decides(either: Server, path: str) -> None:
    """Dot segments, encodings, double slashes and parameters are other paths, and nothing stands there."""
    reply = either.request("GET", path, either.token("path"))
    assert (reply.status, "x-contact-id" in reply.headers) == (404, False)
    assert set(reply.json()) == {"type", "title", "status", "detail", "code", "request_id"}


def test_c04_a_query_never_chooses_the_workspace_of_forward_auth(either: Server) -> None:
    """The proxy's configuration names it in the path; a client's query is not looked at (B05)."""
    assert either.request("GET", "/auth?app_id=other", either.token("query")).status == 200
    assert either.request("GET", "/auth/acme?app_id=other", either.token("query")).status == 200


def test_b09_a_warm_cache_opens_no_other_workspace(tmp_path: Path) -> None:
    """A token of one workspace is refused at another, before and after it was welcomed at home (B21)."""
    with running_gateway(tmp_path, others=other_workspace(tmp_path)) as server:
        token = server.token("two-workspaces")
        for _ in range(3):
            assert server.request("GET", "/auth/acme", token).status == 200
            assert server.request("GET", "/auth/other", token).code == "signature_invalid"
            assert server.login(token, {"app_id": "acme"}).status == 200
            assert server.login(token, {"app_id": "other"}).code == "signature_invalid"
            assert server.login(token).code == "request_invalid"
            assert server.request("GET", "/auth", token).code == "request_invalid"
