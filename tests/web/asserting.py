"""A gateway that asserts identities to the upstreams behind its routes, and an upstream that keeps what it was told."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import jwt
from msgspec import Struct

from tests.keyrings import add_key
from tests.web.conftest import Server, running_gateway
from tests.web.proxy.conftest import OK, Proxied, fields_of, status
from tests.web.proxy.upstream import ScriptedUpstream, saying, scripted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ISSUER, AUDIENCE, OTHER = "https://gateway.acme.example", "https://chat.acme.example", "https://other.acme.example"
NAME = "x-identity-assertion"
KEY_SET = "/.well-known/jwks.json"
HANDSHAKE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


class Asserting(Struct, frozen=True):
    """A gateway and the upstream behind all its routes."""

    server: Server
    upstream: ScriptedUpstream

    def ask(self, path: str, token: str | None = None, *fields: str) -> tuple[int, list[str]]:
        """The status of one request, and every assertion that its upstream got; none when it got no request."""
        before = len(self.upstream.heads)
        credential = [f"Authorization: Bearer {token}"] if token else []
        lines = [f"GET {path} HTTP/1.1", "Host: gateway", *credential, *fields]
        lines += [] if fields and "Upgrade" in fields[0] else ["Connection: close"]
        answer = Proxied(self.server, self.upstream, lane=True).talk("\r\n".join([*lines, "", ""]).encode())
        got = [value for head in self.upstream.heads[before:] for name, value in fields_of(head) if is_ours(name)]
        return status(answer), got

    def asserted(self, path: str, token: str, *fields: str) -> str:
        """The one assertion that the upstream gets with a request that is let through."""
        answered, (assertion,) = self.ask(path, token, *fields)
        assert answered in {200, 418}
        return assertion

    def told(self) -> dict[str, str]:
        """The newest request's fields."""
        return dict(fields_of(self.upstream.heads[-1]))

    def verified(self, assertion: str, audience: str = AUDIENCE) -> dict[str, Any]:
        """Header and claims as an upstream reads them that has the published keys."""
        jwks = self.server.request("GET", KEY_SET).json()
        (jwk,) = [one for one in jwks["keys"] if one["kid"] == jwt.get_unverified_header(assertion)["kid"]]
        return dict(
            jwt.decode_complete(
                assertion, jwt.PyJWK(jwk), algorithms=["ES256"], issuer=ISSUER, audience=audience, leeway=5
            )
        )


def is_ours(name: str) -> bool:
    """Whether some server would take a name for that of the assertion."""
    return name.replace("_", "-").replace(".", "-") == NAME


def assertion_table(folder: Path, audience: str | None) -> str:
    """Settings of assertions whose keyring has a key already."""
    named = "" if audience is None else f'audience = "{audience}"'
    add_key(folder / "assertion.json", "ES256")
    return f"""
[assertion]
keyring = "assertion.json"
issuer = "{ISSUER}"
{named}
"""


def routes_to(url: str) -> str:
    """Routes of every access to one upstream, one of which has an audience of its own."""
    return f"""
[[workspaces.acme.routes]]
prefix = "/chat/"
upstream = "{url}"
cookie = "session"
[[workspaces.acme.routes]]
prefix = "/other/"
upstream = "{url}"
audience = "{OTHER}"
[[workspaces.acme.routes]]
prefix = "/open/"
upstream = "{url}"
access = "optional"
[[workspaces.acme.routes]]
prefix = "/public/"
upstream = "{url}"
access = "public"
"""


@contextlib.contextmanager
def asserting_gateway(
    folder: Path, *, extra: str = "", others: str = "", audience: str | None = AUDIENCE, **settings: Any
) -> Iterator[Asserting]:
    """Both, for the time of a block. The upstream refuses no request and every WebSocket."""
    table = assertion_table(folder, audience) + others
    with (
        scripted(saying(OK)) as upstream,
        running_gateway(folder, extra=extra + routes_to(upstream.url), others=table, **settings) as server,
    ):
        yield Asserting(server, upstream)
