"""A wire between a proxy and the gateway, on which it can be read what the proxy asks."""

from __future__ import annotations

import contextlib
import select
import socket
from typing import TYPE_CHECKING

from tests.web.proxies.listening import Listening

if TYPE_CHECKING:
    from collections.abc import Iterator


class Recorder(Listening):
    """Hands on every byte between its `port` and the gateway's; `asked` is what the proxy sent, by connection."""

    def __init__(self, gateway: int) -> None:
        self.asked: list[bytearray] = []
        self._gateway = gateway
        super().__init__()

    @property
    def questions(self) -> bytes:
        """Everything that was asked so far."""
        return b"".join(map(bytes, self.asked))

    def forget(self) -> None:
        """Begin anew; connections that stand go on being read."""
        for one in self.asked:
            one.clear()

    def talk(self, connection: socket.socket, number: int) -> None:  # noqa: ARG002 - the shape of every server
        """Hand on what either side says."""
        kept = bytearray()
        self.asked.append(kept)
        with (
            contextlib.suppress(OSError),
            connection,
            socket.create_connection(("127.0.0.1", self._gateway)) as gateway,
        ):
            while True:
                for source in select.select([connection, gateway], [], [])[0]:
                    chunk = source.recv(65536)
                    if not chunk:
                        return
                    if source is connection:
                        kept += chunk
                    (gateway if source is connection else connection).sendall(chunk)


@contextlib.contextmanager
def recorded(gateway: int) -> Iterator[Recorder]:
    """A recorder before a gateway for the time of a block."""
    recorder = Recorder(gateway)
    try:
        yield recorder
    finally:
        recorder.close()
