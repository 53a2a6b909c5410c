"""The counts of a roll-out, in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contacts.database.fetching import Fetching
from gateway.contacts.database.rows import check_storable
from gateway.contacts.rollout import EnforcementCount

if TYPE_CHECKING:
    from collections.abc import Sequence

_COUNTS = (
    "SELECT workspace_id, day, platform, outcome, total FROM enforcement_counts "
    "WHERE workspace_id = $1 AND day >= $2 ORDER BY day, platform, outcome"
)
_ADD = (
    "INSERT INTO enforcement_counts (workspace_id, day, platform, outcome, total) VALUES ($1, $2, $3, $4, $5) "
    "ON CONFLICT (workspace_id, day, platform, outcome) "
    "DO UPDATE SET total = enforcement_counts.total + excluded.total"
)
_FORGET = "DELETE FROM enforcement_counts WHERE day < $1"


class SqlRolloutReader(Fetching):
    """The look-ups of `RolloutReader`."""

    async def enforcement_counts(self, workspace_id: str, *, since: int) -> Sequence[EnforcementCount]:
        """See `RolloutReader.enforcement_counts`."""
        check_storable((workspace_id,))
        return [
            EnforcementCount(workspace_id=row[0], day=row[1], platform=row[2], outcome=row[3], total=row[4])
            for row in await self._fetch(_COUNTS, workspace_id, since)
        ]


class SqlRolloutWriter(Fetching):
    """The writes of `RolloutWriter`."""

    async def add_enforcement_counts(self, counts: Sequence[EnforcementCount]) -> None:
        """See `RolloutWriter.add_enforcement_counts`. In order, so that two processes do not wait for each other."""
        rows = sorted((count.workspace_id, count.day, count.platform, count.outcome, count.total) for count in counts)
        for row in rows:
            check_storable(row)
            await self._fetch(_ADD, *row)

    async def forget_enforcement_counts(self, *, before: int) -> None:
        """See `RolloutWriter.forget_enforcement_counts`."""
        await self._fetch(_FORGET, before)
