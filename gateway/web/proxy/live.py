"""What outlives its request: streams and sockets, ended when whoever opened them would be refused today.

A token's end, a revocation, a block, a merge, a configuration without its issuer: none of them is announced to a
connection that stands. So each one is looked at, twice a second (B14; facts: peers 3.9). Nearly always a look finds
that nothing was heard that concerns it, which costs about a microsecond; else the question that let it in is asked
again (`gateway/web/standing.py`). An outage ends nothing: the next look asks again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from itertools import islice
from typing import TYPE_CHECKING

from gateway.errors import Code, Outage, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.web.proxy.forwarder import Admitted, Forwarder
    from gateway.web.proxy.route import Route
    from gateway.web.standing import Standing

LOOK_SECONDS = 0.5
_AT_ONCE = 256
"""How many are looked at before others have their turn: less than a millisecond's worth."""

_ASKED_AT_ONCE = 32
"""How many questions to the store are under way at a time."""

_log = logging.getLogger("gateway.live")


class _Entry:
    """One stream or socket."""

    __slots__ = ("admitted", "end", "forwarder", "route", "standing")

    def __init__(self, admitted: Admitted, route: Route, end: Callable[[Code], None]) -> None:
        self.admitted = admitted
        self.route = route
        self.end = end
        self.forwarder: Forwarder | None = None
        self.standing: Standing | None = None

    def under(self, forwarder: Forwarder) -> Standing:
        """What is known of it under today's configuration; under a new one everything is asked again."""
        if self.standing is None or self.forwarder is not forwarder:
            self.forwarder, self.standing = forwarder, forwarder.standing(self.admitted, self.route)
        return self.standing


class Live:
    """The streams and sockets of one process that carry an identity; `forwarder` gives the one of today."""

    def __init__(self, forwarder: Callable[[], Forwarder | None]) -> None:
        self._forwarder = forwarder
        self._entries: dict[object, _Entry] = {}
        self._looking: asyncio.Task[None] | None = None

    def add(self, key: object, admitted: Admitted, route: Route, end: Callable[[Code], None]) -> None:
        """Call `end` once, with the code, when it would be refused; of nobody's streams nothing is asked."""
        if admitted.authenticated is None:
            return
        self._entries[key] = _Entry(admitted, route, end)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look_again_and_again())

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

    async def _look_again_and_again(self) -> None:
        while self._entries:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - the next look is due, whatever befell this one
                _log.error("failed to look at streams and sockets", exc_info=error)

    async def look(self) -> None:
        """Look at each of them once; others have their turn in between."""
        changed: list[object] = []
        entries = iter(list(self._entries.items()))
        while batch := list(islice(entries, _AT_ONCE)):
            forwarder = self._forwarder()
            for key, entry in batch:
                if forwarder is None:
                    self._end(key, entry, Code.ISSUER_UNKNOWN)
                elif not entry.under(forwarder).unchanged:
                    changed.append(key)
            await asyncio.sleep(0)
        questions = iter(changed)
        store_is_down = False

        async def ask() -> None:
            nonlocal store_is_down
            for key in questions:
                if store_is_down:
                    return
                outage = await self._ask(key)
                store_is_down |= outage is not None and outage.code is Code.STORE_UNAVAILABLE
                await asyncio.sleep(0)  # a store in this process never waits, and others shall have their turn

        await asyncio.gather(*(ask() for _ in range(min(_ASKED_AT_ONCE, len(changed)))))

    async def _ask(self, key: object) -> Outage | None:
        """Ask about one again, and end it when it would be refused; return the outage that kept it from being told."""
        entry, forwarder = self._entries.get(key), self._forwarder()
        if entry is None or forwarder is None:
            return None  # it ended meanwhile; or the next look sees to it
        try:
            await entry.under(forwarder).ask()
        except Refusal as refusal:
            self._end(key, entry, refusal.code)
        except Outage as outage:
            return outage
        except Exception as error:  # noqa: BLE001 - a fault of our own lets nobody stay
            _log.error("failed to ask about a stream or socket", exc_info=error)
            self._end(key, entry, Code.STORE_UNAVAILABLE)
        return None

    def _end(self, key: object, entry: _Entry, code: Code) -> None:
        if self._entries.get(key) is entry:
            del self._entries[key]
            entry.end(code)
