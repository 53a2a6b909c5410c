"""The upstream's side of a WebSocket, spoken by `websockets`; imported when the first one is opened.

Its `connect` is not used: it follows redirects, writes `Host` in a spelling of its own, and has one time-out for two
things, that a connection stands and that the upstream answers.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
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
    """A WebSocket of an upstream. One that is slow because its client is, is not given up."""

    async def keepalive(self) -> None:
        """Ping now and then; see `websockets`."""
        while True:
            await asyncio.sleep(PING_SECONDS)
            pong = asyncio.ensure_future(await self.ping())
            while not pong.done():
                await asyncio.wait({pong}, timeout=PONG_SECONDS)
                if not pong.done() and not self.recv_messages.paused:
                    self.protocol.fail(1011, "no answer to a ping")
                    self.transport.abort()
                    return


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
