"""The upstreams of a route: their connections, which are kept and bounded, and which of them is believed to be up.

Health is passive: an upstream that cannot be connected to is left alone for a while, twice as long each time, unless
all of them are in that state. One timer for all connections looks once a second for what took too long.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct

from gateway.errors import Code, Outage
from gateway.web.proxy.connection import UpstreamConnection

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Sequence

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

    def failed(self, now: float) -> None:
        """It could not be reached."""
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
        self._tls = tls
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._sweep: asyncio.TimerHandle | None = None

    def first(self) -> Address:
        """The one to be tried first now."""
        return next(self._in_order(asyncio.get_running_loop().time())).address

    def take(self, *, repeatable: bool) -> UpstreamConnection | None:
        """A connection that stands already, if there is one fit for the request; it costs no waiting."""
        loop = asyncio.get_running_loop()
        oldest = 0.0 if repeatable else loop.time() - FRESH_SECONDS
        for upstream in self._in_order(loop.time()):
            while upstream.idle:
                connection = upstream.idle[-1]
                if connection.transport.is_closing():
                    upstream.idle.pop()
                elif connection.since >= oldest:
                    upstream.idle.pop()
                    return connection
                else:
                    break
        return None

    async def connect(self, *, repeatable: bool) -> UpstreamConnection:
        """The same, or a new connection; needs a task. Raises `Outage`: upstream_unavailable, upstream_timeout."""
        loop = asyncio.get_running_loop()
        await self._room()
        standing = self.take(repeatable=repeatable)
        if standing is not None:
            return standing
        outage = Outage(Code.UPSTREAM_UNAVAILABLE, "the upstream cannot be reached")
        for upstream in list(self._in_order(loop.time())):
            if upstream.busy >= self.limits.connections:
                continue
            upstream.opening += 1
            try:
                async with asyncio.timeout(self.limits.connect):
                    connection = await self._opened(upstream)
            except OSError as error:  # a time-out, and what is wrong with TLS, too
                upstream.failed(loop.time())
                late = isinstance(error, TimeoutError)
                reason = f"{upstream.address}: {'no connection in time' if late else type(error).__name__}"
                outage = Outage(Code.UPSTREAM_TIMEOUT if late else Code.UPSTREAM_UNAVAILABLE, reason)
            else:
                upstream.worked()
                return connection
            finally:
                upstream.opening -= 1
        raise outage

    def close(self) -> None:
        """Close what idles; what is under way ends by itself."""
        for upstream in self._upstreams:
            while upstream.idle:
                upstream.idle.pop().transport.close()

    async def _opened(self, upstream: _Upstream) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        address = upstream.address

        def free(connection: UpstreamConnection) -> None:
            upstream.idle.append(connection)
            self._wake_one()

        def gone(connection: UpstreamConnection) -> None:
            upstream.open.discard(connection)
            with contextlib.suppress(ValueError):
                upstream.idle.remove(connection)
            self._wake_one()

        tls = self._tls if address.tls else None
        _, connection = await loop.create_connection(
            lambda: UpstreamConnection(free, gone), address.host, address.port, ssl=tls
        )
        upstream.open.add(connection)
        if self._sweep is None:
            self._sweep = loop.call_later(SWEEP_SECONDS, self._look, loop)
        return connection

    async def _room(self) -> None:
        """Wait until some upstream may have one more connection, as long as a connection may take."""
        if any(upstream.busy < self.limits.connections for upstream in self._upstreams):
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(self.limits.connect):
                await waiting
        except TimeoutError:
            raise Outage(Code.UPSTREAM_UNAVAILABLE, "all connections to the upstream are in use") from None
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(waiting)

    def _wake_one(self) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return

    def _in_order(self, now: float) -> Iterator[_Upstream]:
        """Those that are believed to be up, the least busy first; then the others, the longest rested first."""
        if len(self._upstreams) == 1:
            yield self._upstreams[0]
            return
        up = [upstream for upstream in self._upstreams if upstream.rests_until <= now]
        resting = [upstream for upstream in self._upstreams if upstream.rests_until > now]
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
