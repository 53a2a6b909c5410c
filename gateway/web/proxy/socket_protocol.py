"""uvicorn's WebSocket protocol, told what it does not notice and kept from telling what nobody should read.

* A refused handshake is a finished one: without a word uvicorn logs an error for each (`websocket.http.response`).
* Its line for every socket holds the path with its query, which may hold anything.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent


class SocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket of the public listener."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.logger = logging.getLogger("gateway.sockets")
        self.logger.setLevel(logging.WARNING)

    async def send(self, message: ASGISendEvent) -> None:
        """See ASGI."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True
