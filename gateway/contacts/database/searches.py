"""Searches in SQL, over what an engine gives to run a statement that a client thought up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contacts.database.fetching import Fetching
from gateway.contacts.database.rows import COLUMNS, check_storable, contact_of
from gateway.contacts.search.compiling import (
    SQLITE,
    Dialect,
    count_statement,
    finds_few,
    is_look_up,
    page_statement,
    range_statement,
)
from gateway.contacts.search.tree import Filter, Hit, Operator, Position, Search
from gateway.errors import SearchProblem, SearchRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.database.rows import Row
    from gateway.contacts.search.compiling import Statement
    from gateway.contacts.search.tree import Group

_CURSOR_KEY = "SELECT value FROM store_secrets WHERE name = 'cursors'"


class SqlSearch(Fetching):
    """See `ContactSearch`."""

    dialect: Dialect = SQLITE
    few_records = 10_000
    """So many are read and sorted for one page; where a range holds more, its records are met in the order itself."""

    async def search(
        self, workspace_id: str, search: Search, *, after: Position | None = None, limit: int, seconds: float
    ) -> Sequence[Hit]:
        """See `ContactSearch.search`."""
        check_storable((workspace_id,))
        few = search.where is None or await self._is_few(workspace_id, search.where, search.sort.field, seconds)
        statement = page_statement(self.dialect, workspace_id, search, after, limit, few=few)
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

    async def _is_few(self, workspace_id: str, node: Filter | Group, sort_field: str, seconds: float) -> bool:
        """Whether the ranges of indexes that pick the records are small, as far as the engine must be told."""
        if self.dialect.counts or not finds_few(node, sort_field):
            return True
        if isinstance(node, Filter):
            if node.operator in (Operator.EQUAL, Operator.IN):
                return True
            statement = range_statement(self.dialect, workspace_id, node, self.few_records + 1)
            counted: int = (await self._bounded(statement, seconds))[0][0]
            return counted <= self.few_records
        picking = [member for member in node.members if finds_few(member, sort_field)]
        few = [await self._is_few(workspace_id, member, sort_field, seconds) for member in picking]
        return any(few) if node.every else all(few)

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
