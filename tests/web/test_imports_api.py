"""Imports as jobs: `POST /contacts/imports` over real sockets, on either store."""

from __future__ import annotations

import csv
import io
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contacts.access_token import Scope
from tests.web.conftest import access_token, running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.web.conftest import Reply, Server

PEOPLE = "user_id,email,name\nu1,a@example.com,Ada\nundefined,b@example.com,=1+1\nu3,a@example.com,Carol\n"


@pytest.fixture(params=["sqlite", "postgres"])
def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A gateway with a store of its own."""
    url = request.getfixturevalue("postgres_database") if request.param == "postgres" else None
    with running_gateway(tmp_path, store_url=url) as running:
        yield running


def post(server: Server, body: str | bytes, query: str = "match=external_id", **headers: str) -> Reply:
    data = body.encode() if isinstance(body, str) else body
    sent = {"Content-Type": "text/csv", **headers}
    return server.request(
        "POST", f"/contacts/imports?{query}", server.access_token, headers=sent, body=data, admin=True
    )


def ended(server: Server, job: Any) -> Any:
    """The job once it is over."""
    for _ in range(600):
        job = server.admin("GET", f"/contacts/imports/{job['id']}").json()
        if job["state"] != "running":
            return job
        time.sleep(0.05)
    raise AssertionError(f"it still runs: {job}")


def rows_of(server: Server, job: Any, kind: str) -> list[dict[str, str]]:
    reply = server.admin("GET", f"/contacts/imports/{job['id']}/{kind}")
    assert (reply.status, reply.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert reply.headers["cache-control"] == "no-store"
    return list(csv.DictReader(io.StringIO(reply.body.decode(), newline="")))


def test_a_rehearsal_then_the_import(gateway: Server) -> None:
    """A rehearsal unless `apply=true`; progress, results with contact ids, and rejected rows to be mended."""
    started = post(gateway, PEOPLE)
    assert started.status == 202
    assert (started.json()["state"], started.json()["rows"]) == ("running", None)
    rehearsed = ended(gateway, started.json())
    counts = ("state", "rows", "processed", "created", "updated", "unchanged", "linked", "rejected")
    assert [rehearsed[name] for name in counts] == ["done", 3, 3, 1, 0, 0, 0, 2]
    assert gateway.admin("GET", "/contacts/find_by_external_id/u1").status == 404

    applied = ended(gateway, post(gateway, PEOPLE, "match=external_id&apply=true").json())
    assert [applied[name] for name in counts] == [rehearsed[name] for name in counts]
    contact = gateway.admin("GET", "/contacts/find_by_external_id/u1").json()
    results = rows_of(gateway, applied, "result")
    assert [row["contact_id"] for row in results] == [contact["id"], "", ""]
    assert not {"user_id", "email"} & results[0].keys(), "whoever is deleted later would still be found there"
    placeholder, conflict = rows_of(gateway, applied, "errors")
    assert (placeholder["error_code"], placeholder["name"]) == ("user_id_placeholder", "'=1+1")
    assert (conflict["error_code"], conflict["error_contact_id"]) == ("conflict_email", contact["id"])

    again = ended(gateway, post(gateway, PEOPLE, "match=external_id&apply=true").json())
    assert [again["created"], again["unchanged"], again["rejected"]] == [0, 1, 2]


def test_a_bad_file_fails_with_its_place(gateway: Server) -> None:
    """The job says the code and the line; nothing is written."""
    job = ended(gateway, post(gateway, 'user_id,name\nu1,A\nu2,"B\n', "match=external_id&apply=true").json())
    assert (job["state"], job["problem"]["code"]) == ("failed", "quote_open")
    assert job["problem"]["message"].startswith("line 3: ")
    assert gateway.admin("GET", "/contacts/find_by_external_id/u1").status == 404


def test_one_at_a_time_and_an_end_that_is_told(gateway: Server) -> None:
    """A second one is refused while the first runs; one whose process is killed has failed, and the next may begin."""
    many = "user_id,email\n" + "".join(f"m{n},m{n}@example.com\n" for n in range(200_000))
    job = post(gateway, many, "match=external_id&apply=true").json()
    refused = post(gateway, PEOPLE)
    assert refused.status == 409
    assert job["id"] in refused.json()["errors"][0]["message"]
    while not gateway.admin("GET", f"/contacts/imports/{job['id']}").json()["processed"]:
        time.sleep(0.02)
    assert gateway.login(gateway.token("somebody")).status == 200
    os.kill(worker_of(gateway), signal.SIGKILL)
    failed = ended(gateway, job)
    assert (failed["state"], failed["problem"]["code"]) == ("failed", "interrupted")
    done = len(rows_of(gateway, job, "result"))
    assert 0 < done <= failed["processed"] < failed["rows"] == 200_000
    assert ended(gateway, post(gateway, PEOPLE).json())["state"] == "done"


def worker_of(server: Server) -> int:
    """The process that does a job."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    (worker,) = [pid for pid in children if "csv.worker" in Path(f"/proc/{pid}/cmdline").read_text()]
    return int(worker)


def test_a_job_ends_with_the_gateway(tmp_path: Path) -> None:
    """A gateway that is killed takes its job along: it ends as failed, and stands so after a restart."""
    many = "user_id\n" + "".join(f"m{n}\n" for n in range(200_000))
    with running_gateway(tmp_path) as first:
        job = post(first, many, "match=external_id&apply=true").json()
        while not first.admin("GET", f"/contacts/imports/{job['id']}").json()["processed"]:
            time.sleep(0.02)
        first.process.kill()
        first.process.wait()
    with running_gateway(tmp_path) as second:
        failed = ended(second, job)
        assert (failed["state"], failed["problem"]["code"]) == ("failed", "interrupted")
        assert ended(second, post(second, PEOPLE).json())["state"] == "done"


@pytest.mark.parametrize(
    ("query", "headers", "status", "field"),
    [
        ("", {}, 400, "match"),
        ("match=email", {}, 400, "match"),
        ("match=id&apply=yes", {}, 400, "apply"),
        ("match=id&match=id", {}, 400, "match"),
        ("match=id&dry_run=1", {}, 400, "dry_run"),
        ("match=id&encoding=ebcdic", {}, 400, "encoding"),
        ("match=id&delimiter=::", {}, 400, "delimiter"),
        ("match=id&unknown=drop", {}, 400, "unknown"),
        ("match=id", {"Content-Type": "application/json"}, 400, None),
    ],
)
def test_bad_parameters(server: Server, query: str, headers: dict[str, str], status: int, field: str | None) -> None:
    """Each is named; nothing begins."""
    reply = post(server, PEOPLE, query, **headers)
    assert (reply.status, reply.json()["errors"][0]["field"]) == (status, field)


def test_a_file_of_more_than_20_mb(server: Server) -> None:
    """413, and no file is left behind."""
    assert post(server, b"user_id\n" + b"x" * 20_000_000).status == 413


def test_scopes_and_strangers(server: Server) -> None:
    """To begin takes contacts:write, to look contacts:read; another id is 404."""
    reading = access_token(server, Scope.CONTACTS_READ)
    headers = {"Content-Type": "text/csv"}
    path = "/contacts/imports?match=id"
    assert server.request("POST", path, reading, headers=headers, body=b"id\n", admin=True).status == 403
    asked = {"Accept": "text/csv"}
    for path, status in ((f"/contacts/imports/{'0' * 24}/errors", 404), (f"/contacts/imports/{'0' * 24}", 406)):
        assert server.request("GET", path, reading, headers=asked, admin=True).status == status
    for path in ("/contacts/imports/none", f"/contacts/imports/{'0' * 24}/result"):
        assert server.admin("GET", path, token=reading).status == 404
        assert server.admin("GET", path, token=access_token(server, Scope.CONTACTS_WRITE)).status == 403
