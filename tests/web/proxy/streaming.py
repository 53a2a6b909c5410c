"""Gateways before upstreams whose answers do not end: streams of events, and WebSockets; and all that ends them."""

from __future__ import annotations

import contextlib
import http.client
import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import Struct
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import serve

from tests.web.conftest import Server, command, running_gateway
from tests.web.proxy.conftest import CARRIERS, until
from tests.web.proxy.upstream import ScriptedUpstream, scripted
from tests.web.test_logout import logout

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

    from websockets.sync.server import ServerConnection

LEEWAY = 60
GATEWAYS: dict[str, dict[str, Any]] = {
    **{carrier: {"lane": lane} for carrier, lane in CARRIERS.items()},
    "two workers": {"workers": 2},
}
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\r\n"
PATIENCE = 60.0
"""Seconds for what comes soon, but on a loaded machine."""


class Events:
    """A script for an upstream: an endless stream, to which the test adds. `gone` is set when nobody listens."""

    def __init__(self, head: bytes = STREAM) -> None:
        self.gone = threading.Event()
        self._head = head
        self._pieces: queue.Queue[bytes | None] = queue.Queue()

    def send(self, piece: bytes | None) -> None:
        """Say more; None ends the stream."""
        self._pieces.put(piece)

    def __call__(self, connection: socket.socket, _request: bytes) -> None:
        listening = threading.Thread(target=self._listen, args=(connection,))
        listening.start()
        with contextlib.suppress(OSError):
            connection.sendall(self._head)
            for piece in iter(self._pieces.get, None):
                connection.sendall(piece)
            connection.shutdown(2)
        listening.join()

    def _listen(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.settimeout(None)
            while connection.recv(65536):
                pass
        self.gone.set()
        self.send(None)


class Stream:
    """A client of a stream. Each one is closed when its test is over."""

    opened: ClassVar[list[Stream]] = []

    def __init__(self, server: Server, token: str | None, path: str = "/chat/events", **headers: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        self.connection.request("GET", path, headers={**sent, **headers})
        self.answer = self.connection.getresponse()
        self.opened.append(self)
        self.comments = 0

    def event(self) -> bytes:
        """The lines up to the next empty one, but for comments, which are counted."""
        lines: list[bytes] = []
        while True:
            line = self.answer.readline().rstrip(b"\r\n")
            if line.startswith(b":"):
                self.comments += 1
                assert (lines, self.answer.readline()) == ([], b"\n")
            elif line:
                lines.append(line)
            else:
                return b"\n".join(lines)

    def is_cut(self) -> bool:
        """Wait for the end: whether it can be told from a whole answer."""
        try:
            self.answer.read()
        except (http.client.IncompleteRead, ConnectionResetError):
            return True
        return False

    def close(self) -> None:
        self.answer.close()
        self.connection.close()


class Sockets:
    """An upstream with WebSockets, which does what the test says; an echo, unless it says otherwise."""

    def __init__(self) -> None:
        self.handler: Callable[[ServerConnection], None] = echo
        self.opened: queue.Queue[ServerConnection] = queue.Queue()
        self.closed: queue.Queue[tuple[int | None, str | None]] = queue.Queue()
        self.port = 0
        self._standing: set[ServerConnection] = set()

    def handle(self, connection: ServerConnection) -> None:
        self._standing.add(connection)
        self.opened.put(connection)
        with contextlib.suppress(ConnectionClosed):
            self.handler(connection)
        connection.close()
        self.closed.put((connection.close_code, connection.close_reason))
        self._standing.discard(connection)

    def next(self) -> ServerConnection:
        """The connection that came, or comes, next."""
        return self.opened.get(timeout=PATIENCE)

    def end(self) -> tuple[int | None, str | None]:
        """How the one that ended, or ends, next was closed."""
        return self.closed.get(timeout=PATIENCE)

    def forget(self) -> None:
        """What was before is of no interest, when it has ended."""
        self.handler = echo
        until(lambda: not self._standing)
        for kept in (self.opened, self.closed):
            with contextlib.suppress(queue.Empty):
                while True:
                    kept.get_nowait()


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


@contextlib.contextmanager
def running_sockets(**options: Any) -> Iterator[Sockets]:
    """An upstream with WebSockets for the time of a block."""
    sockets = Sockets()
    with serve(sockets.handle, "127.0.0.1", 0, max_size=None, **options) as server:
        sockets.port = server.socket.getsockname()[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield sockets
        finally:
            server.shutdown()
            thread.join()


class Streaming(Struct, frozen=True):
    """A gateway before both kinds."""

    server: Server
    upstream: ScriptedUpstream
    sockets: Sockets

    def streams(self, head: bytes = STREAM) -> Events:
        """From now on the upstream answers with this stream."""
        events = Events(head)
        self.upstream.answer = events
        return events

    def each_streams(self) -> None:
        """From now on each request is answered with a stream of its own, whose first event is sent."""

        def answer(connection: socket.socket, head: bytes) -> None:
            events = Events()
            events.send(b"data: hello\n\n")
            events(connection, head)

        self.upstream.answer = answer

    def socket(self, token: str | None, path: str = "/ws/one", **options: Any) -> ClientConnection:
        """A client's WebSocket."""
        headers = options.pop("headers", {})
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        return connect(
            f"ws://127.0.0.1:{self.server.port}{path}",
            additional_headers={**sent, **headers},
            proxy=None,
            legacy=True,  # the connection itself, of which a test may have many
            **{"max_size": None, "open_timeout": PATIENCE, "ping_interval": None, **options},
        )

    def contact_id(self, token: str) -> str:
        """Whom a token leads to."""
        return str(self.server.login(token).json()["contact"]["id"])


@contextlib.contextmanager
def streaming_gateway(folder: Path, **settings: Any) -> Iterator[Streaming]:
    """A gateway before both kinds; streams under `/chat/`, WebSockets under `/ws/`, and under `open-` for anybody."""
    with (
        scripted(Events()) as upstream,
        running_sockets(subprotocols=["chat", "other"], select_subprotocol=_chosen) as sockets,
        running_gateway(folder, extra=_routes(upstream.url, sockets.port), **settings) as server,
    ):
        yield Streaming(server, upstream, sockets)


def _chosen(_connection: object, offered: Any) -> Any:
    return next((one for one in ("chat", "other") if one in offered), None)


def _routes(events: str, sockets: int) -> str:
    kinds = {"/chat/": events, "/ws/": f"http://127.0.0.1:{sockets}"}
    return "".join(
        f"""
[[workspaces.acme.routes]]
prefix = "{prefix.replace("/", f"/{access}", 1)}"
upstream = "{url}"
access = "{access.rstrip("-") or "required"}"
{'cookie = "session"' if access != "public-" else ""}
{'origins = "https://friend.example"' if access != "public-" else ""}
"""
        for prefix, url in kinds.items()
        for access in ("", "optional-", "public-")
    )


class Ending(Struct, frozen=True):
    """Something by which a token's standing ends: what does it, how a socket closes, what whoever reconnects meets."""

    does: Callable[[Streaming, str], None]
    closing_code: int
    refusal: tuple[int, str] | None


def _revoke(streaming: Streaming, token: str) -> None:
    command(streaming.server, "token", "revoke", "--contact", streaming.contact_id(token))


def _block(streaming: Streaming, token: str) -> None:
    assert streaming.server.admin("POST", f"/contacts/{streaming.contact_id(token)}/block").status == 200


def _merge(streaming: Streaming, token: str) -> None:
    """Into somebody with the same email, as an operator does it who found a duplicate."""
    email = streaming.server.login(token).json()["identity"]["email"]
    into = streaming.contact_id(streaming.server.token("survivor-of-" + email.partition("@")[0], email=email))
    merged = {"from": streaming.contact_id(token), "into": into}
    assert streaming.server.admin("POST", "/contacts/merge", merged).status == 200


def _archive(streaming: Streaming, token: str) -> None:
    assert streaming.server.admin("POST", f"/contacts/{streaming.contact_id(token)}/archive").status == 200


def _wait_for_the_end(_streaming: Streaming, _token: str) -> None:
    """It ends by itself."""


def _logout(streaming: Streaming, token: str) -> None:
    assert logout(streaming.server, token).status == 200


ENDINGS = {
    "exp and leeway": Ending(_wait_for_the_end, 4401, (401, "token_expired")),
    "logout": Ending(_logout, 4401, (401, "token_revoked")),
    "revoked by a command": Ending(_revoke, 4401, (401, "token_revoked")),
    "block": Ending(_block, 4403, (403, "contact_blocked")),
    "merge": Ending(_merge, 4403, None),
    "archive": Ending(_archive, 4403, None),
}


def token_for(server: Server, ending: str, person: str) -> str:
    """A token whose standing that ending ends; the one that ends by itself is past its `exp`, but for its leeway."""
    name = f"{person}-{ending}".replace(" ", "-")
    ttl = 8 - LEEWAY if ending == "exp and leeway" else 600
    claims = {"iat": int(time.time()) - 120} if ttl < 0 else {}
    return server.token(name, ttl=ttl, email=f"{name}@example.com", **claims)
