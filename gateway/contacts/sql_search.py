"""Searches in SQL, over what an engine gives to run a statement that a client thought up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contacts.fetching import Fetching
from gateway.contacts.rows import COLUMNS, check_storable, contact_of
from gateway.contacts.search import Hit, Position, Search
from gateway.contacts.search_sql import SQLITE, Dialect, count_statement, is_look_up, page_statement
from gateway.errors import SearchProblem, SearchRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.rows import Row
    from gateway.contacts.search_sql import Statement

_CURSOR_KEY = "SELECT value FROM store_secrets WHERE name = 'cursors'"


class SqlSearch(Fetching):
    """See `ContactSearch`."""

    dialect: Dialect = SQLITE

    async def search(
        self, workspace_id: str, search: Search, *, after: Position | None = None, limit: int, seconds: float
    ) -> Sequence[Hit]:
        """See `ContactSearch.search`."""
        check_storable((workspace_id,))
        statement = page_statement(self.dialect, workspace_id, search, after, limit)
        if is_look_up(search):  # it need not queue behind those that read all
            rows = await self._fetch(statement.sql, *statement.arguments)
        else:
            rows = await self._bounded(statement, seconds)
        return [Hit(contact=contact_of(row), position=Position(value=row[len(COLUMNS)], id=row[1])) for row in rows]

    async def count(self, workspace_id: str, search: Search, *, seconds: float) -> int:
        """See `ContactSearch.count`."""
        check_storable((workspace_id,))
        rows = await self._bounded(count_statement(self.dialect, workspace_id, search), seconds)
        number: int = rows[0][0]
        return number

    async def cursor_key(self) -> bytes:
        """See `ContactSearch.cursor_key`."""
        return bytes.fromhex((await self._fetch(_CURSOR_KEY))[0][0])

    async def _bounded(self, statement: Statement, seconds: float) -> Sequence[Row]:
        try:
            return await self._search(seconds, statement.sql, *statement.arguments)
        except TimeoutError:
            text = "the search takes too long; ask for an email, external_id, phone or time as well"
            raise SearchRefused(SearchProblem.TOO_SLOW, text, field="query") from None

    async def _search(self, seconds: float, sql: str, *arguments: object) -> Sequence[Row]:
        """Run a statement that may read very many rows, and whose words do not come again.

        `TimeoutError` when it takes longer than `seconds`, where the engine can tell.
        """
        del seconds
        return await self._scan(sql, *arguments)
