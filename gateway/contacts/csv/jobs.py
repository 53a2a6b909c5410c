"""Imports that run as jobs: what the store keeps of each, for whoever asks how far it is.

The imported file itself is not kept. What a job says of people (its results and its rejected rows) is forgotten after
`KEPT_SECONDS`; where the gateway was restarted meanwhile, when the next import begins.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Struct

from gateway.contacts.csv.match_rule import MatchRule

if TYPE_CHECKING:
    from collections.abc import Sequence

KEPT_SECONDS = 7 * 24 * 3600
SILENT_SECONDS = 60
"""A running job says how far it is much more often; one that is silent for longer is not running any more."""

TextKind = Literal["result", "errors"]


class JobState(StrEnum):
    """A job that is not running is over, one way or the other."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class ImportJob(Struct, frozen=True, kw_only=True):
    """One job. `total` is known once the file was looked at; `problem` is a code, `message` words, of one that failed.

    Times are whole seconds UTC.
    """

    workspace_id: str
    id: str
    state: JobState = JobState.RUNNING
    rule: MatchRule
    applies: bool
    total: int | None = None
    counts: dict[str, int] = {}
    problem: str | None = None
    message: str | None = None
    actor: str
    created_at: int
    updated_at: int


class ImportReader(Protocol):
    """The look-ups."""

    async def import_job(self, workspace_id: str, job_id: str) -> ImportJob | None:
        """The job with this id."""

    async def running_import(self, workspace_id: str) -> ImportJob | None:
        """The job that runs in a workspace, as far as the store knows."""

    async def import_text(
        self, workspace_id: str, job_id: str, kind: TextKind, *, after: int
    ) -> tuple[int, str] | None:
        """The piece of a job's text that follows the piece `after` (0 at first), with its number."""


class ImportWriter(Protocol):
    """The writes."""

    async def insert_import_job(self, job: ImportJob) -> bool:
        """Add a job; False when one runs in its workspace."""

    async def update_import_job(self, job: ImportJob) -> bool:
        """Write what changes of a running job; False when it runs no more, and then nothing is written."""

    async def add_import_texts(self, job: ImportJob, number: int, texts: Sequence[tuple[TextKind, str]]) -> None:
        """Append pieces to a job's texts; `number` grows from piece to piece."""

    async def forget_import_jobs(self, workspace_id: str, *, before: int) -> None:
        """Remove the jobs that are over and were changed last before a time, with their texts."""
