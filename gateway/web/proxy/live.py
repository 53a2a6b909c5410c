"""What outlives its request: streams and sockets, ended when whoever opened them would be refused today.

A token's end, a revocation, a block, a merge, a configuration without its issuer: none of them is announced to a
connection that stands. So each one is asked about again, twice a second, with the question that let it in; the memory
of verified tokens makes that cheap, and an outage ends nothing (B14; facts: peers 3.9).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from gateway.errors import Code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.web.proxy.forwarder import Admitted, Forwarder
    from gateway.web.proxy.route import Route

LOOK_SECONDS = 0.5


class Live:
    """The streams and sockets of one process that carry an identity; `forwarder` gives the one of today."""

    def __init__(self, forwarder: Callable[[], Forwarder | None]) -> None:
        self._forwarder = forwarder
        self._entries: dict[object, tuple[Admitted, Route, Callable[[Code], None]]] = {}
        self._looking: asyncio.Task[None] | None = None

    def add(self, key: object, admitted: Admitted, route: Route, end: Callable[[Code], None]) -> None:
        """Call `end` once, with the code, when it would be refused; of nobody's streams nothing is asked."""
        if admitted.authenticated is None:
            return
        self._entries[key] = admitted, route, end
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look())

    def remove(self, key: object) -> None:
        """Ask no more; of one that is not there, too."""
        self._entries.pop(key, None)

    @contextlib.contextmanager
    def watching(self, key: object, admitted: Admitted, route: Route, end: Callable[[Code], None]) -> Iterator[None]:
        """The same for the time of a block."""
        self.add(key, admitted, route, end)
        try:
            yield
        finally:
            self.remove(key)

    async def _look(self) -> None:
        while self._entries:
            await asyncio.sleep(LOOK_SECONDS)
            forwarder = self._forwarder()
            for key, (admitted, route, end) in list(self._entries.items()):
                code = await forwarder.refusal_now(admitted, route) if forwarder else Code.ISSUER_UNKNOWN
                if code is not None and self._entries.pop(key, None) is not None:
                    end(code)
