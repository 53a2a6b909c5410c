"""What enforcing would break: how many requests passed unverified, by day, platform and code, and how many verified.

A process counts in memory, and a task adds what came together to the store every few seconds and at the end, so a
request costs an addition and no write. Several processes add up. A store that fails takes nothing away: what was not
kept is offered again, under the day on which it was counted; a process that is killed loses its last seconds. Memory
is bounded, for workspaces, platforms and codes are closed sets and days older than `KEPT_DAYS` are dropped. A count
says nothing about a person.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from gateway.errors import Outage, StoreUnusable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.contacts.store import ContactStore, ContactTransaction

_log = logging.getLogger(__name__)

VERIFIED = "verified"
"""The outcome of a request that was verified; every other one is the code for which it would have been refused."""

KEPT_DAYS = 90
DAY = 86_400  # seconds
FLUSH_SECONDS = 5.0
_LAST_FLUSH_SECONDS = 5.0


class EnforcementCount(Struct, frozen=True, kw_only=True):
    """`total` requests of one day (in days since 1970, UTC) that came out alike.

    `platform` is empty where none was named; `outcome` is `VERIFIED` or a code.
    """

    workspace_id: str
    day: int
    platform: str
    outcome: str
    total: int


class RolloutReader(Protocol):
    """What can be asked of the counts."""

    async def enforcement_counts(self, workspace_id: str, *, since: int) -> Sequence[EnforcementCount]:
        """The counts of a workspace from the day `since` on, by day, platform and outcome."""


class RolloutWriter(Protocol):
    """How counts are kept."""

    async def add_enforcement_counts(self, counts: Sequence[EnforcementCount]) -> None:
        """Add to what was counted already; the same day, platform and outcome of a workspace is one number."""

    async def forget_enforcement_counts(self, *, before: int) -> None:
        """Remove the counts of all workspaces of the days before `before`."""


class EnforcementCounter:
    """Counts in this process's memory, and what brings them into the store. `clock` gives seconds UTC."""

    def __init__(
        self, store: ContactStore, clock: Callable[[], float], *, flush_seconds: float = FLUSH_SECONDS
    ) -> None:
        self._store = store
        self._clock = clock
        self._flush_seconds = flush_seconds
        self._pending: dict[tuple[str, int, str, str], int] = {}
        self._forgotten_on = 0
        self._flushing: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()

    def add(self, workspace_id: str, platform: str, outcome: str, total: int = 1) -> None:
        """Count a request."""
        key = (workspace_id, int(self._clock()) // DAY, platform, outcome)
        self._pending[key] = self._pending.get(key, 0) + total

    def open(self) -> None:
        """Begin to bring the counts into the store, unless that has begun."""
        if self._flushing is None:
            self._ending = asyncio.Event()
            self._flushing = asyncio.get_running_loop().create_task(self._keep_flushing(self._ending))

    async def close(self) -> None:
        """Bring what is left into the store; the log says how much it did not take within a few seconds."""
        flushing, self._flushing = self._flushing, None
        if flushing is None:
            return
        self._ending.set()
        _, late = await asyncio.wait({flushing}, timeout=_LAST_FLUSH_SECONDS)
        for task in late:
            task.cancel()
            await asyncio.wait({task})
        if self._pending:
            _log.error("the store did not take the last counts", extra={"requests": sum(self._pending.values())})

    async def flush(self) -> None:
        """Add what came together to the store; raises `Outage` or `StoreUnusable`, and then nothing is lost.

        When the store does not say whether it kept them, they are offered again: rather twice than never.
        """
        today = int(self._clock()) // DAY
        oldest = today - KEPT_DAYS + 1
        pending, self._pending = self._pending, {}
        counts = [
            EnforcementCount(workspace_id=workspace_id, day=day, platform=platform, outcome=outcome, total=total)
            for (workspace_id, day, platform, outcome), total in sorted(pending.items())
            if day >= oldest
        ]
        if not counts:
            return

        async def work(transaction: ContactTransaction) -> None:
            await transaction.add_enforcement_counts(counts)
            if today != self._forgotten_on:
                await transaction.forget_enforcement_counts(before=oldest)

        try:
            await self._store.write(work)
        except BaseException:
            for count in counts:
                key = (count.workspace_id, count.day, count.platform, count.outcome)
                self._pending[key] = self._pending.get(key, 0) + count.total
            raise
        self._forgotten_on = today

    async def _keep_flushing(self, ending: asyncio.Event) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._flush_seconds):
                    await ending.wait()
            last = ending.is_set()
            try:
                await self.flush()
            except (Outage, StoreUnusable) as error:
                _log.warning(
                    "the store does not take counts now; they are kept for later", extra={"reason": str(error)}
                )
            except Exception:  # noqa: BLE001 - whatever it is, the counts that come later must not be lost with it
                _log.exception("counts could not be brought into the store")
            if last:
                return
