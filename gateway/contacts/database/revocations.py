"""The SQL of revocations; see `contacts/revocation.py` for what it promises."""

# ruff: noqa: S608 - every statement is made of the constants above it

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contacts.database.changes import ALL_CHANGED
from gateway.contacts.database.fetching import Fetching
from gateway.contacts.database.rows import check_storable
from gateway.contacts.revocation import REVOCATIONS, Revocation, RevocationKind, merged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.database.rows import Row

_COLUMNS = "workspace_id, kind, digest, subject, issued_before, until, revoked_at, actor"
_SELECT = f"SELECT {_COLUMNS}, seq FROM revocations WHERE workspace_id = $1"
SINCE = f"{_SELECT} AND seq > $2 ORDER BY seq LIMIT $3"
_ASKED = 8  # digests in one statement; it is prepared once, and a token has at most five of them
FIND = f"{_SELECT} AND digest IN ({', '.join(f'${number}' for number in range(2, _ASKED + 2))})"
_FORGET_ONE = "DELETE FROM revocations WHERE workspace_id = $1 AND digest = $2"
_INSERT = f"INSERT INTO revocations ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
FORGET = "DELETE FROM revocations WHERE workspace_id = $1 AND until IS NOT NULL AND until <= $2 RETURNING seq"


class SqlRevocationReader(Fetching):
    """The look-ups of `RevocationReader` over one way to run a statement."""

    async def revocations_since(self, workspace_id: str, seq: int, *, limit: int) -> Sequence[Revocation]:
        """See `RevocationReader.revocations_since`."""
        check_storable((workspace_id, seq, limit))
        return [_revocation_of(row) for row in await self._fetch(SINCE, workspace_id, seq, limit)]

    async def find_revocations(self, workspace_id: str, digests: Sequence[bytes]) -> Sequence[Revocation]:
        """See `RevocationReader.find_revocations`."""
        check_storable((workspace_id,))
        found: list[Revocation] = []
        for first in range(0, len(digests), _ASKED):
            asked = [digest.hex() for digest in digests[first : first + _ASKED]]
            asked += asked[:1] * (_ASKED - len(asked))
            found += [_revocation_of(row) for row in await self._fetch(FIND, workspace_id, *asked)]
        return found


class SqlRevocationWriter(SqlRevocationReader):
    """The steps of `RevocationWriter`."""

    changed: list[tuple[str, str]]

    async def keep_revocation(self, revocation: Revocation) -> bool:
        """See `RevocationWriter.keep_revocation`. The new `seq` lets everybody who remembers the old one hear of it."""
        for standing in await self.find_revocations(revocation.workspace_id, [revocation.digest]):
            revocation = merged(standing, revocation)
            bounds = revocation.issued_before, revocation.until
            if bounds == (standing.issued_before, standing.until):
                return False
            await self._fetch(_FORGET_ONE, revocation.workspace_id, revocation.digest.hex())
        row = _row_of(revocation)
        check_storable(row)
        await self._fetch(_INSERT, *row)
        self.changed.append((revocation.workspace_id, REVOCATIONS))
        return True

    async def lift_revocations(self, workspace_id: str, digests: Sequence[bytes]) -> Sequence[Revocation]:
        """See `RevocationWriter.lift_revocations`. What is gone has no `seq` to be read by, so all is read anew."""
        lifted = await self.find_revocations(workspace_id, digests)
        for one in lifted:
            await self._fetch(_FORGET_ONE, workspace_id, one.digest.hex())
        if lifted:
            self.changed.append(ALL_CHANGED)
        return lifted

    async def forget_revocations(self, workspace_id: str, *, now: int) -> int:
        """See `RevocationWriter.forget_revocations`. What is dead refuses nobody, so nobody needs to hear of it."""
        check_storable((workspace_id, now))
        return len(await self._fetch(FORGET, workspace_id, now))


def _row_of(revocation: Revocation) -> Row:
    return (
        revocation.workspace_id,
        revocation.kind.value,
        revocation.digest.hex(),
        revocation.subject,
        revocation.issued_before,
        revocation.until,
        revocation.revoked_at,
        revocation.actor,
    )


def _revocation_of(row: Row) -> Revocation:
    return Revocation(
        workspace_id=row[0],
        kind=RevocationKind(row[1]),
        digest=bytes.fromhex(row[2]),
        subject=row[3],
        issued_before=row[4],
        until=row[5],
        revoked_at=row[6],
        actor=row[7],
        seq=row[8],
    )
