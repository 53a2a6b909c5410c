"""Remote key sets for tests: a real fetcher, a real server, and a clock that the test winds."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import TYPE_CHECKING, Any

from keys.destinations import Destinations
from keys.fetching import Fetcher
from keys.jwk import SigningKey, generate_signing_key
from keys.publication import Publisher
from keys.remote import Environment, RemoteKeySet, Timing

if TYPE_CHECKING:
    from keys.last_good import LastGoodSet
    from tests.keys.jwks_server import JwksServer

LOOPBACK = Destinations(loopback=True)
START = 1_790_000_000.0


class WoundClock:
    """Both clocks of a key set, and its sleep: time stands until `wind`."""

    def __init__(self) -> None:
        self.elapsed = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        return self.elapsed

    def wall(self) -> float:
        return START + self.elapsed

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.elapsed + seconds, next(self._order), woken))
        await woken

    async def wind(self, keys: RemoteKeySet, seconds: float) -> None:
        """Let time pass; whoever wakes in it acts at his own moment, and is waited for."""
        until = self.elapsed + seconds
        await settled(keys)
        while self._sleepers and self._sleepers[0][0] <= until:
            moment, _, woken = heapq.heappop(self._sleepers)
            self.elapsed = max(moment, self.elapsed)
            if not woken.done():
                woken.set_result(None)
            await settled(keys)
        self.elapsed = until


async def settled(keys: RemoteKeySet) -> None:
    """Until no fetch is under way, and whoever waited for one has gone on."""
    for _ in range(5):
        await asyncio.sleep(0)
    while keys._landing is not None:
        await asyncio.shield(keys._landing)
        for _ in range(5):
            await asyncio.sleep(0)


def remote(
    server: JwksServer,
    clock: WoundClock,
    *,
    path: str | None = "/jwks.json",
    saved: LastGoodSet | None = None,
    destinations: Destinations = LOOPBACK,
    **timing: Any,
) -> RemoteKeySet:
    """The set at a path of a server, or (None) where its discovery document says."""
    return RemoteKeySet(
        Publisher(
            name="acme/login",
            issuer=server.url(""),
            jwks_url=None if path is None else server.url(path),
            loopback_http=True,
        ),
        Fetcher(destinations),
        Environment(now=clock.now, wall_clock=clock.wall, random=lambda: 0.5, sleep=clock.sleep),
        timing=Timing(**timing),
        saved=saved,
    )


def signing(kid: str) -> SigningKey:
    """A new key under a kid."""
    made = generate_signing_key("ES256")
    return SigningKey(kid, made.algorithm, made.material)
