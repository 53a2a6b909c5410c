"""The one thing that the SQL of every noun needs from an engine: to run a statement."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.database.rows import Row


class Fetching(ABC):
    """What a store and a transaction have in common. Statements have positional `$n` parameters."""

    @abstractmethod
    async def _fetch(self, sql: str, *arguments: object) -> Sequence[Row]:
        """Run a statement and return its rows; raises `Outage`, and `ValueError` for what cannot be bound."""

    async def _scan(self, sql: str, *arguments: object) -> Sequence[Row]:
        """The same for a statement that may read very many rows: no look-up waits for it."""
        return await self._fetch(sql, *arguments)
