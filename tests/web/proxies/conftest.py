"""One gateway, and before it each proxy with its block of the README, in four situations."""

from __future__ import annotations

import contextlib
import http.client
import time
from typing import TYPE_CHECKING

import pytest
from msgspec import Struct

from gateway.identity.issuing import issue_token
from gateway.web.headers import HeaderNames, one_spelling, reserved_names
from keys.jwk import generate_signing_key
from tests.web.conftest import Reply, Server, free_port, running_gateway
from tests.web.proxies.echo import Echo, Seen, running_echo, seen_in
from tests.web.proxies.recorder import Recorder, recorded
from tests.web.proxies.running import KINDS, running_proxy

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

RESERVED = [name.lower() for name in reserved_names(HeaderNames())]
DARK = "https://dark.example"
ALIASES = "-----___...!#$%&'*+^`|~"
"""What a dash may be spelled as in a name, for the back ends that read all of these alike."""

Pairs = list[tuple[str, str]]


class Proxied(Struct, frozen=True):
    """A proxy before an upstream, asking the gateway over a recorder, if it asks anybody at all."""

    kind: str
    port: int
    server: Server
    echo: Echo
    recorder: Recorder | None
    """None where nobody listens whom it could ask."""

    def client(self) -> contextlib.closing[http.client.HTTPConnection]:
        """A connection of a client, kept alive as long as the proxy does."""
        return contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60))

    def ask(
        self,
        headers: Pairs,
        *,
        method: str = "GET",
        target: str = "/chat/1",
        body: bytes | None = None,
        client: http.client.HTTPConnection | None = None,
    ) -> Reply:
        """One request with these headers, duplicates and all."""
        with contextlib.nullcontext(client) if client else self.client() as connection:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, named, response.read())

    def seen(self, headers: Pairs, target: str = "/chat/1", client: http.client.HTTPConnection | None = None) -> Seen:
        """What the upstream sees of a request that passes."""
        reply = self.ask(headers, target=target, client=client)
        assert reply.status == 200, reply
        return seen_in(reply.body)


def bearer(token: str) -> tuple[str, str]:
    """The credential."""
    return ("Authorization", f"Bearer {token}")


def identity_of(seen: Seen) -> dict[str, str]:
    """The identity headers that the upstream sees, in every spelling that some server reads as one of them.

    A name stands there once, or the test fails. An empty value is nobody's.
    """
    found = [(one_spelling(name.encode()).decode(), value) for name, value in seen.headers + seen.trailers]
    ours = [(name, value) for name, value in found if name in RESERVED and value]
    assert len(dict(ours)) == len(ours), ours
    return dict(ours)


def spellings(rng: random.Random, count: int) -> Pairs:
    """Random spellings of random identity headers, each with a value that says so; about one in eight comes twice."""
    pairs = []
    for _ in range(count):
        name = rng.choice(RESERVED)
        spelled = "".join(
            rng.choice(ALIASES) if letter == "-" else rng.choice([letter.lower(), letter.upper()]) for letter in name
        )
        pairs += [(spelled, "spoofed")] * (2 if rng.random() < 1 / 8 else 1)
    return pairs


@pytest.fixture(scope="module", name="gateway")
def _gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A gateway that enforces nothing on the web, and whose workspace `dark` never gets its keys."""
    dark = f"""
[workspaces.dark]
[[workspaces.dark.issuers]]
name = "remote"
profile = "oidc"
issuer = "{DARK}"
audience = ["messenger"]
algorithms = ["ES256"]
user_id_claim = "user_id"
insecure_jwks_loopback = true
jwks_url = "http://127.0.0.1:{free_port()}/jwks.json"
"""
    with running_gateway(
        tmp_path_factory.mktemp("gateway"),
        public='default_workspace = "acme"',
        extra='enforcement = { web = "off" }',
        others=dark,
    ) as server:
        yield server


@pytest.fixture(scope="module", name="echo")
def _echo() -> Iterator[Echo]:
    with running_echo() as echo:
        yield echo


@pytest.fixture(scope="module", params=KINDS, name="kind")
def _kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


def _proxied(
    kind: str, gateway: Server, echo: Echo, factory: pytest.TempPathFactory, auth: str = "/auth"
) -> Iterator[Proxied]:
    folder = factory.mktemp(kind)
    with (
        recorded(gateway.port) as recorder,
        running_proxy(kind, folder, gateway=recorder.port, upstream=echo.port, auth=auth) as port,
    ):
        yield Proxied(kind, port, gateway, echo, recorder)


@pytest.fixture(scope="module", name="proxy")
def _proxy(kind: str, gateway: Server, echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """A proxy that asks `/auth`, as the README has it."""
    yield from _proxied(kind, gateway, echo, tmp_path_factory)


@pytest.fixture(scope="module", name="lenient")
def _lenient(kind: str, gateway: Server, echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """A proxy that asks where nothing is enforced."""
    yield from _proxied(kind, gateway, echo, tmp_path_factory, "/auth/acme/web")


@pytest.fixture(scope="module", name="dark")
def _dark(kind: str, gateway: Server, echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """A proxy that asks for a workspace without keys: `dark_bearer` meets a 503."""
    yield from _proxied(kind, gateway, echo, tmp_path_factory, "/auth/dark")


@pytest.fixture(scope="module", name="down")
def _down(kind: str, gateway: Server, echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """A proxy whose gateway is not there."""
    folder = tmp_path_factory.mktemp(kind)
    with running_proxy(kind, folder, gateway=free_port(), upstream=echo.port) as port:
        yield Proxied(kind, port, gateway, echo, None)


def dark_bearer() -> tuple[str, str]:
    """A credential that only keys could judge which the gateway does not get."""
    claims = {"user_id": "ada", "iss": DARK, "aud": "messenger"}
    return bearer(issue_token(claims, generate_signing_key("ES256"), ttl=600, now=time.time()))
