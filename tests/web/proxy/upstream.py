"""An upstream that says exactly what a test tells it to, byte by byte."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator


class ScriptedUpstream:
    """Accepts connections one by one, reads a request's head (and what came with it), and lets a script answer.

    `heads` are the requests' first packets as they arrived, `connections` how many ever came, `open` those that stand;
    `answer` may be set anew between requests.
    """

    def __init__(
        self, answer: Callable[[socket.socket, bytes], None], port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._tls = tls
        self.heads: list[bytes] = []
        self.connections = 0
        self.open: set[socket.socket] = set()
        self.answer = answer
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Accept nobody any more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=10)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        connection.settimeout(60)
        self.open.add(connection)
        with connection, contextlib.suppress(OSError):
            if self._tls is None:
                self._serve_one(connection)
            else:
                with self._tls.wrap_socket(connection, server_side=True) as secured:
                    self._serve_one(secured)
        self.open.discard(connection)

    def _serve_one(self, connection: socket.socket) -> None:
        while True:
            head = b""
            while b"\r\n\r\n" not in head:
                chunk = connection.recv(65536)
                if not chunk:
                    return
                head += chunk
            self.heads.append(head)
            self.answer(connection, head)


@contextlib.contextmanager
def scripted(
    answer: Callable[[socket.socket, bytes], None], port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[ScriptedUpstream]:
    """A scripted upstream for the time of a block, on a port of its own unless one is given."""
    upstream = ScriptedUpstream(answer, port, tls)
    try:
        yield upstream
    finally:
        upstream.close()


def saying(*packets: bytes, close: bool = False) -> Callable[[socket.socket, bytes], None]:
    """A script that answers every request with the same packets."""

    def answer(connection: socket.socket, _head: bytes) -> None:
        for packet in packets:
            connection.sendall(packet)
        if close:
            connection.shutdown(socket.SHUT_RDWR)

    return answer
