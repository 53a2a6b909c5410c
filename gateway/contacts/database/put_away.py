"""The SQL for archived and blocked records; a small index of their own serves each statement."""

# ruff: noqa: S608 - every statement is made of the constants above it

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contacts.database.fetching import Fetching
from gateway.contacts.database.rows import COLUMNS, check_storable, contact_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.contact import Contact

_COLUMNS = ", ".join(COLUMNS)
_PUT_AWAY = "FROM contacts WHERE workspace_id = $1 AND state IN ('archived', 'blocked')"
_WITH_EMAIL = f"{_PUT_AWAY} AND email IS NOT NULL AND email = $2"
COUNT = f"SELECT count(*) {_PUT_AWAY}"
COUNT_WITH_EMAIL = f"SELECT count(*) {_WITH_EMAIL}"
LIST = f"SELECT {_COLUMNS} {_PUT_AWAY} AND id > $2 ORDER BY id LIMIT $3"
LIST_WITH_EMAIL = f"SELECT {_COLUMNS} {_WITH_EMAIL} AND id > $3 ORDER BY id LIMIT $4"
_A_USER = "AND role = 'user' AND id <> $3 ORDER BY created_at, id LIMIT 1"
LIVE_USER = f"SELECT {_COLUMNS} FROM contacts WHERE workspace_id = $1 AND email = $2 AND state = 'live' {_A_USER}"
PUT_AWAY_USER = f"SELECT {_COLUMNS} {_WITH_EMAIL} {_A_USER}"


class SqlPutAwayReader(Fetching):
    """The questions of `PutAwayReader`."""

    async def put_away(
        self, workspace_id: str, *, email: str | None = None, after: str = "", limit: int = 50
    ) -> Sequence[Contact]:
        """See `PutAwayReader.put_away`."""
        check_storable((workspace_id, email, after))
        if email is None:
            rows = await self._fetch(LIST, workspace_id, after, limit)
        else:
            rows = await self._fetch(LIST_WITH_EMAIL, workspace_id, email, after, limit)
        return [contact_of(row) for row in rows]

    async def user_with_email(self, workspace_id: str, email: str, *, but: str) -> Contact | None:
        """See `PutAwayReader.user_with_email`."""
        check_storable((workspace_id, email, but))
        for sql in (LIVE_USER, PUT_AWAY_USER):
            if rows := await self._fetch(sql, workspace_id, email, but):
                return contact_of(rows[0])
        return None

    async def count_put_away(self, workspace_id: str, *, email: str | None = None) -> int:
        """See `PutAwayReader.count_put_away`."""
        check_storable((workspace_id, email))
        if email is None:
            rows = await self._scan(COUNT, workspace_id)
        else:
            rows = await self._fetch(COUNT_WITH_EMAIL, workspace_id, email)
        return int(rows[0][0])
