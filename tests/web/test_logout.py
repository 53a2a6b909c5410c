"""`POST /messenger/logout`: what is left is left, for every way in and every spelling of the token."""

from __future__ import annotations

import base64
import concurrent.futures
import json
import time
from typing import TYPE_CHECKING

import pytest

from gateway.identity.issuing import issue_token
from tests.web.conftest import ISSUER, STORES, gateway_on, other_workspace, running_gateway
from tests.web.test_one_verdict import VARIES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.web.conftest import Reply, Server

_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of P-256 (FIPS 186-4, D.1.2.3)."""


def logout(server: Server, token: str | None, body: object = None) -> Reply:
    """`POST /messenger/logout`."""
    if body is None:
        return server.request("POST", "/messenger/logout", token)
    encoded = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    return server.request("POST", "/messenger/logout", token, headers=headers, body=encoded)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what comes by itself, such as another process's hearing of a change."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")


def es256(server: Server, user_id: str, **claims: object) -> str:
    """A token of the asymmetric issuer."""
    named = {"iss": ISSUER, "aud": "messenger", "user_id": user_id, **claims}
    return issue_token(named, server.issuer_key, ttl=600, now=time.time())


def test_a_logged_out_token_is_refused_at_every_address(either: Server) -> None:
    """B14: remembered or not, the very next request is refused, with the code that says why."""
    token = either.token("leaver")
    assert either.login(token).status == either.login(token).status == 200
    reply = logout(either, token)
    assert (reply.status, reply.json()) == (200, {"type": "logout", "revoked": True})
    assert reply.headers["cache-control"] == "no-store"
    for answer in (
        either.login(token),
        either.login(None, {"intercom_user_jwt": token}),
        either.request("GET", "/messenger/me", token),
        either.request("GET", "/auth", token),
        either.request("GET", "/auth/acme", token),
    ):
        assert (answer.status, answer.code) == (401, "token_revoked")
    assert 'error="invalid_token"' in either.login(token).headers["www-authenticate"]
    assert either.login(either.token("leaver", jti="another")).status == 200


def test_logging_out_twice_is_logged_out(either: Server) -> None:
    """A client whose answer was lost asks again: 200, and as many parallel ones as there are."""
    token = either.token("twice")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: logout(either, token), range(16)))
    assert {reply.status for reply in replies} == {200}
    assert either.login(token).code == "token_revoked"


def test_the_token_may_stand_in_the_body(either: Server) -> None:
    """Logged out by the body, refused in the header, and the other way round; two that differ are a conflict."""
    for number, (left, entered) in enumerate((("body", "header"), ("header", "body"))):
        token = either.token(f"carried-{number}")
        body = {"intercom_user_jwt": token, "app_id": "acme"}
        assert (logout(either, None, body) if left == "body" else logout(either, token)).status == 200
        assert (either.login(token) if entered == "header" else either.login(None, body)).code == "token_revoked"
    conflict = logout(either, either.token("a"), {"intercom_user_jwt": either.token("b")})
    assert (conflict.status, conflict.code) == (400, "credentials_conflict")


def test_leaving_makes_nobody(either: Server) -> None:
    """A person who was never seen has no contact afterwards either, nor one who has nothing to log out with."""
    before = either.contacts()
    token = either.token("never-seen", email="never-seen@example.com")
    assert logout(either, token).status == 200
    assert either.login(token).code == "token_revoked"
    assert either.contacts() == before


@pytest.mark.parametrize("bad", ["expired", "malformed", "forged", "nothing", "undefined"])
def test_a_token_that_does_not_verify_is_refused(either: Server, bad: str) -> None:
    """As everywhere, with the code of the login, and nothing is kept of it."""
    token = {
        "expired": either.token("x", exp=1, ttl=None),
        "malformed": "a.b.c",
        "forged": either.token("x")[:-4] + "AAAA",
        "nothing": None,
        "undefined": either.token("undefined"),
    }[bad]
    left, entered = logout(either, token), either.login(token)
    assert (left.status, left.code) == (entered.status, entered.code)
    assert left.status in {401, 422}


def test_another_method_is_405(either: Server) -> None:
    """A logout changes something: no GET, which a page could embed, does it."""
    token = either.token("embedded")
    reply = either.request("GET", "/messenger/logout", token)
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    assert either.login(token).status == 200


def test_a_malleated_signature_is_no_other_token(either: Server) -> None:
    """Of an ECDSA signature (r, s) anybody can make (r, n - s), which verifies as well: it is the same token."""
    token = es256(either, "malleable")
    signed, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    r, s = raw[:32], int.from_bytes(raw[32:])
    malleated = f"{signed}.{base64.urlsafe_b64encode(r + (_N - s).to_bytes(32)).decode().rstrip('=')}"
    assert malleated != token
    assert either.login(malleated).status == either.login(token).status == 200
    assert logout(either, token).status == 200
    assert either.login(malleated).code == either.login(token).code == "token_revoked"


def test_no_other_spelling_of_a_token_passes(either: Server) -> None:
    """Padding, the bits that no byte takes, blanks: refused as no token, or the same one."""
    token = either.token("spelled")
    assert either.login(token).status == 200
    assert logout(either, token).status == 200
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spellings = [f"{token}=", f"{token}.", f" {token}", *(token[:-1] + letter for letter in letters)]
    assert {either.login(spelling).code for spelling in spellings} <= {
        "token_revoked",
        "token_malformed",
        "signature_invalid",
    }


def url_of(store: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """A store for several gateways."""
    url: str = (
        request.getfixturevalue("postgres_database") if store == "postgres" else f"sqlite:///{folder}/contacts.db"
    )
    return url


@pytest.mark.parametrize("store", STORES)
def test_c04_a_logout_stays_in_its_workspace(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Two workspaces that trust one issuer, and so one token: who leaves the one is still in the other."""
    login = f"""
[[workspaces.other.issuers]]
name = "login"
issuer = "https://login.acme.example"
audience = ["messenger"]
algorithms = ["ES256"]
user_id_claim = "user_id"
jwks_file = "{tmp_path / "jwks.json"}"
"""
    with gateway_on(store, request, tmp_path, others=other_workspace(tmp_path) + login) as server:
        token = es256(server, "both", jti="same")
        for app_id in ("other", "acme"):
            assert server.login(token, {"app_id": app_id}).status == 200
        assert logout(server, token, {"app_id": "acme"}).status == 200
        assert server.login(token, {"app_id": "acme"}).code == "token_revoked"
        assert server.login(token, {"app_id": "other"}).status == 200


@pytest.mark.parametrize("store", STORES)
def test_a_logout_survives_kill_9(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Durable before the answer: a gateway that starts again after SIGKILL refuses the token."""
    url = url_of(store, request, tmp_path)
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with running_gateway(first, store_url=url) as server:
        token = server.token("killed")
        assert logout(server, token).status == 200
        server.process.kill()
    # The same secrets, another process.
    with running_gateway(second, store_url=url) as server:
        (second / "secret").write_text((first / "secret").read_text())
        server.process.send_signal(1)
        until(lambda: server.login(token).code != "signature_invalid")
        assert server.login(token).code == "token_revoked"


def test_an_outage_is_no_logout(tmp_path: Path) -> None:
    """A store that cannot write: 503, never a promise that is not kept."""
    with running_gateway(tmp_path) as server:
        token = server.token("locked-out")
        assert server.login(token).status == 200
        for name in ("contacts.db", "contacts.db-wal", "contacts.db-shm"):
            (tmp_path / name).rename(tmp_path / f"{name}.gone")
        until(lambda: server.request("GET", "/readyz").status == 503)
        reply = logout(server, token)
        assert (reply.status, reply.code) == (503, "store_unavailable")


def test_both_carriers_log_out_alike(server: Server, asgi_server: Server) -> None:
    """One decision, two carriers: byte for byte the same answer to the first logout, to the second, and to no token."""
    heads = (
        b"POST /messenger/logout HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n%b\r\n",
        (
            b"POST /messenger/logout?app_id=acme HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\nContent-Length: 2\r\n%b\r\n{}"
        ),
        (
            b"POST /messenger/logout HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: application/json\r\n%b\r\n2\r\n{}\r\n0\r\n\r\n"
        ),
        b"GET /messenger/logout HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n%b\r\n",
    )
    for number, head in enumerate(heads):
        for token in (f"alike-{number}", "undefined", None):
            answers = []
            for running in (server, asgi_server):
                presented = b"" if token is None else b"Authorization: Bearer %b\r\n" % running.token(token).encode()
                answers.append([VARIES.sub(b"", running.raw(head % presented)) for _ in range(2)])
            assert answers[0] == answers[1], (number, token)
            assert answers[0][0].startswith(b"HTTP/1.1 "), (number, token)
