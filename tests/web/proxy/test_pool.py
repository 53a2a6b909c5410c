"""Connections to upstreams: how many, how long, which upstream is asked, and when a request is sent again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from gateway.web.proxy.exchange import RETRIES
from gateway.web.proxy.upstreams import FRESH_SECONDS
from tests.keys.test_fetching import Authority
from tests.web.conftest import free_port, running_gateway
from tests.web.proxy.conftest import OK, Proxied, status, until
from tests.web.proxy.upstream import ScriptedUpstream, saying, scripted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

POST = ("POST /public/x", "Content-Length: 2")


def route(prefix: str, *urls: str, **settings: int | str) -> str:
    """A public route."""
    lines = [f"{name} = {value}" for name, value in settings.items()]
    upstream = ", ".join(f'"{url}"' for url in urls)
    head = f'[[workspaces.acme.routes]]\nprefix = "{prefix}"\naccess = "public"\nupstream = [{upstream}]\n'
    return head + "\n".join(lines) + "\n"


@contextlib.contextmanager
def before(folder: Path, upstream: ScriptedUpstream, *others: str, **settings: int) -> Iterator[Proxied]:
    """A gateway with one public route to an upstream, and to others behind it."""
    extra = route("/public/", upstream.url, *others, **settings)
    with running_gateway(folder, extra=extra) as server:
        yield Proxied(server, upstream, lane=True)


@contextlib.contextmanager
def unanswering() -> Iterator[str]:
    """The URL of a port whose connections are never taken up: its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def closing_at(number: int) -> Callable[[socket.socket, bytes], None]:
    """A script whose connections answer until their `number`th request, at which they close without a word."""
    seen: dict[socket.socket, int] = {}

    def script(connection: socket.socket, _head: bytes) -> None:
        seen[connection] = seen.get(connection, 0) + 1
        if seen[connection] >= number:
            connection.shutdown(socket.SHUT_RDWR)
        else:
            connection.sendall(OK)

    return script


def test_connections_are_kept_and_bounded(tmp_path: Path) -> None:
    """Twelve requests at once over two connections: all are answered, two at a time, in the queue's turn."""
    now, most, lock = [0], [0], threading.Lock()

    def script(connection: socket.socket, _head: bytes) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        connection.sendall(OK)

    with scripted(script) as upstream, before(tmp_path, upstream, max_connections=2, connect_timeout=30) as proxied:
        with ThreadPoolExecutor(12) as clients:
            answers = list(clients.map(lambda _: proxied.ask("GET /public/x"), range(12)))
        assert [status(answer) for answer in answers] == [200] * 12
        assert most[0] == 2
        assert upstream.connections == 2


def test_what_idles_counts_too(tmp_path: Path) -> None:
    """A connection that idled too long for what must be sent once makes room for its successor."""
    with scripted(saying(OK)) as upstream, before(tmp_path, upstream, max_connections=1) as proxied:
        for number in range(3):
            assert status(proxied.ask("POST /public/x")) == 200
            until(lambda: len(upstream.open) == 1)
            assert upstream.connections == number + 1
            time.sleep(FRESH_SECONDS + 0.3)


def test_who_waits_too_long_for_a_connection_is_told(tmp_path: Path) -> None:
    """502 for whom none became free in time; when one is free again, all is as before."""
    go_on = threading.Event()

    def script(connection: socket.socket, _head: bytes) -> None:
        assert go_on.wait(60)
        connection.sendall(OK)

    with scripted(script) as upstream, before(tmp_path, upstream, max_connections=1, connect_timeout=1) as proxied:
        with ThreadPoolExecutor(1) as clients:
            first = clients.submit(proxied.ask, "GET /public/x")
            until(lambda: upstream.heads)
            assert status(proxied.ask("GET /public/x")) == 502
            go_on.set()
            assert status(first.result()) == 200
        assert status(proxied.ask("GET /public/x")) == 200
        assert upstream.connections == 1


def test_a_client_that_went_away_while_waiting_takes_nothing_along(tmp_path: Path) -> None:
    """The connection that it waited for serves the next one."""
    go_on = threading.Event()

    def script(connection: socket.socket, _head: bytes) -> None:
        assert go_on.wait(60)
        connection.sendall(OK)

    with scripted(script) as upstream, before(tmp_path, upstream, max_connections=1, connect_timeout=30) as proxied:
        with ThreadPoolExecutor(2) as clients:
            first = clients.submit(proxied.ask, "GET /public/1")
            until(lambda: upstream.heads)
            for _ in range(5):
                with proxied.connected() as gone:
                    gone.sendall(b"GET /public/gone HTTP/1.1\r\nHost: g\r\n\r\n")
            last = clients.submit(proxied.ask, "GET /public/2")
            time.sleep(0.2)
            go_on.set()
            assert status(first.result()) == status(last.result()) == 200
        assert not any(b"gone" in head for head in upstream.heads)
        assert upstream.connections == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_what_changes_nothing_is_sent_again(tmp_path: Path, method: str) -> None:
    """A kept connection that closes under such a request: it goes over another one, and the client notices nothing."""
    with scripted(closing_at(2)) as upstream, before(tmp_path, upstream) as proxied:
        for _ in range(6):
            assert status(proxied.ask(f"{method} /public/x")) == 200


def test_what_closes_at_every_request_is_not_asked_for_ever(tmp_path: Path) -> None:
    """A request that ends the upstream's connections does so a bounded number of times, however many idle there."""
    with scripted(saying(OK)) as upstream, before(tmp_path, upstream) as proxied:
        with ThreadPoolExecutor(8) as clients:
            list(clients.map(lambda _: proxied.ask("GET /public/x"), range(32)))
        upstream.answer = closing_at(1)
        heard = len(upstream.heads)
        assert status(proxied.ask("GET /public/poison")) == 502
        assert len(upstream.heads) - heard <= 1 + RETRIES


@pytest.mark.parametrize("line", [POST[0], "PUT /public/x", "PATCH /public/x", "DELETE /public/x", "GET /public/x"])
def test_what_may_change_something_is_sent_once(tmp_path: Path, line: str) -> None:
    """Whatever becomes of its connection, the upstream never sees it twice; a GET with a body is one of these."""
    with scripted(closing_at(2)) as upstream, before(tmp_path, upstream) as proxied:
        outcomes = []
        for number in range(12):
            answer = proxied.ask(line, "Content-Length: 2", f"X-Number: {number}", body=b"ok")
            outcomes.append(status(answer))
        assert set(outcomes) <= {200, 502}
        numbers = [head.partition(b"x-number: ")[2].partition(b"\r\n")[0] for head in upstream.heads]
        assert sorted(map(int, numbers)) == list(range(12))


def test_an_upstream_that_keeps_no_connection(tmp_path: Path) -> None:
    """It closes each one behind its answer without having said so: every request gets its answer, a POST, too."""

    def script(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(OK)
        connection.shutdown(socket.SHUT_RDWR)

    with scripted(script) as upstream, before(tmp_path, upstream) as proxied:
        for number in range(20):
            assert status(proxied.ask("GET /public/x")) == 200
            until(lambda: not upstream.open)
            time.sleep(0.02)  # until the gateway has heard of it
            assert status(proxied.ask(*POST, body=b"ok")) == 200
            assert len(upstream.heads) == 2 * (number + 1)
            until(lambda: not upstream.open)
            time.sleep(0.02)


def test_the_next_upstream_is_asked_when_one_cannot_be_reached(tmp_path: Path) -> None:
    """Of any method, for nothing was sent; the first one is left alone for a moment, then it is asked again."""
    port = free_port()
    with scripted(saying(OK)) as second, before(tmp_path, second, f"http://127.0.0.1:{port}") as proxied:
        for line in ("GET /public/x", "POST /public/x", "DELETE /public/x"):
            assert status(proxied.ask(line)) == 200
        with scripted(saying(OK), port) as first:
            until(lambda: status(proxied.ask("GET /public/x")) == 200 and first.connections)
        for _ in range(4):
            assert status(proxied.ask("GET /public/x")) == 200


def test_all_upstreams_down_is_502(tmp_path: Path) -> None:
    """At once, again and again, and with the one that comes back at first."""
    port = free_port()
    with running_gateway(
        tmp_path, extra=route("/public/", f"http://127.0.0.1:{port}", f"http://127.0.0.1:{free_port()}")
    ) as server:
        with scripted(saying(OK)) as unused:
            proxied = Proxied(server, unused, lane=True)
            for _ in range(5):
                answer = proxied.ask("GET /public/x")
                assert status(answer) == 502
                assert b"retry-after: " in answer
        with scripted(saying(OK), port):
            assert status(proxied.ask("GET /public/x")) == 200


def test_the_time_outs(tmp_path: Path) -> None:
    """To connect and to the answer's head: 504, and 504 when a head comes byte by byte; between bytes: a cut."""

    def trickling(connection: socket.socket, _head: bytes) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nA: " + b"a" * 1000:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)

    def stopping(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok")
        time.sleep(30)

    limits = {"connect_timeout": 1, "first_byte_timeout": 1, "idle_timeout": 1}
    with (
        unanswering() as dead,
        scripted(lambda _connection, _head: time.sleep(30)) as silent,
        scripted(trickling) as slow,
        scripted(stopping) as stopped,
    ):
        extra = route("/public/", silent.url, **limits) + route("/dead/", dead, **limits)
        extra += route("/slow/", slow.url, **limits) + route("/stopped/", stopped.url, **limits)
        with running_gateway(tmp_path, extra=extra) as server:
            proxied = Proxied(server, silent, lane=True)
            for line in ("GET /public/x", "GET /dead/x", "GET /slow/x", "POST /dead/x"):
                answer = proxied.ask(line)
                assert status(answer) == 504
                assert b"upstream_timeout" in answer
            assert not proxied.ask("GET /stopped/x").endswith(b"okxxx")


def test_a_slow_client_is_not_a_slow_upstream(tmp_path: Path) -> None:
    """The upstream's time to answer begins when it has the whole request."""
    with (
        scripted(slow_reader) as upstream,
        before(tmp_path, upstream, first_byte_timeout=1) as proxied,
        proxied.connected() as connection,
    ):
        connection.sendall(b"POST /public/x HTTP/1.1\r\nHost: g\r\nContent-Length: 4\r\n\r\n")
        for byte in (b"a", b"b", b"c", b"d"):
            time.sleep(1.2)
            connection.sendall(byte)
        assert status(connection.recv(65536)) == 200


def slow_reader(connection: socket.socket, head: bytes) -> None:
    """A script that reads four bytes of a body."""
    got = len(head.partition(b"\r\n\r\n")[2])
    while got < 4:
        got += len(connection.recv(4))
    connection.sendall(OK)


def test_routes_share_connections_and_a_reload_keeps_them(tmp_path: Path) -> None:
    """Two routes to one upstream have one pool; over a reload it stays, and what nothing needs is closed."""
    with scripted(saying(OK)) as kept, scripted(saying(OK)) as dropped:
        shared = route("/public/", kept.url) + route("/also/", kept.url)
        with running_gateway(tmp_path, extra=shared + route("/gone/", dropped.url)) as server:
            proxied = Proxied(server, kept, lane=True)
            for path in ("/public/x", "/also/x", "/public/y", "/gone/x"):
                assert status(proxied.ask(f"GET {path}")) == 200
            assert (kept.connections, len(dropped.open)) == (1, 1)
            config = tmp_path / "gateway.toml"
            config.write_text(config.read_text().replace("/gone/", "/moved/").replace(dropped.url, kept.url))
            os.kill(server.pid, signal.SIGHUP)
            until(lambda: not dropped.open)
            assert status(proxied.ask("GET /moved/x")) == 200
            assert status(proxied.ask("GET /gone/x")) == 404
            assert kept.connections == 1


def test_an_answer_under_way_outlives_a_reload(tmp_path: Path) -> None:
    """It ends as it began; its connection is not kept when its route is gone."""
    go_on = threading.Event()

    def script(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        assert go_on.wait(60)
        connection.sendall(b"world")

    with scripted(script) as upstream, before(tmp_path, upstream) as proxied, proxied.connected() as connection:
        connection.sendall(b"GET /public/x HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n")
        received = connection.recv(65536)
        config = tmp_path / "gateway.toml"
        config.write_text(config.read_text().replace("/public/", "/moved/").replace(upstream.url, "http://127.0.0.1:9"))
        os.kill(proxied.server.pid, signal.SIGHUP)
        until(lambda: status(proxied.ask("GET /moved/x")) == 502)
        go_on.set()
        while chunk := connection.recv(65536):
            received += chunk
        assert received.endswith(b"helloworld")
        until(lambda: not upstream.open)


def test_upstreams_share_what_comes(tmp_path: Path) -> None:
    """One after the other, or all at once: each gets its part, and one that is busy gets less."""
    with scripted(saying(OK)) as one, scripted(saying(OK)) as other, before(tmp_path, one, other.url) as proxied:
        for _ in range(20):
            assert status(proxied.ask("GET /public/x")) == 200
        assert len(one.heads) == len(other.heads) == 10
        assert one.connections == other.connections == 1


def test_an_upstream_behind_tls(tmp_path: Path) -> None:
    """Its certificate must be of its own name and of an authority that the route names; a large body passes, too."""
    authority = Authority(tmp_path)
    body = b"x" * 3_000_000
    answer = saying(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    with (
        scripted(answer, tls=authority.server("127.0.0.1")) as good,
        scripted(answer, tls=authority.server("localhost")) as misnamed,
    ):
        trusted = {"ca_file": f'"{authority.file}"'}
        extra = route("/public/", good.url, **trusted) + route("/misnamed/", misnamed.url, **trusted)
        extra += route("/unknown/", good.url)
        with running_gateway(tmp_path, extra=extra) as server:
            proxied = Proxied(server, good, lane=True)
            for _ in range(3):
                assert proxied.ask("GET /public/x").endswith(body)
            assert good.connections == 1
            assert status(proxied.ask("GET /misnamed/x")) == 502
            assert status(proxied.ask("GET /unknown/x")) == 502
            assert misnamed.heads == []
