"""Imports as jobs (an extension: Intercom has no such endpoint): `POST /contacts/imports` and how far it is.

The body is the CSV file, at most 20 MB; `match` says what finds the record of a row, `apply=true` writes, else it is a
rehearsal. One job runs at a time in a workspace, in a process of its own, so that no login waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from gateway.contacts.access_token import Scope
from gateway.contacts.contact import is_contact_id, mint_contact_id
from gateway.contacts.csv.jobs import KEPT_SECONDS, SILENT_SECONDS, ImportJob, JobState
from gateway.contacts.csv.layout import Unknown
from gateway.contacts.csv.match_rule import MatchRule
from gateway.contacts.csv.outcome import Outcome
from gateway.contacts.csv.rows import ENCODINGS
from gateway.contacts.csv.run import ImportChoices
from gateway.contacts.csv.worker import INTERRUPTED, INTERRUPTED_TEXT, Assignment
from gateway.web.admin.endpoints import AdminEndpoints, Shared
from gateway.web.admin.errors import AdminError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from gateway.contacts.csv.jobs import TextKind
    from gateway.contacts.store import ContactTransaction

FILE_LIMIT = 20 * 1000 * 1000
"""Bytes (facts: Intercom 4)."""

_PARAMETERS = frozenset({"match", "apply", "encoding", "delimiter", "unknown"})


class ImportsApi(AdminEndpoints):
    """Jobs over one store, which lies at `store_url`."""

    def __init__(self, shared: Shared, store_url: str) -> None:
        super().__init__(shared)
        self._store_url = store_url
        self._running: set[asyncio.Task[None]] = set()

    def routes(self) -> list[Route]:
        """They stand before those with a contact id in their path."""
        return [
            Route("/contacts/imports", self.start, methods=["POST"]),
            Route("/contacts/imports/{job_id}", self.progress, methods=["GET"]),
            Route("/contacts/imports/{job_id}/result", self.result, methods=["GET"]),
            Route("/contacts/imports/{job_id}/errors", self.errors, methods=["GET"]),
        ]

    async def start(self, request: Request) -> Response:
        """Take a file and begin: 202 and the job; 409 while another one runs."""
        workspace = self.permitted(request, Scope.CONTACTS_WRITE)
        choices = _choices(request)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "text/csv":
            raise AdminError(400, "parameter_invalid", "the body is a CSV file: Content-Type: text/csv")
        await self._check_free(workspace)
        now = int(self.clock())
        job = ImportJob(
            workspace_id=workspace,
            id=mint_contact_id(now, self.random_bytes),
            rule=choices.rule,
            applies=choices.applies,
            actor=f"access_token:{request.user.id}",
            created_at=now,
            updated_at=now,
        )
        with contextlib.ExitStack() as undone:
            file = _new_file()
            undone.callback(file.unlink, missing_ok=True)
            await _receive(request, file)
            await self._begin(job)
            undone.pop_all()
        assignment = Assignment(self._store_url, job, self.rules[workspace], str(file), choices)
        task = asyncio.create_task(self._run(assignment, file))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return _answer(job, 202)

    async def progress(self, request: Request) -> Response:
        """How far a job is, or how it ended."""
        return _answer(await self._job(request))

    async def result(self, request: Request) -> Response:
        """Every row that is done, with its contact id and outcome, as CSV."""
        return self._text(await self._job(request, "text/csv"), "result")

    async def errors(self, request: Request) -> Response:
        """The rejected rows as they were, with code, field and message, as CSV that can be mended and sent again."""
        return self._text(await self._job(request, "text/csv"), "errors")

    async def _job(self, request: Request, media_type: str = "application/json") -> ImportJob:
        workspace = self.permitted(request, Scope.CONTACTS_READ, media_type=media_type)
        job_id: str = request.path_params["job_id"]
        job = await self.store.import_job(workspace, job_id) if is_contact_id(job_id) else None
        if job is None:
            raise AdminError(404, "not_found", "there is no import with this id, or none any more")
        return await self._ended_if_silent(job)

    async def _ended_if_silent(self, job: ImportJob) -> ImportJob:
        """A job whose process was killed says nothing any more: then it has failed."""
        if job.state is not JobState.RUNNING or self.clock() - job.updated_at < SILENT_SECONDS:
            return job
        return await self._interrupted(job)

    async def _interrupted(self, job: ImportJob) -> ImportJob:
        failed = replace(
            job,
            state=JobState.FAILED,
            problem=INTERRUPTED,
            message=INTERRUPTED_TEXT,
            updated_at=int(self.clock()),
        )
        await self.store.write(lambda transaction: transaction.update_import_job(failed))
        return await self.store.import_job(job.workspace_id, job.id) or failed

    async def _check_free(self, workspace: str) -> None:
        running = await self.store.running_import(workspace)
        if running is not None and (await self._ended_if_silent(running)).state is JobState.RUNNING:
            raise AdminError(409, "conflict", f"an import of this workspace is running already with id={running.id}")

    async def _begin(self, job: ImportJob) -> None:
        if not await self.store.write(lambda transaction: _insert(transaction, job)):
            await self._check_free(job.workspace_id)
            raise AdminError(409, "conflict", "another import of this workspace has just ended; try again")

    async def _run(self, assignment: Assignment, file: Path) -> None:
        """Start the process, and wait for it; a cancelled wait ends its input, which tells it to stop."""
        with contextlib.ExitStack() as finally_, contextlib.suppress(OSError):  # no more processes, or it is gone
            finally_.callback(file.unlink, missing_ok=True)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "gateway.contacts.csv.worker",
                stdin=asyncio.subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is the gateway's, whose end the worker notices
            )
            if process.stdin is None:
                raise AssertionError("a pipe was asked for")
            process.stdin.write(msgspec.json.encode(assignment) + b"\n")
            await process.wait()
        job = await self.store.import_job(assignment.job.workspace_id, assignment.job.id)
        if job is not None and job.state is JobState.RUNNING:
            await self._interrupted(job)
        await asyncio.sleep(KEPT_SECONDS + 1)
        await self.store.write(lambda transaction: _forget(transaction, assignment.job.workspace_id, self.clock()))

    def _text(self, job: ImportJob, kind: TextKind) -> Response:
        name = f"import-{job.id}-{kind}.csv"
        headers = {"cache-control": "no-store", "content-disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(self._pieces(job, kind), media_type="text/csv", headers=headers)

    async def _pieces(self, job: ImportJob, kind: TextKind) -> AsyncIterator[str]:
        after = 0
        while piece := await self.store.import_text(job.workspace_id, job.id, kind, after=after):
            after, text = piece
            yield text


async def _insert(transaction: ContactTransaction, job: ImportJob) -> bool:
    await _forget(transaction, job.workspace_id, job.created_at)
    return await transaction.insert_import_job(job)


async def _forget(transaction: ContactTransaction, workspace: str, now: float) -> None:
    await transaction.forget_import_jobs(workspace, before=int(now) - KEPT_SECONDS)


def _new_file() -> Path:
    """A file that its owner alone reads."""
    try:
        descriptor, name = tempfile.mkstemp(prefix="gateway-import-", suffix=".csv")
    except OSError as error:
        raise AdminError(503, "service_unavailable", "there is no room for the file") from error
    os.close(descriptor)
    return Path(name)


async def _receive(request: Request, path: Path) -> None:
    """Write the body into a file, piece by piece; 413 when it is too large."""
    size = 0
    with path.open("wb") as file:
        try:
            async for chunk in request.stream():
                size += len(chunk)
                if size > FILE_LIMIT:
                    raise AdminError(413, "client_error", f"the file takes more than {FILE_LIMIT} bytes")
                file.write(chunk)
        except ClientDisconnect:
            raise AdminError(400, "bad_request", "the body did not arrive") from None


def _choices(request: Request) -> ImportChoices:
    given = request.query_params
    for name in given:
        if name not in _PARAMETERS or len(given.getlist(name)) > 1:
            raise AdminError(400, "parameter_invalid", f"unknown or repeated; take {_listed(_PARAMETERS)}", field=name)
    match = _one_of("match", given.get("match"), MatchRule)
    delimiter = given.get("delimiter")
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n\0'):
        raise AdminError(400, "parameter_invalid", "a delimiter is one character", field="delimiter")
    return ImportChoices(
        rule=MatchRule(match),
        applies=_one_of("apply", given.get("apply", "false"), ("true", "false")) == "true",
        unknown=Unknown(_one_of("unknown", given.get("unknown", "refuse"), Unknown)),
        encoding=None if "encoding" not in given else _one_of("encoding", given["encoding"], ENCODINGS),
        delimiter=delimiter,
    )


def _one_of(name: str, value: str | None, known: Any) -> str:
    if value is None:
        text = f"choose what finds the record of a row, for there is no safe default: {_listed(known)}"
        raise AdminError(400, "parameter_missing", text, field=name)
    if value not in list(known):
        raise AdminError(400, "parameter_invalid", f"must be one of {_listed(known)}", field=name)
    return value


def _listed(names: Any) -> str:
    return ", ".join(sorted(names))


def _answer(job: ImportJob, status: int = 200) -> Response:
    problem = None if job.problem is None else {"code": job.problem, "message": job.message}
    body = {
        "type": "import",
        "id": job.id,
        "state": job.state,
        "match": job.rule,
        "apply": job.applies,
        "rows": job.total,
        "processed": sum(job.counts.values()),
        **{str(outcome): job.counts.get(outcome, 0) for outcome in Outcome},
        "problem": problem,
        "created_at": job.created_at,
        "updated_at": job.updated_at,
    }
    headers = {"cache-control": "no-store", "location": f"/contacts/imports/{job.id}"}
    return Response(msgspec.json.encode(body), status, media_type="application/json", headers=headers)
