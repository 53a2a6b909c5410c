"""Jobs of imports, in SQL."""

# ruff: noqa: S608 - every statement is made of the constants above it

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gateway.contacts.csv.jobs import ImportJob, JobState
from gateway.contacts.csv.match_rule import MatchRule
from gateway.contacts.database.fetching import Fetching
from gateway.contacts.database.rows import check_storable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.csv.jobs import TextKind
    from gateway.contacts.database.rows import Row

_COLUMNS = "workspace_id, id, state, rule, applies, total, counts, problem, message, actor, created_at, updated_at"
_FIND = f"SELECT {_COLUMNS} FROM import_jobs WHERE workspace_id = $1 AND id = $2"
_RUNNING = f"SELECT {_COLUMNS} FROM import_jobs WHERE workspace_id = $1 AND state = 'running'"
_INSERT = (
    f"INSERT INTO import_jobs ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) "
    "ON CONFLICT DO NOTHING RETURNING id"
)
_UPDATE = (
    "UPDATE import_jobs SET state = $1, total = $2, counts = $3, problem = $4, message = $5, updated_at = $6 "
    "WHERE workspace_id = $7 AND id = $8 AND state = 'running' RETURNING id"
)
_TEXT = (
    "SELECT seq, content FROM import_texts WHERE workspace_id = $1 AND job_id = $2 AND kind = $3 AND seq > $4 "
    "ORDER BY seq LIMIT 1"
)
_ADD_TEXT = "INSERT INTO import_texts (workspace_id, job_id, kind, seq, content) VALUES ($1, $2, $3, $4, $5)"
_FORGET_TEXTS = (
    "DELETE FROM import_texts WHERE workspace_id = $1 AND job_id IN "
    "(SELECT id FROM import_jobs WHERE workspace_id = $1 AND state <> 'running' AND updated_at < $2)"
)
_FORGET_JOBS = "DELETE FROM import_jobs WHERE workspace_id = $1 AND state <> 'running' AND updated_at < $2"


class SqlImportReader(Fetching):
    """The look-ups of `ImportReader` over one way to run a statement."""

    async def import_job(self, workspace_id: str, job_id: str) -> ImportJob | None:
        """See `ImportReader.import_job`."""
        check_storable((workspace_id, job_id))
        return _job_of(await self._fetch(_FIND, workspace_id, job_id))

    async def running_import(self, workspace_id: str) -> ImportJob | None:
        """See `ImportReader.running_import`."""
        check_storable((workspace_id,))
        return _job_of(await self._fetch(_RUNNING, workspace_id))

    async def import_text(
        self, workspace_id: str, job_id: str, kind: TextKind, *, after: int
    ) -> tuple[int, str] | None:
        """See `ImportReader.import_text`."""
        check_storable((workspace_id, job_id))
        rows = await self._fetch(_TEXT, workspace_id, job_id, kind, after)
        return (rows[0][0], rows[0][1]) if rows else None


class SqlImportWriter(SqlImportReader):
    """The writes of `ImportWriter`."""

    async def insert_import_job(self, job: ImportJob) -> bool:
        """See `ImportWriter.insert_import_job`."""
        row = (
            job.workspace_id,
            job.id,
            job.state.value,
            job.rule.value,
            int(job.applies),
            job.total,
            json.dumps(job.counts),
            job.problem,
            job.message,
            job.actor,
            job.created_at,
            job.updated_at,
        )
        check_storable(row)
        return bool(await self._fetch(_INSERT, *row))

    async def update_import_job(self, job: ImportJob) -> bool:
        """See `ImportWriter.update_import_job`."""
        changed = (job.state.value, job.total, json.dumps(job.counts), job.problem, job.message, job.updated_at)
        check_storable(changed)
        return bool(await self._fetch(_UPDATE, *changed, job.workspace_id, job.id))

    async def add_import_texts(self, job: ImportJob, number: int, texts: Sequence[tuple[TextKind, str]]) -> None:
        """See `ImportWriter.add_import_texts`."""
        for kind, text in texts:
            check_storable((text,))
            await self._fetch(_ADD_TEXT, job.workspace_id, job.id, kind, number, text)

    async def forget_import_jobs(self, workspace_id: str, *, before: int) -> None:
        """See `ImportWriter.forget_import_jobs`."""
        await self._fetch(_FORGET_TEXTS, workspace_id, before)
        await self._fetch(_FORGET_JOBS, workspace_id, before)


def _job_of(rows: Sequence[Row]) -> ImportJob | None:
    if not rows:
        return None
    row = rows[0]
    return ImportJob(
        workspace_id=row[0],
        id=row[1],
        state=JobState(row[2]),
        rule=MatchRule(row[3]),
        applies=row[4] != 0,
        total=row[5],
        counts=json.loads(row[6]),
        problem=row[7],
        message=row[8],
        actor=row[9],
        created_at=row[10],
        updated_at=row[11],
    )
