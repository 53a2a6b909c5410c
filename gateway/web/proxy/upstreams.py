"""The upstreams of a route: their connections, which are kept and bounded, and which of them is believed to be up.

Health is passive: an upstream that cannot be connected to is left alone for a while, twice as long each time, unless
all of them are in that state; then one request tries it out. Whoever finds all connections in use waits in a queue,
and is handed the next one that becomes free. One timer for all connections looks once a second for what took too long.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from gateway.errors import Code, Outage
from gateway.web.proxy.connection import UpstreamConnection

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine, Iterator, Sequence

T = TypeVar("T")

SWEEP_SECONDS = 1.0
LONGEST_REST = 30.0
"""Seconds for which an upstream that could not be reached is left alone, at most."""

FRESH_SECONDS = 2.0
"""How lately a connection must have been used to carry what must not be sent twice: its upstream may close it."""


class Address(Struct, frozen=True):
    """Where an upstream listens."""

    host: str
    port: int
    tls: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


class Limits(Struct, frozen=True):
    """Seconds, but for `connections`, which is how many each upstream may have from this process."""

    connections: int = 1024
    connect: float = 5.0
    first_byte: float = 60.0
    between_bytes: float = 3600.0
    idle: float = 55.0


class _Upstream:
    """One of the upstreams, with its connections."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.idle: deque[UpstreamConnection] = deque()
        self.open: set[UpstreamConnection] = set()
        self.opening = 0
        self.rests_until = 0.0
        self._failures = 0

    @property
    def busy(self) -> int:
        return len(self.open) - len(self.idle) + self.opening

    def rests(self, now: float) -> bool:
        """Whether it is to be left alone: it could not be reached lately, or somebody is just trying whether it can."""
        return self.rests_until > now or (self._failures > 0 and self.opening > 0)

    def failed(self, now: float) -> None:
        """It could not be reached. Of many who try at once, one counts."""
        if self.rests_until <= now:
            self.rests_until = now + min(2.0**self._failures, LONGEST_REST)
            self._failures = min(self._failures + 1, 10)

    def worked(self) -> None:
        """It could."""
        self._failures = 0
        self.rests_until = 0.0


class Upstreams:
    """The connections to one or several upstreams that serve the same; one for each event loop."""

    def __init__(self, addresses: Sequence[Address], limits: Limits, tls: ssl.SSLContext | None = None) -> None:
        self._upstreams = [_Upstream(address) for address in addresses]
        self.limits = limits
        self.tls = tls
        self._waiting: deque[asyncio.Future[UpstreamConnection | None]] = deque()
        self._closed = False
        self._turn = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def addresses(self) -> tuple[Address, ...]:
        """All of them, in the order in which they were configured."""
        return tuple(upstream.address for upstream in self._upstreams)

    async def reach(self, opened: Callable[[Address], Coroutine[Any, Any, T]]) -> T:
        """A connection of another kind, which is not kept here, to the first upstream that can be reached.

        Raises `OSError` (also for a time-out) or `ValueError` as the last one did.
        """
        loop = asyncio.get_running_loop()
        failed: OSError | ValueError = OSError()
        self._turn = (self._turn + 1) % len(self._upstreams)
        for upstream in list(self._in_order(loop.time())):
            try:
                async with asyncio.timeout(self.limits.connect):
                    connection = await opened(upstream.address)
            except (OSError, ValueError) as error:
                upstream.failed(loop.time())
                failed = error
            else:
                upstream.worked()
                return connection
        raise failed

    def take(self, *, repeatable: bool) -> UpstreamConnection | None:
        """A connection that stands already, where the next one is due and fit for the request; it costs no waiting.

        A request that may be sent again takes any; another one only one that was in use a moment ago.
        """
        if self._waiting:
            return None  # who waits comes first
        if self._loop is None:
            self._loop = asyncio.get_running_loop()  # which asks the kernel who we are, each time
        now = self._loop.time()
        oldest = 0.0 if repeatable else now - FRESH_SECONDS
        self._turn = (self._turn + 1) % len(self._upstreams)
        for upstream in self._upstreams if len(self._upstreams) == 1 else self._in_order(now):
            while upstream.idle and upstream.idle[-1].transport.is_closing():
                upstream.idle.pop()
            if upstream.idle and upstream.idle[-1].since >= oldest:
                return upstream.idle.pop()
            if self._has_room(upstream) and not upstream.rests(now):
                return None
        return None

    async def connect(self) -> UpstreamConnection:
        """A new connection, or one that just became free where there may be no more.

        Raises `Outage`: upstream_unavailable, upstream_timeout.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.limits.connect
        outage = Outage(Code.UPSTREAM_UNAVAILABLE, "the upstream cannot be reached")
        untried = set(self._upstreams)
        while untried:
            now = loop.time()
            upstream = next((one for one in self._in_order(now) if one in untried and self._has_room(one)), None)
            if upstream is None:
                connection = await self._freed(deadline - now)
                if connection is not None and not connection.transport.is_closing():
                    return connection
                continue
            try:
                connection = await self._opened(upstream)
            except (OSError, ValueError) as error:  # a time-out, what is wrong with TLS, a name that is none
                upstream.failed(loop.time())
                late = isinstance(error, TimeoutError)
                reason = f"{upstream.address}: {'no connection in time' if late else type(error).__name__}"
                outage = Outage(Code.UPSTREAM_TIMEOUT if late else Code.UPSTREAM_UNAVAILABLE, reason)
                untried.discard(upstream)
                self._wake_one(None)
            else:
                upstream.worked()
                return connection
        raise outage

    def close(self) -> None:
        """Close what idles, and what is under way when it has ended."""
        self._closed = True
        for upstream in self._upstreams:
            while upstream.idle:
                upstream.idle.pop().transport.close()

    async def _opened(self, upstream: _Upstream) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        address = upstream.address

        def made(connection: UpstreamConnection) -> None:
            upstream.open.add(connection)
            if self._sweep is None:
                self._sweep = loop.call_later(SWEEP_SECONDS, self._look, loop)

        def free(connection: UpstreamConnection) -> None:
            if self._wake_one(connection):
                return
            if self._closed:
                connection.transport.close()
            else:
                upstream.idle.append(connection)

        def gone(connection: UpstreamConnection) -> None:
            upstream.open.discard(connection)
            with contextlib.suppress(ValueError):
                upstream.idle.remove(connection)
            self._wake_one(None)

        if upstream.idle and len(upstream.open) + upstream.opening >= self.limits.connections:
            upstream.idle.popleft().transport.close()  # none that idles is fit, and there may be no more
        upstream.opening += 1
        try:
            async with asyncio.timeout(self.limits.connect):
                _, connection = await loop.create_connection(
                    lambda: UpstreamConnection(made, free, gone),
                    address.host,
                    address.port,
                    ssl=self.tls if address.tls else None,
                )
        finally:
            upstream.opening -= 1
        if connection.transport.is_closing():  # it stood for a moment
            raise ConnectionResetError
        return connection

    def _has_room(self, upstream: _Upstream) -> bool:
        return upstream.busy < self.limits.connections

    async def _freed(self, seconds: float) -> UpstreamConnection | None:
        """Wait in the queue for a connection that becomes free, or (None) for room for another one."""
        waiting: asyncio.Future[UpstreamConnection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            await asyncio.wait({waiting}, timeout=max(seconds, 0))
        finally:
            if not waiting.done():
                self._waiting.remove(waiting)
        if not waiting.done():
            raise Outage(Code.UPSTREAM_UNAVAILABLE, "all connections to the upstream are in use")
        return waiting.result()

    def _wake_one(self, connection: UpstreamConnection | None) -> bool:
        """Hand a connection, or room for one (None), to whoever waits longest; whether somebody waited."""
        if not self._waiting:
            return False
        self._waiting.popleft().set_result(connection)
        return True

    def _in_order(self, now: float) -> Iterator[_Upstream]:
        """Those that are believed to be up, the least busy first; then the others, the longest rested first."""
        if len(self._upstreams) == 1:
            yield self._upstreams[0]
            return
        in_turn = self._upstreams[self._turn :] + self._upstreams[: self._turn]
        up = [upstream for upstream in in_turn if not upstream.rests(now)]
        resting = [upstream for upstream in self._upstreams if upstream.rests(now)]
        yield from sorted(up, key=lambda upstream: upstream.busy)
        yield from sorted(resting, key=lambda upstream: upstream.rests_until)

    def _patience(self, connection: UpstreamConnection) -> float:
        return self.limits.between_bytes if connection.answering else self.limits.first_byte

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """End what took too long."""
        now = loop.time()
        for upstream in self._upstreams:
            idle = set(upstream.idle)
            for connection in list(upstream.open):
                quiet = now - connection.since
                if connection in idle:
                    if quiet > self.limits.idle:
                        upstream.idle.remove(connection)
                        connection.transport.close()
                elif connection.waited_for and quiet > self._patience(connection):
                    connection.expire()
        alive = any(upstream.open or upstream.opening for upstream in self._upstreams)
        self._sweep = loop.call_later(SWEEP_SECONDS, self._look, loop) if alive else None
