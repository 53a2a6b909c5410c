"""The bytes that are matched are the bytes that are sent, and what could be read as another path is not sent at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.web.conftest import running_gateway
from tests.web.proxy import test_target as corpus
from tests.web.proxy.conftest import CARRIERS, OK, Proxied, field, status
from tests.web.proxy.upstream import saying, scripted

if TYPE_CHECKING:
    from collections.abc import Iterator

REFUSED = (
    *(*corpus.DOT_SEGMENTS, *corpus.ENCODED_DOTS, *corpus.SEPARATORS, *corpus.DOUBLE, *corpus.PARAMETERS),
    *corpus.PLAIN,
)
QUERIES = ("?a=1", "?a=%2e%2e%2f", "?../../chat/", "?a?b", "?//", "?a=b;c", "?x=%zz", "?a=\\..\\", "?%23", "?/chat/x")


def target(proxied: Proxied) -> str:
    """The target of the newest request as the upstream got it."""
    return proxied.received().split(b" ")[1].decode("latin-1")


@pytest.mark.parametrize("path", [path for path in corpus.GOOD if path != "/"])
def test_b06_what_is_matched_is_what_is_sent(proxied: Proxied, path: str) -> None:
    """B06: byte for byte, with any query."""
    for query in ("", *QUERIES):
        sent = f"/public{path}{query}"
        assert status(proxied.ask(f"GET {sent}")) == 200
        assert target(proxied) == sent


@pytest.mark.parametrize("tail", REFUSED)
def test_b06_a_way_from_a_public_path_to_a_guarded_one_is_refused(proxied: Proxied, tail: str) -> None:
    """B05, B06: traps between /public/ and /chat/ reach neither, with a token or without one."""
    heard = len(proxied.upstream.heads)
    for path in (f"/public{tail}", f"/public/x{tail}", f"/chat{tail}"):
        for token in (None, proxied.server.token("ada")):
            assert status(proxied.ask(f"GET {path}", token=token)) == 400
    assert len(proxied.upstream.heads) == heard


@pytest.mark.parametrize(
    "line",
    ["GET /public/x#/chat/", "GET /public/#", "GET http://gateway/public/x", "GET gateway/public/x", "OPTIONS *"],
)
def test_b05_a_target_in_another_form_is_refused(proxied: Proxied, line: str) -> None:
    """B05: neither a fragment nor an authority takes part in anything."""
    heard = len(proxied.upstream.heads)
    assert status(proxied.ask(line)) == 400
    assert len(proxied.upstream.heads) == heard


@pytest.mark.parametrize(
    "path", ["/publicx", "/publi", "/public%23/x", "/public%3f/x", "/PUBLIC/x", "/chatter", "/", "/x/public/"]
)
def test_b05_a_prefix_matches_whole_segments(proxied: Proxied, path: str) -> None:
    """B05: and in its own case."""
    assert status(proxied.ask(f"GET {path}")) == 404


def test_a_prefix_takes_its_own_name(proxied: Proxied) -> None:
    """/public is the same place as /public/, and what is asked for it is the same."""
    assert status(proxied.ask("GET /public?x")) == 200
    assert target(proxied) == "/public?x"
    assert status(proxied.ask("GET /chat")) == 401


@pytest.mark.parametrize("query", ["?public", "?/public/", "?x=/public/x", "?%2e%2e/public/"])
def test_b05_a_query_opens_nothing(proxied: Proxied, query: str) -> None:
    """B05: only the path is matched."""
    assert status(proxied.ask(f"GET /chat/x{query}")) == 401


@pytest.mark.parametrize("host", ["chat.acme.example", "CHAT.acme.EXAMPLE:8080", "chat.acme.example."])
def test_a_route_of_a_host(proxied: Proxied, host: str) -> None:
    """The port, the case and a last dot do not matter; the upstream gets the host as it was sent."""
    assert status(proxied.ask("GET /hosted/x", f"Host: {host}")) == 200
    assert field(proxied.received(), "host") == host


@pytest.mark.parametrize(
    "host", ["acme.example", "xchat.acme.example", "chat.acme.example.evil", "chat_acme.example", ""]
)
def test_another_host_has_other_routes(proxied: Proxied, host: str) -> None:
    """B27: names are compared whole, and a dot is a dot."""
    assert status(proxied.ask("GET /hosted/x", f"Host: {host}")) == 404


def test_a_host_that_is_none_is_refused(proxied: Proxied) -> None:
    """Also on a route that asks for nothing; two hosts as well."""
    heard = len(proxied.upstream.heads)
    for fields in (["Host: a@chat.acme.example"], ["Host: a/b"], ["Host: chat.acme.example", "Host: b"]):
        assert status(proxied.ask("GET /public/x", *fields)) == 400
    assert len(proxied.upstream.heads) == heard


@pytest.fixture(scope="module", params=CARRIERS)
def everything(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """A gateway whose only route takes every path, but for one prefix on one host that asks for a token."""
    lane = CARRIERS[request.param]
    with scripted(saying(OK)) as upstream:
        route = "[[workspaces.acme.routes]]\n"
        extra = f'{route}prefix = "/"\naccess = "public"\nupstream = "{upstream.url}"\n'
        extra += f'{route}prefix = "/in/"\nhost = "chat.example"\nupstream = "{upstream.url}"\n'
        with running_gateway(tmp_path_factory.mktemp("everything"), lane=lane, extra=extra) as server:
            yield Proxied(server, upstream, lane)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("GET /healthz", 200),
        ("GET /readyz", 200),
        ("GET /auth", 401),
        ("DELETE /auth/acme", 401),
        ("GET /messenger/me", 401),
        ("PUT /messenger/login", 405),
        ("GET /messenger/logout", 405),
        ("GET /.well-known/jwks.json", 404),
    ],
)
def test_no_route_takes_an_address_of_ours(everything: Proxied, line: str, expected: int) -> None:
    """B04: over a prefix of `/`, too, and whatever the method, our own addresses are ours, exactly as they are."""
    heard = len(everything.upstream.heads)
    assert status(everything.ask(line)) == expected
    assert len(everything.upstream.heads) == heard


@pytest.mark.parametrize("path", ["/healthz/", "/authx", "/messenger/", "/Healthz", "/"])
def test_all_else_is_the_routes(everything: Proxied, path: str) -> None:
    """Our addresses are taken exactly."""
    assert status(everything.ask(f"GET {path}")) == 200
    assert target(everything) == path


def test_the_longest_prefix_wins_on_its_host(everything: Proxied) -> None:
    """The more exact route decides what is asked, on its host and on no other."""
    assert status(everything.ask("GET /in/x", "Host: chat.example")) == 401
    assert status(everything.ask("GET /in/x", "Host: other.example")) == 200
