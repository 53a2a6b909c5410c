"""A wire between a proxy and the gateway, on which it can be read what the proxy asks."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Recorder:
    """Hands on every byte between its `port` and the gateway's; `asked` is what the proxy sent, by connection."""

    def __init__(self, gateway: int) -> None:
        self.asked: list[bytearray] = []
        self._gateway = gateway
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    @property
    def questions(self) -> bytes:
        """Everything that was asked so far."""
        return b"".join(map(bytes, self.asked))

    def forget(self) -> None:
        """Begin anew; connections that stand go on being read."""
        for one in self.asked:
            one.clear()

    def close(self) -> None:
        """Accept nobody any more, and wait for the connections to end."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=10)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                proxy, _ = self._listener.accept()
                kept = bytearray()
                self.asked.append(kept)
                self._start(self._hand_on, proxy, kept)

    def _hand_on(self, proxy: socket.socket, kept: bytearray) -> None:
        with contextlib.suppress(OSError), proxy, socket.create_connection(("127.0.0.1", self._gateway)) as gateway:
            while True:
                for source in select.select([proxy, gateway], [], [])[0]:
                    chunk = source.recv(65536)
                    if not chunk:
                        return
                    if source is proxy:
                        kept += chunk
                    (gateway if source is proxy else proxy).sendall(chunk)


@contextlib.contextmanager
def recorded(gateway: int) -> Iterator[Recorder]:
    """A recorder before a gateway for the time of a block."""
    recorder = Recorder(gateway)
    try:
        yield recorder
    finally:
        recorder.close()
