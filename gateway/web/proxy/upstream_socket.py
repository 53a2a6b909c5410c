"""The upstream's side of a WebSocket, spoken by `websockets`; imported when the first one is opened.

Its `connect` is not used: it follows redirects, writes `Host` in a spelling of its own, and has one time-out for two
things, that a connection stands and that the upstream answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

if TYPE_CHECKING:
    from gateway.web.proxy.forwarder import Socket
    from gateway.web.proxy.upstreams import Address

MESSAGE_LIMIT = 16 * 1024 * 1024
"""Bytes of a message, in both directions; a larger one ends the socket with 1009."""

CLOSE_SECONDS = 5.0
"""How long a side may take to close before its connection is cut."""

PING_SECONDS = 20.0
PONG_SECONDS = 60.0
"""How long an upstream may take to answer a ping."""

_QUEUED = 4
"""How many frames may wait for the client before the upstream does."""

_log = logging.getLogger("gateway.sockets")
_log.setLevel(logging.WARNING)  # what `websockets` says at other levels holds headers and messages


class UpstreamSocket(ClientConnection):
    """A WebSocket of an upstream. One that still takes what it is sent, or that waits for its client, is not gone."""

    _went_on = False

    def resume_writing(self) -> None:
        """The upstream has caught up."""
        self._went_on = True
        super().resume_writing()

    async def keepalive(self) -> None:
        """Ping now and then, and give the upstream up when it does not answer; see `websockets`."""
        while True:
            await asyncio.sleep(PING_SECONDS)
            answered = asyncio.ensure_future(self._ping())
            try:
                while not answered.done():
                    unsent, self._went_on = self.transport.get_write_buffer_size(), False
                    await asyncio.wait({answered}, timeout=PONG_SECONDS)
                    goes_on = self._went_on or self.transport.get_write_buffer_size() < unsent
                    if not (answered.done() or goes_on or self.recv_messages.paused):
                        self.protocol.fail(1011, "no answer to a ping")
                        self.transport.abort()
                        return
            finally:
                answered.cancel()

    async def _ping(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            await (await self.ping())


async def open_socket(socket: Socket) -> UpstreamSocket:
    """Hand the client's handshake on; the socket that the upstream accepts.

    Raises `OSError` (also for a time-out), `ValueError` for a name that is none, and `InvalidHandshake`, of which
    `InvalidStatus` holds the upstream's own refusal.
    """
    upstreams = socket.route.upstreams
    connection = await upstreams.reach(lambda address: _connected(socket, address))
    try:
        async with asyncio.timeout(upstreams.limits.first_byte):
            await connection.handshake(socket.headers, None)
    except BaseException:
        connection.transport.abort()
        raise
    connection.start_keepalive()
    return connection


async def _connected(socket: Socket, address: Address) -> UpstreamSocket:
    port = 443 if address.tls else 80  # with the port of its scheme, `Host` is written as it is given
    protocol = ClientProtocol(
        WebSocketURI(address.tls, socket.host, port, socket.path, socket.query),
        subprotocols=[Subprotocol(one) for one in socket.subprotocols] or None,
        max_size=MESSAGE_LIMIT,
        logger=_log,
    )
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: UpstreamSocket(
            protocol,
            ping_interval=PING_SECONDS,
            ping_timeout=PONG_SECONDS,
            close_timeout=CLOSE_SECONDS,
            max_queue=_QUEUED,
        ),
        address.host,
        address.port,
        ssl=socket.route.upstreams.tls if address.tls else None,
    )
    return connection
