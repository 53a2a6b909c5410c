"""An import job in a process of its own, so that no login waits for its work.

`python -m gateway.contacts.csv.worker` is what the admin listener starts. Standard input brings one line of JSON (an
`Assignment`), and its end means that whoever started the job is gone: it stops after the batch that it is at. However a
job ends, the store says so; one that was killed falls silent instead.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gateway.contacts.csv.jobs import ImportJob, JobState
from gateway.contacts.csv.report import Report
from gateway.contacts.csv.rows import CsvProblem
from gateway.contacts.csv.run import ImportChoices, prepare_import
from gateway.contacts.database.stores import store_for
from gateway.errors import ChangeRefused
from gateway.identity.principal import IdRules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.csv.jobs import TextKind
    from gateway.contacts.store import ContactStore, ContactTransaction

INTERRUPTED = "interrupted"
INTERRUPTED_TEXT = "the import was interrupted; what it wrote stays, and the same file again goes on from there"


class Assignment(Struct, frozen=True):
    """What a worker is to do: a job that the store knows already, and the file for it."""

    store_url: str
    job: ImportJob
    rules: IdRules
    file: str
    choices: ImportChoices


class _Worker:
    def __init__(self, store: ContactStore, assignment: Assignment, stopping: threading.Event) -> None:
        self._store = store
        self._assignment = assignment
        self._stopping = stopping
        self._job = assignment.job
        self._pieces = 0

    async def run(self) -> None:
        """Import, and say in the store how far it is and how it ended."""
        try:
            await self._import()
        except CsvProblem as problem:
            await self._say(state=JobState.FAILED, problem=problem.code, message=str(problem))
        except FileNotFoundError:  # whoever started the job is gone, and took the file along
            await self._say(state=JobState.FAILED, problem=INTERRUPTED, message=INTERRUPTED_TEXT)
        except ChangeRefused as error:  # an attribute that cannot be declared
            await self._say(state=JobState.FAILED, problem=str(error.problem), message=error.message)

    async def _import(self) -> None:
        assignment = self._assignment
        prepared = await prepare_import(
            self._store,
            self._job.workspace_id,
            assignment.rules,
            Path(assignment.file),
            assignment.choices,
            actor=self._job.actor,
            clock=time.time,
            random_bytes=os.urandom,
        )
        report = Report(prepared.layout, prepared.file.delimiter)
        await self._say(
            [("result", report.result_header), ("errors", report.errors_header)],
            total=prepared.total,
        )
        run = prepared.run
        async for rows in run.batches(prepared.file.rows()):
            counts = {str(outcome): count for outcome, count in run.counts.items()}
            texts: list[tuple[TextKind, str]] = [("result", report.results(rows)), ("errors", report.errors(rows))]
            await self._say(texts, counts=counts)
            if self._stopping.is_set() and run.counts.total() < prepared.total:
                await self._say(state=JobState.FAILED, problem=INTERRUPTED, message=INTERRUPTED_TEXT)
                return
        await self._say(state=JobState.DONE)

    async def _say(self, texts: Sequence[tuple[TextKind, str]] = (), **changes: object) -> None:
        """Keep the job's progress and what it found, in one transaction."""
        job = replace(self._job, **changes, updated_at=int(time.time()))
        number = self._pieces + 1

        async def work(transaction: ContactTransaction) -> bool:
            if not await transaction.update_import_job(job):
                return False
            await transaction.add_import_texts(job, number, [(kind, text) for kind, text in texts if text])
            return True

        if not await self._store.write(work):
            sys.exit("the job was given up by somebody else")
        self._job, self._pieces = job, number


async def run_assignment(assignment: Assignment, stopping: threading.Event) -> None:
    """Do what an assignment says; `stopping` ends it after the batch that it is at."""
    store = store_for(assignment.store_url)
    await store.open()
    try:
        await _Worker(store, assignment, stopping).run()
    finally:
        await store.close()


def _watch(stopping: threading.Event) -> None:
    sys.stdin.buffer.read()
    stopping.set()


def main() -> None:
    """Read the assignment and do it."""
    assignment = msgspec.json.decode(sys.stdin.buffer.readline(), type=Assignment)
    stopping = threading.Event()
    threading.Thread(target=_watch, args=(stopping,), daemon=True).start()
    asyncio.run(run_assignment(assignment, stopping))


if __name__ == "__main__":
    main()
