"""Rate limits: whose budget a request is charged to, who is refused, and who never is because of somebody else."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from typing import TYPE_CHECKING

import pytest

from gateway.errors import SettingsInvalid
from gateway.settings import settings_from
from gateway.web.limits.client_limits import ClientAddresses
from tests.web.conftest import Reply, Server, other_workspace, running_gateway
from tests.web.proxy.conftest import until
from tests.web.proxy.upstream import saying, scripted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NETWORKS = [ipaddress.ip_network(one) for one in ("10.0.0.0/8", "127.0.0.0/8", "2001:db8:1::/48")]
TRUSTED = 'trusted_proxies = ["127.0.0.1"]'


def forwarded(*chains: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-forwarded-for", chain.encode()) for chain in chains]


@pytest.mark.parametrize(
    ("peer", "chains", "address"),
    [
        ("192.0.2.1", (), "192.0.2.1"),
        ("192.0.2.1", ("198.51.100.1",), "192.0.2.1"),  # a stranger's word
        ("10.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("10.0.0.1", ("203.0.113.9, 198.51.100.1",), "198.51.100.1"),  # what is left of the first stranger is his word
        ("10.0.0.1", ("203.0.113.9", "198.51.100.1"), "198.51.100.1"),
        ("10.0.0.1", ("198.51.100.1, 10.0.0.2, 10.0.0.3",), "198.51.100.1"),
        ("10.0.0.1", ("10.0.0.1, 198.51.100.1",), "198.51.100.1"),
        ("10.0.0.1", ("198.51.100.1:4711",), "198.51.100.1"),
        ("10.0.0.1", ("[2001:db8:2::1]:4711",), "2001:db8:2::/64"),
        ("10.0.0.1", ("_hidden",), "_hidden"),
        ("10.0.0.1", (), None),
        ("10.0.0.1", (", ,",), None),
        ("10.0.0.1", ("10.0.0.7",), None),
        (None, ("198.51.100.1",), "198.51.100.1"),
        ("2001:db8:2::1", (), "2001:db8:2::/64"),
        ("2001:db8:2:0:ffff::9", (), "2001:db8:2::/64"),
        ("2001:db8:2:1::1", (), "2001:db8:2:1::/64"),
        ("2001:db8:1::1", ("2001:db8:2::5",), "2001:db8:2::/64"),
        ("::ffff:192.0.2.1", (), "192.0.2.1"),
        ("::ffff:10.0.0.1", ("::ffff:192.0.2.1",), "192.0.2.1"),
    ],
)
def test_b03_whom_a_request_is_from(peer: str | None, chains: tuple[str, ...], address: str | None) -> None:
    """B03: the peer, or the right-most hop that no trusted proxy vouches for; IPv6 by its /64."""
    assert ClientAddresses(NETWORKS).of(peer, forwarded(*chains)) == address


def test_long_hops_fill_no_memory() -> None:
    """A hop of 32 KiB is remembered by its beginning, and only so many are."""
    addresses = ClientAddresses(NETWORKS)
    for number in range(5_000):
        addresses.of("10.0.0.1", forwarded(f"{number}" + "x" * 30_000))
    assert sum(map(len, addresses._known)) < 1_000_000


@contextlib.contextmanager
def limited(folder: Path, limits: str, **settings: object) -> Iterator[Server]:
    """A gateway with these limits; its public listener trusts this machine for `X-Forwarded-For`."""
    others = f"[limits]\n{limits}\n{settings.pop('others', '')}"
    public = f'{TRUSTED}\ndefault_workspace = "acme"'
    with running_gateway(folder, public=public, others=others, **settings) as server:  # type: ignore[arg-type]  # as given
        yield server


def ask(server: Server, path: str, token: str | None, address: str) -> Reply:
    """A request by way of a trusted proxy that says who asks."""
    method = "POST" if path == "/messenger/login" else "GET"
    return server.request(method, path, token, headers={"X-Forwarded-For": address})


@pytest.mark.parametrize("lane", [True, False])
def test_a_contact_has_a_budget_of_its_own(tmp_path: Path, lane: bool) -> None:
    """429 with Retry-After, 503 at `/auth`; whatever token it comes with, on every way in; nobody else is refused."""
    with scripted(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as upstream:
        route = f'[[workspaces.acme.routes]]\nprefix = "/chat/"\nupstream = "{upstream.url}"\n'
        with limited(tmp_path, 'per_contact = "3/hour"', lane=lane, extra=route) as server:
            first, second = server.token("greedy"), server.token("greedy", ttl=601)
            answers = [
                ask(server, path, token, "192.0.2.1")
                for path, token in (("/messenger/login", first), ("/auth", second), ("/chat/x", first))
            ]
            assert [answer.status for answer in answers] == [200, 200, 200]
            for path, status in (("/messenger/login", 429), ("/messenger/me", 429), ("/chat/x", 429), ("/auth", 503)):
                refused = ask(server, path, second, "192.0.2.2")
                assert (refused.status, refused.code) == (status, "rate_limited")
                assert 1_100 <= int(refused.headers["retry-after"]) <= 1_200
                assert refused.headers["content-type"] == "application/problem+json"
                assert "x-contact-id" not in refused.headers
            assert ask(server, "/messenger/login", server.token("other"), "192.0.2.1").status == 200
            assert len(upstream.heads) == 1


def test_bad_tokens_spend_nothing_of_a_workspace(tmp_path: Path) -> None:
    """Nor does a contact that has no budget left, nor another workspace: the good ones have all of it."""
    limits = 'per_contact = "3/hour"\nper_workspace = "6/hour"'
    with limited(tmp_path, limits, others=other_workspace(tmp_path)) as server:
        greedy = server.token("greedy")
        forged = greedy[:-4] + "AAAA"
        assert {ask(server, "/auth", forged, f"192.0.2.{n}").status for n in range(20)} == {401}
        assert {ask(server, "/auth", None, f"192.0.2.{n}").status for n in range(20)} == {401}
        assert [ask(server, "/messenger/me", greedy, "192.0.2.1").status for _ in range(10)] == [200] * 3 + [429] * 7
        good = [ask(server, "/messenger/me", server.token(f"good-{n}"), "192.0.2.1").status for n in range(4)]
        assert good == [200, 200, 200, 429]


@pytest.mark.parametrize("lane", [True, False])
def test_an_address_is_charged_for_whatever_it_sends(tmp_path: Path, lane: bool) -> None:
    """Good, bad and lost requests of one address; others go on, health and the admin listener are asked for nothing."""
    with limited(tmp_path, "per_address = { requests = 4, seconds = 3600 }", lane=lane) as server:
        bad, good = server.token("a")[:-4] + "AAAA", server.token("a")
        spent = [
            ask(server, path, token, "192.0.2.1").status for path, token in (("/auth", bad), ("/messenger/me", None))
        ]
        spent += [ask(server, "/messenger/me", good, "192.0.2.1").status for _ in range(3)]
        assert spent == [401, 401, 200, 200, 429]
        assert ask(server, "/auth", good, "192.0.2.1").status == 503
        assert ask(server, "/messenger/login", good, "192.0.2.2").status == 200
        assert ask(server, "/messenger/login", good, "8.8.8.8, 192.0.2.1").status == 429
        assert ask(server, "/healthz", None, "192.0.2.1").status == 200
        assert server.admin("GET", "/contacts").status == 200
        assert [server.login(good).status for _ in range(6)] == [200] * 6  # the proxy's own


def test_a_stranger_names_no_other_address(tmp_path: Path) -> None:
    """B03: without trusted proxies `X-Forwarded-For` gives nobody another budget, and takes nobody's."""
    with running_gateway(tmp_path, others='[limits]\nper_address = "3/hour"\n') as server:
        answers = [ask(server, "/messenger/me", server.token(), f"192.0.2.{n}").status for n in range(5)]
        assert answers == [200, 200, 200, 429, 429]


def test_a_socket_is_refused_by_a_status(tmp_path: Path) -> None:
    """The handshake of a WebSocket is charged like any request; its refusal is a 429 before the upgrade."""
    with scripted(saying(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")) as upstream:
        route = f'[[workspaces.acme.routes]]\nprefix = "/chat/"\nupstream = "{upstream.url}"\n'
        with limited(tmp_path, 'per_contact = "1/hour"', extra=route) as server:
            assert ask(server, "/chat/x", server.token(), "192.0.2.1").status == 404
            key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n" + key
            request = f"GET /chat/x HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {server.token()}\r\n{upgrade}\r\n"
            assert server.raw(request.encode()).startswith(b"HTTP/1.1 429 ")


def test_workers_share_the_budgets(tmp_path: Path) -> None:
    """Two workers, 40 connections: a budget of 20 is one of 20, however the connections fall."""
    with limited(tmp_path, 'per_contact = "20/hour"', workers=2) as server:
        token = server.token()
        statuses = [ask(server, "/messenger/me", token, "192.0.2.1").status for _ in range(40)]
        assert statuses == [200] * 20 + [429] * 20


def test_a_reload_changes_the_rates(tmp_path: Path) -> None:
    """What was spent stays spent; a limit that is taken away is gone."""
    with limited(tmp_path, 'per_contact = "2/hour"') as server:
        token = server.token()
        assert [ask(server, "/messenger/me", token, "192.0.2.1").status for _ in range(3)] == [200, 200, 429]
        config = server.folder / "gateway.toml"
        config.write_text(config.read_text().replace('per_contact = "2/hour"', ""))
        until(lambda: "configuration reloaded" in server.log())
        assert ask(server, "/messenger/me", token, "192.0.2.1").status == 200


@pytest.mark.parametrize(
    "value", ["600", "0/minute", "-1/minute", "600/week", "600 per minute", "1e3/minute", 601, True, {"requests": 5}]
)
def test_what_is_no_rate_is_named(value: object) -> None:
    """A mistake is found at the start, at its place."""
    tables = {"workspaces": {"acme": {"issuers": []}}, "limits": {"per_contact": value}}
    with pytest.raises(SettingsInvalid) as caught:
        settings_from(tables, {})
    assert any(line.startswith("limits.per_contact") for line in caught.value.problems)


def test_a_connection_is_not_an_address(tmp_path: Path) -> None:
    """Pipelined on one connection through a proxy, each request is charged to its own client."""
    with limited(tmp_path, 'per_address = "1/hour"') as server:
        one = "GET /messenger/me HTTP/1.1\r\nHost: g\r\nX-Forwarded-For: 192.0.2.{}\r\n{}\r\n"
        requests = "".join(one.format(n, "Connection: close\r\n" if n == 3 else "") for n in (1, 2, 1, 3))
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            connection.sendall(requests.encode())
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
        assert [int(one[:3]) for one in received.split(b"HTTP/1.1 ")[1:]] == [401, 401, 429, 401]
