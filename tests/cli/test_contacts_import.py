"""`gateway contacts import | export | backfill`: files of people, in and out."""

from __future__ import annotations

import asyncio
import csv
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from gateway.cli.configuration import DEVELOPMENT
from gateway.contacts.database.stores import store_for
from tests.cli.conftest import program, run

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.contacts.contact import Contact

PEOPLE = "user_id,email,name\nu1,a@example.com,Ada\nundefined,b@example.com,Bob\nu3,a@example.com,Carol\n"


@pytest.fixture(autouse=True)
def made(development: Path) -> Path:
    """A development folder with a store."""
    (development / "people.csv").write_text(PEOPLE)
    return development


def everybody() -> list[Contact]:
    async def read() -> list[Contact]:
        store = store_for(DEVELOPMENT.settings({}).store.url)
        await store.open()
        try:
            return list(await store.live_contacts_after("dev", "", limit=100_000))
        finally:
            await store.close()

    return asyncio.run(read())


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_there_is_no_default_rule() -> None:
    """Which column finds a record must be said, and the error says why; exit code 2."""
    ended = run("contacts", "import", "people.csv")
    assert ended.code == 2
    assert "--match id, external_id or email-if-unset" in ended.error
    assert "there is no default" in ended.err


def test_a_rehearsal_then_the_import(made: Path) -> None:
    """A rehearsal by default, which writes nothing; with --apply the same rows; a second run changes nothing."""
    rehearsed = run("contacts", "import", "people.csv", "--match", "external_id", "--json")
    assert rehearsed.code == 1
    assert everybody() == []
    applied = run("contacts", "import", "people.csv", "--match", "external_id", "--apply", "--json")
    counts = ("rows", "created", "updated", "unchanged", "linked", "rejected")
    assert (
        [rehearsed.json()[name] for name in counts] == [applied.json()[name] for name in counts] == [3, 1, 0, 0, 0, 2]
    )
    assert (rehearsed.json()["rehearsal"], applied.json()["rehearsal"]) == (True, False)
    (one,) = everybody()
    line_3, line_4 = applied.json()["rejections"]
    assert (line_3["line"], line_3["field"], line_3["code"]) == (3, "user_id", "user_id_placeholder")
    assert (line_4["line"], line_4["code"], line_4["other_id"]) == (4, "conflict_email", one.id)
    again = run("contacts", "import", "people.csv", "--match", "external_id", "--apply")
    assert "0 created, 0 updated, 1 unchanged, 0 linked, 2 rejected; 3 rows" in again.out
    assert one.id in again.out
    assert everybody() == [one]
    assert run("db", "check").code == 0
    (made / "people.csv").write_text("user_id\nu1\n")
    assert run("contacts", "import", "people.csv", "--match", "external_id").code == 0


def test_what_was_done_is_written_to_files(made: Path) -> None:
    """Every row with its contact id and outcome, and the rejected rows, which are mended and imported again."""
    files = ("--result", "result.csv", "--errors", "errors.csv")
    run("contacts", "import", "people.csv", "--match", "external_id", "--apply", *files)
    (one,) = everybody()
    results = rows_of(made / "result.csv")
    assert [row["outcome"] for row in results] == ["created", "rejected", "rejected"]
    assert [row["contact_id"] for row in results] == [one.id, "", ""]
    assert [row["user_id"] for row in rows_of(made / "errors.csv")] == ["undefined", "u3"]
    assert (made / "errors.csv").stat().st_mode & 0o777 == 0o600
    mended = (made / "errors.csv").read_text().replace("undefined", "u2").replace("u3,a@", "u3,c@")
    (made / "mended.csv").write_text(mended)
    assert run("contacts", "import", "mended.csv", "--match", "external_id", "--apply").code == 0
    assert {contact.external_id for contact in everybody()} == {"u1", "u2", "u3"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "people.csv: people.csv is empty"),
        (b"user_id,name\nu1,Zo\xeb\n", "people.csv: line 2: byte 6 is not utf-8"),
        (b'user_id,name\nu1,"Ada\n', "people.csv: line 2: the file ends within the quoted field"),
        (b"user_id,plan\nu1,x\n", "people.csv: line 1: unknown columns: 'plan'"),
        (b"a,b\n1,2\n", "people.csv: line 1: this is no header"),
    ],
)
def test_a_bad_file_is_one_line_with_its_place(made: Path, data: bytes, words: str) -> None:
    """Exit code 1, the place, and nothing is written, whatever stood before it."""
    (made / "people.csv").write_bytes(data)
    ended = run("contacts", "import", "people.csv", "--match", "external_id", "--apply")
    assert (ended.code, ended.out) == (1, "")
    assert ended.error.startswith(words)
    assert everybody() == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--result", "people.csv"),
        ("--errors", "../" + "{here}/people.csv"),
        ("--delimiter", "::"),
        ("--delimiter", '"'),
        ("--ignore-unknown", "--create-attributes"),
    ],
)
def test_wrong_use(made: Path, arguments: tuple[str, ...]) -> None:
    """A report over the file itself, a delimiter that is none, options that exclude each other: exit code 2."""
    given = [argument.replace("{here}", made.name) for argument in arguments]
    assert run("contacts", "import", "people.csv", "--match", "external_id", *given).code == 2
    assert (made / "people.csv").read_text() == PEOPLE


def test_an_encoding_and_a_delimiter_are_named(made: Path) -> None:
    """As a spreadsheet of another country saves it."""
    (made / "people.csv").write_bytes("user_id\tname\nu1\tZoë\n".encode("latin-1"))
    options = ("--encoding", "latin-1", "--delimiter", "tab")
    assert run("contacts", "import", "people.csv", "--match", "external_id", "--apply", *options).code == 0
    assert [contact.name for contact in everybody()] == ["Zoë"]


def test_r41_export_and_import_are_one_round(made: Path) -> None:
    """Formulas are guarded in the export, and the import of it changes nothing."""
    (made / "people.csv").write_text('user_id,name,custom_attributes.plan\nu1,=1+1,@x\nu2,"\'=a","b\nc"\n')
    made_from = ("contacts", "import", "people.csv", "--match", "external_id", "--apply", "--create-attributes")
    assert run(*made_from).code == 0
    before = everybody()
    assert run("contacts", "export", "--output", "all.csv").code == 0
    assert (made / "all.csv").stat().st_mode & 0o777 == 0o600
    assert (made / "all.csv").read_text(encoding="utf-8").startswith("id,user_id,email,")
    assert sorted(row["name"] for row in rows_of(made / "all.csv")) == ["'=1+1", "'=a"]
    assert program("contacts", "export").out.encode() == (made / "all.csv").read_bytes()
    done = run("contacts", "import", "all.csv", "--match", "id", "--apply", "--json")
    assert (done.code, done.json()["unchanged"]) == (0, 2)
    assert everybody() == before


def _many(path: Path, count: int) -> None:
    path.write_text("user_id,email\n" + "".join(f"u{n},u{n}@example.com\n" for n in range(count)))


def _start(*more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gateway", "contacts", "import", "people.csv", "--match", "external_id", "--apply"]
    return subprocess.Popen([*command, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _until_written(process: subprocess.Popen[str], path: Path) -> None:
    for _ in range(3000):
        if path.exists() and path.stat().st_size > 1000:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("the import wrote nothing")


def test_an_import_that_is_killed_is_repeated(made: Path) -> None:
    """After kill -9 what the result file names is stored, nothing is half there, and a second run completes it."""
    count = 30_000
    _many(made / "people.csv", count)
    process = _start("--result", "result.csv")
    _until_written(process, made / "result.csv")
    process.kill()
    process.communicate()
    first = {contact.external_id: contact for contact in everybody()}
    assert 0 < len(first) < count
    acknowledged = [row for row in rows_of(made / "result.csv") if row["user_id"] and row["contact_id"]]
    assert acknowledged
    assert all(first[row["user_id"]].id == row["contact_id"] for row in acknowledged[:-1])
    done = run("contacts", "import", "people.csv", "--match", "external_id", "--apply", "--json").json()
    assert (done["unchanged"], done["created"]) == (len(first), count - len(first))
    second = {contact.external_id: contact for contact in everybody()}
    assert len(second) == count
    assert all(second[user_id] == contact for user_id, contact in first.items())
    assert run("db", "check").code == 0


def test_ctrl_c_ends_after_the_batch(made: Path) -> None:
    """It says how far it came, with exit code 1; what was written stays."""
    _many(made / "people.csv", 30_000)
    process = _start("--result", "result.csv", "--json")
    _until_written(process, made / "result.csv")
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    written = len(everybody())
    assert process.returncode == 1
    assert f"stopped after {written:,} of 30,000 rows; what was written stays" in err
    assert "Traceback" not in err
    assert len(rows_of(made / "result.csv")) == written


def test_s17_backfill_from_an_attribute(made: Path) -> None:
    """A rehearsal first; with --apply the ids move, and clashes are listed for a file that can be mended."""
    rows = "user_id,email,custom_attributes.key\n,a@example.com,k1\n,b@example.com,k2\n,c@example.com,k2\n"
    (made / "people.csv").write_text(rows)
    assert run("contacts", "import", "people.csv", "--match", "external_id", "--apply", "--create-attributes").code == 0
    before = everybody()
    rehearsed = run("contacts", "backfill", "--from-attribute", "key", "--json")
    assert everybody() == before
    applied = run("contacts", "backfill", "--from-attribute", "key", "--apply", "--errors", "clashes.csv", "--json")
    assert (applied.code, applied.json()["updated"], applied.json()["rejected"]) == (1, 1, 2)
    assert {**rehearsed.json(), "rehearsal": False} == applied.json()
    assert sorted(str(contact.external_id) for contact in everybody()) == ["None", "None", "k1"]
    clashes: list[dict[str, Any]] = list(rows_of(made / "clashes.csv"))
    assert {row["id"] for row in clashes} == {contact.id for contact in everybody() if contact.external_id is None}
    assert "no live contact" in run("contacts", "backfill", "--from-attribute", "nothing").err
