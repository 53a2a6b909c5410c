"""Identity assertions by a real gateway: who gets one, who never does, and that nobody logs in with one (B13)."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from gateway import IdentityMiddleware, create_authenticator
from gateway.identity.issuing import issue_token
from keys.keyring import load_keyring
from tests.web.asserting import (
    AUDIENCE,
    HANDSHAKE,
    ISSUER,
    KEY_SET,
    NAME,
    OTHER,
    Asserting,
    asserting_gateway,
)
from tests.web.conftest import command
from tests.web.proxy.conftest import CARRIERS, OK, until
from tests.web.proxy.upstream import saying
from tests.web.under_load import Configuration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.requests import Request

    from tests.web.conftest import Reply, Server


@pytest.fixture(scope="module", params=CARRIERS, name="asserting")
def _asserting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asserting]:
    """A gateway of each carrier that asserts."""
    with asserting_gateway(tmp_path_factory.mktemp("asserting"), lane=CARRIERS[request.param]) as running:
        yield running


@pytest.fixture(autouse=True)
def _calm(request: pytest.FixtureRequest) -> None:
    """Each test begins with an upstream that answers plainly."""
    if "asserting" in request.fixturenames:
        request.getfixturevalue("asserting").upstream.answer = saying(OK)


def auth(server: Server, token: str | None = None, path: str = "/auth", **headers: str) -> Reply:
    return server.request("GET", path, token, headers=headers)


# Who gets one.


def test_the_upstream_gets_one_that_says_what_the_headers_say(asserting: Asserting) -> None:
    """Signed for a minute with a published key, for this upstream, in a type of its own."""
    token = asserting.server.token("ren\u00e9-\u5f35", email="rene@example.com")
    found = asserting.verified(asserting.asserted("/chat/1", token))
    told, claims = asserting.told(), found["payload"]
    assert found["header"]["typ"] == "identity-assertion+jwt"
    assert claims.keys() == {
        *("iss", "aud", "sub", "user_id", "email", "app_id", "matched_by", "jti", "iat", "exp"),
    }
    assert (claims["iss"], claims["aud"], claims["app_id"]) == (ISSUER, AUDIENCE, "acme")
    assert (claims["sub"], claims["user_id"]) == (told["x-contact-id"], "ren\u00e9-\u5f35")
    assert (claims["email"], claims["matched_by"]) == (told["x-user-email"], told["x-identity-matched-by"])
    assert claims["exp"] - claims["iat"] == 60


def test_each_upstream_is_an_audience_of_its_own(asserting: Asserting) -> None:
    """The route's audience, else the table's; one made for an upstream is nothing to the other."""
    token = asserting.server.token("audiences")
    other, chat = (asserting.asserted(path, token) for path in ("/other/1", "/open/1"))
    assert asserting.verified(other, OTHER)["payload"]["aud"] == OTHER
    assert asserting.verified(chat)["payload"]["aud"] == AUDIENCE


def test_a_session_has_one_for_many_requests(asserting: Asserting) -> None:
    """No signature a request; and each person, and each token, has one of its own."""
    tokens = [asserting.server.token(user_id) for user_id in ("session-1", "session-2")]
    for path in ("/chat/1", "/other/1"):
        for token in tokens:
            asserting.asserted(path, token)  # who comes for the first time is not remembered
        given = [asserting.asserted(path, token) for token in tokens * 3]
        assert len(set(given)) == 2
    for token in tokens:
        auth(asserting.server, token)
    answers = [auth(asserting.server, token).headers[NAME] for token in tokens * 3]
    assert len(set(answers)) == 2


def test_an_email_that_was_claimed_is_not_asserted(asserting: Asserting) -> None:
    """B19: by the rule of the headers."""
    token = asserting.server.token("claimed", email="somebody@example.com", email_verified=False)
    assert "email" not in asserting.verified(asserting.asserted("/chat/1", token))["payload"]
    assert "x-user-email" not in asserting.told()


@pytest.mark.parametrize("path", ["/auth", "/auth/acme", "/auth/acme/web"])
def test_forward_auth_answers_with_one(asserting: Asserting, path: str) -> None:
    """The proxy that asks hands it on; whatever a client wrote in its place is not looked at."""
    reply = auth(
        asserting.server, asserting.server.token("auth"), path, **{NAME: "spoofed", "X_Identity.Assertion": "x"}
    )
    assert (reply.status, reply.headers["cache-control"]) == (200, "no-store")
    claims = asserting.verified(reply.headers[NAME])["payload"]
    assert (claims["sub"], claims["user_id"]) == (reply.headers["x-contact-id"], "auth")


def test_the_handshake_of_a_websocket_carries_one(asserting: Asserting) -> None:
    """As any other request does."""
    asserting.upstream.answer = saying(b"HTTP/1.1 418 No\r\nContent-Length: 0\r\n\r\n")
    assertion = asserting.asserted("/chat/ws", asserting.server.token("socket"), *HANDSHAKE)
    assert asserting.verified(assertion)["payload"]["user_id"] == "socket"
    assert asserting.ask("/open/ws", None, *HANDSHAKE, f"{NAME}: spoofed") == (418, [])


# Who never does.


@pytest.mark.parametrize("name", [NAME, "X-Identity-Assertion", "x_identity_assertion", "X.Identity.Assertion"])
@pytest.mark.parametrize("path", ["/chat/1", "/open/1", "/public/1"])
def test_b01_a_clients_own_is_removed(asserting: Asserting, path: str, name: str) -> None:
    """In every spelling and on every route: the upstream gets ours alone, and nobody's request none."""
    token = asserting.server.token("spoofer")
    spoofed = (f"{name}: eyJ.e30.e", f"{name}: again", f"Connection: {NAME}")
    answered, got = asserting.ask(path, token, *spoofed)
    assert answered == 200
    assert len(got) == (0 if path == "/public/1" else 1)
    assert "eyJ.e30.e" not in got
    if path != "/chat/1":
        assert asserting.ask(path, None, *spoofed) == (200, [])


def test_a_refusal_holds_none(asserting: Asserting) -> None:
    """Neither at `/auth`, nor from the proxy, nor for the upstream, which is not asked."""
    for token in (None, asserting.server.token("undefined"), asserting.server.token("late", exp=1, ttl=None)):
        assert NAME not in auth(asserting.server, token).headers
        assert NAME not in asserting.server.request("GET", "/chat/1", token).headers
        assert asserting.ask("/chat/1", token)[1] == []


def test_the_client_does_not_see_it(asserting: Asserting) -> None:
    """It is for the upstream: one that an upstream sends back ends here."""
    asserting.upstream.answer = saying(
        b"HTTP/1.1 200 OK\r\nX_Identity-Assertion: e\r\n%b: e\r\n" % NAME.encode() + OK[17:]
    )
    reply = asserting.server.request("GET", "/chat/1", asserting.server.token("client"))
    assert reply.status == 200
    assert NAME not in reply.headers
    assert NAME not in asserting.server.login(asserting.server.token("client")).headers


@pytest.mark.parametrize("lane", CARRIERS.values(), ids=CARRIERS)
def test_who_passes_unproven_has_none(tmp_path: Path, lane: bool) -> None:
    """Where verification is not enforced a bad token passes as nobody."""
    with asserting_gateway(tmp_path, lane=lane, extra='enforcement = { web = "report" }') as asserting:
        token = asserting.server.token("nobody", exp=1, ttl=None)
        reply = auth(asserting.server, token, "/auth/acme/web")
        assert (reply.status, reply.headers["x-identity-error"]) == (200, "token_expired")
        assert NAME not in reply.headers
        assert NAME in auth(asserting.server, asserting.server.token("somebody"), "/auth/acme/web").headers


@pytest.mark.parametrize("lane", CARRIERS.values(), ids=CARRIERS)
def test_without_an_audience_of_their_own_others_get_none(tmp_path: Path, lane: bool) -> None:
    """Where the table names no audience, an assertion is for the routes that do, and never for just anybody."""
    with asserting_gateway(tmp_path, lane=lane, audience=None) as asserting:
        token = asserting.server.token("audience")
        assert asserting.ask("/chat/1", token) == (200, [])
        assert NAME not in auth(asserting.server, token).headers
        assert asserting.verified(asserting.asserted("/other/1", token), OTHER)


# Its keys.


def test_the_keys_are_published_with_an_etag(asserting: Asserting) -> None:
    """Public members alone, of the assertions' key alone; there is no issuer to be discovered."""
    reply = asserting.server.request("GET", KEY_SET)
    (jwk,) = reply.json()["keys"]
    assert jwk.keys() == {"kty", "crv", "x", "y", "kid", "alg", "use"}
    kept = {"if-none-match": reply.headers["etag"]}
    assert asserting.server.request("GET", KEY_SET, headers=kept).status == 304
    assert asserting.server.request("GET", "/.well-known/openid-configuration").status == 404


@pytest.mark.parametrize("lane", CARRIERS.values(), ids=CARRIERS)
def test_without_a_key_no_identity_passes(tmp_path: Path, lane: bool) -> None:
    """Its last key was removed: 503 where one is due, and at `/readyz`; logins and nobody's requests go on."""
    with asserting_gateway(tmp_path, lane=lane) as asserting:
        server, token = asserting.server, asserting.server.token("outage")
        assert asserting.ask("/chat/1", token)[0] == auth(server, token).status == 200
        (jwk,) = server.request("GET", KEY_SET).json()["keys"]
        command(server, "keys", "retire", "assertion", jwk["kid"], "--now")
        until(lambda: auth(server, token).status == 503)
        assert auth(server, token).code == "keys_unavailable"
        assert NAME not in auth(server, token).headers
        refused = server.request("GET", "/chat/1", token)
        assert (refused.status, refused.code) == (503, "keys_unavailable")
        assert asserting.ask("/chat/ws", token, *HANDSHAKE) == (503, [])
        assert asserting.ask("/open/1") == (200, [])
        assert server.login(token).status == 200
        assert server.request("GET", "/readyz").status == 503
        made = json.loads(command(server, "keys", "generate", "assertion", "--json"))["key"]["kid"]
        Configuration(server, 1).in_force(keys_added=f"assertion/{made}")
        until(lambda: auth(server, token).status == 200)
        assert server.request("GET", "/readyz").status == 200
        assert asserting.verified(asserting.asserted("/chat/1", token))["payload"]["user_id"] == "outage"


@pytest.mark.parametrize("lane", CARRIERS.values(), ids=CARRIERS)
def test_a_reload_asserts_otherwise_at_once(tmp_path: Path, lane: bool) -> None:
    """A session gets no assertion of the configuration before; without the table it gets none."""
    with asserting_gateway(tmp_path, lane=lane) as asserting:
        server, token = asserting.server, asserting.server.token("reloaded")
        configuration = Configuration(server, 1)
        for _ in range(2):
            assert asserting.verified(asserting.asserted("/chat/1", token))
            assert asserting.verified(auth(server, token).headers[NAME])
        configuration.replace(configuration.text.replace(AUDIENCE, "https://new.acme.example"))
        configuration.in_force(changed="assertion")
        for given in (asserting.asserted("/chat/1", token), auth(server, token).headers[NAME]):
            assert asserting.verified(given, "https://new.acme.example")
        assert asserting.verified(asserting.asserted("/other/1", token), OTHER)
        without = configuration.text.replace(f'audience = "{OTHER}"', "")
        table = without[without.index("[assertion]") : without.index("[workspaces.acme]")]
        configuration.replace(without.replace(table, ""))
        configuration.in_force(changed="assertion", times=2)
        assert asserting.ask("/chat/1", token) == (200, [])
        assert NAME not in auth(server, token).headers
        assert server.request("GET", KEY_SET).status == 404


# What it is not: a login token (B13).


def everywhere(asserting: Asserting, token: str) -> dict[str, tuple[int, str | None]]:
    """The status and the code that a token meets wherever one is taken."""
    server = asserting.server
    replies = {
        "login": server.login(token),
        "login by body": server.login(None, {"intercom_user_jwt": token}),
        "me": server.request("GET", "/messenger/me", token),
        "logout": server.request("POST", "/messenger/logout", token),
        "auth": auth(server, token),
        "auth of a workspace": auth(server, token, "/auth/acme/ios"),
        "proxy": server.request("GET", "/chat/1", token),
        "proxy, optional": server.request("GET", "/open/1", token),
        "proxy by cookie": server.request("GET", "/chat/1", headers={"Cookie": f"session={token}"}),
        "socket": server.request("GET", "/chat/ws", token, headers=dict(line.split(": ") for line in HANDSHAKE)),
        "socket by subprotocol": server.request(
            "GET",
            "/chat/ws",
            headers={
                **dict(line.split(": ") for line in HANDSHAKE),
                "Sec-WebSocket-Protocol": f"bearer.{token}, identity",
            },
        ),
    }
    return {name: (reply.status, reply.code) for name, reply in replies.items()} | {
        "middleware": _middleware(server, token)
    }


def _middleware(server: Server, token: str) -> tuple[int, str | None]:
    async def whoami(request: Request) -> Response:
        return Response(request.user.identity)

    authenticator = create_authenticator(server.folder / "gateway.toml")
    inside = [Middleware(IdentityMiddleware, authenticator=authenticator, workspace="acme", optional=True)]
    with TestClient(Starlette(routes=[Route("/", whoami)], middleware=inside)) as client:
        answer = client.get("/", headers={"Authorization": f"Bearer {token}"})
        return answer.status_code, answer.json().get("code") if answer.status_code != 200 else None


def test_b13_it_is_refused_as_a_login_token_everywhere(asserting: Asserting) -> None:
    """One that the upstream kept opens nothing here, for whomever it was made; nor does the admin listener take it."""
    given = [
        asserting.asserted("/chat/1", asserting.server.token("b13")),
        auth(asserting.server, asserting.server.token("b13")).headers[NAME],
    ]
    before = len(asserting.upstream.heads)
    for assertion in given:
        met = everywhere(asserting, assertion)
        assert set(met.values()) == {(401, "audience_mismatch")}, met
        assert asserting.server.admin("GET", "/contacts", token=assertion).status == 401
    assert len(asserting.upstream.heads) == before
    assert given[0] not in asserting.server.log()


@pytest.mark.parametrize("lane", CARRIERS.values(), ids=CARRIERS)
def test_b13_an_issuer_that_trusts_our_key_set_takes_none(tmp_path: Path, lane: bool) -> None:
    """Misconfigured to verify with the assertions' public keys, in a workspace that looks at no audience."""
    trap = """
[workspaces.trap]
[[workspaces.trap.issuers]]
name = "trap"
issuer = "https://trap.example"
insecure_no_audience = true
algorithms = ["ES256"]
user_id_claim = "user_id"
jwks_file = "trap.json"
"""
    (tmp_path / "trap.json").write_text('{"keys": []}')
    with asserting_gateway(tmp_path, lane=lane) as asserting:
        server = asserting.server
        jwks = server.request("GET", KEY_SET).json()
        (tmp_path / "trap.json").write_text(json.dumps(jwks))
        config = tmp_path / "gateway.toml"
        config.write_text(config.read_text() + trap)
        until(lambda: auth(server, None, "/auth/trap").code == "credentials_missing")
        assertion = asserting.asserted("/chat/1", server.token("b13"))
        reply = auth(server, assertion, "/auth/trap")
        assert (reply.status, reply.code) == (401, "audience_mismatch")
        # What else the key might sign in that name would be taken: it is the typ that stands in the way.
        key = load_keyring(tmp_path / "assertion.json").keys[0].signing_key()
        claims = {"iss": "https://trap.example", "user_id": "b13"}
        types = ("identity-assertion+jwt", "application/IDENTITY-assertion+JWT", "JWT")
        forged = {typ: issue_token(claims, key, ttl=60, now=time.time(), header={"typ": typ}) for typ in types}
        assert [auth(server, token, "/auth/trap").status for token in forged.values()] == [401, 401, 200]
