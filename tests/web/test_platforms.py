"""Secrets of platforms: what a secret of one platform signs is nothing to another, in every ending."""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from gateway import IdentityMiddleware, create_authenticator
from gateway.contacts.access_token import Scope
from gateway.errors import Code, Refusal
from gateway.identity.claims import ClaimPolicy
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.issuing import issue_token
from gateway.identity.platforms import Platform
from gateway.identity.verifier import TokenVerifier
from keys.jwk import generate_signing_key, key_from_jwk, key_from_secret, signing_key_from_secret
from keys.keyset import KeySet
from tests.awaited import at_once
from tests.web.conftest import Reply, Server, access_token, command, running_gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from starlette.requests import Request

SECRETS = {name: os.urandom(32).hex() for name in ("web", "mobile", "any")}
PLATFORMS = {"web": ["web"], "mobile": ["ios", "android"], "any": []}
GOOD = {
    "web": {None, "web"},
    "mobile": {None, "ios", "android"},
    "any": {None, "web", "ios", "android"},
}
"""On which platforms a secret's tokens are good; None is a request that names none."""


def apps(folder: Path) -> str:
    """A workspace with a secret for the web, one for mobile applications, and one for all."""
    for name, secret in SECRETS.items():
        (folder / name).write_text(secret)
        (folder / name).chmod(0o600)
    secrets = ", ".join(
        f'{{ id = "{name}", secret_file = "{folder / name}", platforms = {json.dumps(platforms)} }}'
        for name, platforms in PLATFORMS.items()
    )
    return f"""
[workspaces.apps]
[[workspaces.apps.issuers]]
name = "messenger"
profile = "intercom"
secrets = [{secrets}]
"""


@pytest.fixture(scope="module", params=["express lane", "ASGI"], name="gateway")
def _gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("platforms")
    with running_gateway(folder, lane=request.param == "express lane", others=apps(folder)) as running:
        yield running


def token(secret: str, *, kid: bool = True, user_id: str = "user-1") -> str:
    key = signing_key_from_secret(SECRETS[secret], kid=secret if kid else None)
    return issue_token({"user_id": user_id}, key, ttl=600, now=time.time())


def answers(gateway: Server, presented: str, platform: str | None) -> dict[str, Reply]:
    """What every address says to a token, on a platform."""
    query = "?app_id=apps" + (f"&platform={platform}" if platform else "")
    body = {"app_id": "apps", "platform": platform}
    return {
        "body": gateway.login(presented, body),
        "query": gateway.request("POST", f"/messenger/login{query}", presented),
        "me": gateway.request("GET", f"/messenger/me{query}", presented),
        "auth": gateway.request("GET", "/auth/apps" + (f"/{platform}" if platform else ""), presented),
    }


@pytest.mark.parametrize("kid", [True, False], ids=["kid", "no kid"])
@pytest.mark.parametrize("secret", SECRETS)
def test_b09_a_secret_is_good_for_its_platforms_alone(gateway: Server, secret: str, kid: bool) -> None:
    """Twice on each platform, good ones first: what is remembered of a token lets it pass on no other platform."""
    presented = token(secret, kid=kid)
    platforms = sorted((None, *Platform), key=lambda platform: platform not in GOOD[secret])
    for platform in (*platforms, *platforms, *reversed(platforms)):
        for ending, reply in answers(gateway, presented, platform).items():
            if platform in GOOD[secret]:
                assert reply.status == 200, (ending, platform)
            else:
                code = "kid_unknown" if kid else "signature_invalid"
                assert (reply.status, reply.code) == (401, code), (ending, platform)


def test_b09_the_middleware_serves_one_platform(gateway: Server) -> None:
    """Two mounts over one authenticator: what it remembers for the one is nothing to the other."""
    authenticator = create_authenticator(gateway.folder / "gateway.toml")

    async def whoami(request: Request) -> Response:
        return Response(request.user.identity)

    @contextlib.asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[None]:
        yield
        await authenticator.close()

    serve: dict[str, Any] = {"authenticator": authenticator, "workspace": "apps"}
    routes = [
        Mount(f"/{platform}", IdentityMiddleware(Route("/", whoami), platform=platform, **serve))
        for platform in Platform
    ]
    routes.append(Mount("/", IdentityMiddleware(Route("/", whoami), **serve)))
    with TestClient(Starlette(routes=routes, lifespan=lifespan)) as client:
        for platform in ("ios", "web", "", "android", "web"):
            headers = {"Authorization": f"Bearer {token('mobile')}"}
            reply = client.get(f"/{platform}/".replace("//", "/"), headers=headers)
            assert reply.status_code == (401 if platform == "web" else 200), platform


def test_the_middleware_knows_its_platform_or_does_not_start() -> None:
    """A platform that is none would be one that nothing is enforced on, or nobody let in."""
    authenticator: Any = None
    with pytest.raises(ValueError, match="windows"):
        IdentityMiddleware(Starlette(), authenticator=authenticator, platform="windows")


def test_an_explanation_is_the_verdict_of_a_platform(gateway: Server) -> None:
    """The command and the admin listener explain a token as on a platform, with the keys that are enabled there."""
    operator = access_token(gateway, Scope.CONTACTS_READ, workspace="apps")
    for secret, good in GOOD.items():
        for platform in (None, *Platform):
            body = {"token": token(secret), "platform": platform}
            told = gateway.admin("POST", "/tokens/inspect", body, operator).json()
            expected = None if platform in good else "kid_unknown"
            assert (told["accepted"], told["code"]) == (expected is None, expected)
            (key,) = [check for check in told["checks"] if check["name"] == "key"]
            assert ("mobile" in key["expected"]) == (platform != "web")
    arguments = ("token", "inspect", token("mobile"), "--json", "-w", "apps", "--platform")
    assert json.loads(command(gateway, *arguments, "web", exit_code=1))["code"] == "kid_unknown"
    assert json.loads(command(gateway, *arguments, "ios"))["accepted"] is True
    for wrong in ("windows", "", 1):
        reply = gateway.admin("POST", "/tokens/inspect", {"token": "x", "platform": wrong}, operator)
        assert (reply.status, reply.json()["errors"][0]["field"]) == (400, "platform")


@pytest.mark.parametrize("platform", ["", "Web", "WEB", "web ", "windows", "web,ios", "null", "0", "\x00"])
def test_another_platform_is_no_request_of_ours(gateway: Server, platform: str) -> None:
    """Three names, in one spelling; in the path another one is no address."""
    for reply in (
        gateway.login(token("any"), {"app_id": "apps", "platform": platform}),
        gateway.request(
            "POST",
            "/messenger/login?" + str(httpx2.QueryParams({"app_id": "apps", "platform": platform})),
            token("any"),
        ),
    ):
        assert (reply.status, reply.code, reply.json()["field"]) == (400, "request_invalid", "platform")
    assert gateway.request("GET", "/auth/apps/windows", token("any")).status == 404
    assert gateway.request("GET", "/auth/apps/", token("any")).status == 404
    assert gateway.request("GET", "/auth/web", token("any")).status == 404


@pytest.mark.parametrize("platform", [1, True, ["web"], {"web": 1}])
def test_a_platform_is_text(gateway: Server, platform: object) -> None:
    """As every member that is read."""
    reply = gateway.login(token("any"), {"app_id": "apps", "platform": platform})
    assert (reply.status, reply.code, reply.json()["field"]) == (400, "request_invalid", "platform")


def test_two_platforms_are_never_ranked(gateway: Server) -> None:
    """In the body and in the query, or twice in the query; the same one twice is one."""
    encoded = json.dumps({"app_id": "apps", "platform": "ios"}).encode()
    for query, status in (("platform=web", 400), ("platform=ios", 200), ("platform=ios&platform=web", 400)):
        reply = gateway.request(
            "POST",
            f"/messenger/login?{query}",
            token("mobile"),
            headers={"Content-Type": "application/json"},
            body=encoded,
        )
        assert reply.status == status, query
    assert gateway.request("GET", "/messenger/me?app_id=apps&platform=ios&platform=web", token("any")).status == 400


def test_c04_a_query_names_no_platform_to_forward_auth(gateway: Server) -> None:
    """There the platform is the operator's to name: a client's query changes nothing."""
    for path in ("/auth/apps/web?platform=ios", "/auth/apps/web?/ios", "/auth/apps/web?app_id=apps&platform=android"):
        assert gateway.request("GET", path, token("mobile")).code == "kid_unknown"


def test_an_asymmetric_key_is_enabled_for_all() -> None:
    """It has no platforms: its tokens are good on each; a secret that lists them is good on those."""
    signer = generate_signing_key("ES256")
    for keys, claims, good in (
        (KeySet([key_from_jwk(signer.public_jwk())]), {"iss": "https://a.example"}, {None, *Platform}),
        (KeySet([key_from_secret(SECRETS["web"], "web", platforms=frozenset({"web"}))]), {}, {None, Platform.WEB}),
    ):
        key = signer if claims else signing_key_from_secret(SECRETS["web"], "web")
        issuer = TrustedIssuer(
            name="login",
            workspace="acme",
            algorithms=(key.algorithm,),
            keys=keys,
            policy=ClaimPolicy(),
            email_authoritative=False,
            issuer=claims.get("iss"),
        )
        verifier = TokenVerifier([issuer], time.time)
        presented = issue_token({"user_id": "user-1", **claims}, key, ttl=600, now=time.time()).encode()
        for platform in (None, *Platform):
            verification = verifier.verify(presented, "acme", platform)
            if platform in good:
                assert at_once(verification).user_id == "user-1"
            else:
                with pytest.raises(Refusal, match=Code.KID_UNKNOWN):
                    at_once(verification)
