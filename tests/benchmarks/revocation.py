"""How long a token that was logged out at one node still passes at another one, which has it in memory.

Counted from the answer to the logout, at which the revocation is durable, to the first refusal elsewhere; polled on one
connection, so the figures hold to about the time of a request.
"""

from __future__ import annotations

import contextlib
import http.client
import statistics
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from tests.benchmarks import servers

if TYPE_CHECKING:
    from tests.benchmarks.material import Material

_PATIENCE = 5.0  # seconds


class Delays(Struct, frozen=True):
    """Milliseconds from a logout to its effect at the other node, in order."""

    milliseconds: Sequence[float]

    @property
    def worst(self) -> float:
        """The longest."""
        return self.milliseconds[-1]

    def told(self) -> str:
        """The figures in words."""
        cuts = statistics.quantiles(self.milliseconds, n=100)
        found = f"p50 {cuts[49]:.0f} ms, p99 {cuts[98]:.0f} ms, longest {self.worst:.0f} ms"
        return f"{found}, {len(self.milliseconds)} logouts"


def run(made: Material, store_url: str, name: str, count: int) -> Delays:
    """Log `count` people in at both of two gateways over one store, and out at the first."""
    tokens = made.tokens("HS256", count).read_text().split()
    with contextlib.ExitStack() as stack:
        nodes: list[http.client.HTTPConnection] = []
        for number in range(2):
            port = servers.free_port()
            config = made.config(f"{name}-{number}", store_url, port, servers.free_port())
            running = stack.enter_context(servers.gateway(config, port, core=None))
            connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
            nodes.append(stack.enter_context(contextlib.closing(connection)))
        here, there = nodes
        return Delays(sorted(_delay(here, there, token) for token in tokens))


def _delay(here: http.client.HTTPConnection, there: http.client.HTTPConnection, token: str) -> float:
    for node in (here, there, there):
        _expect(_ask(node, "/messenger/login", token), 200)
    _expect(_ask(here, "/messenger/logout", token), 200)
    begun = time.perf_counter()
    _expect(_ask(here, "/messenger/login", token), 401)
    while _ask(there, "/messenger/login", token) != 401:
        if time.perf_counter() - begun > _PATIENCE:
            raise RuntimeError("a revoked token passes")
    return (time.perf_counter() - begun) * 1000


def _ask(node: http.client.HTTPConnection, path: str, token: str) -> int:
    node.request("POST", path, headers={"Authorization": f"Bearer {token}"})
    response = node.getresponse()
    response.read()
    return response.status


def _expect(status: int, expected: int) -> None:
    if status != expected:
        raise RuntimeError(f"the gateway answered {status} where {expected} was due")
