"""What reaches a terminal, a pipe, a full disk, nobody at all; and how a command ends that nobody foresaw."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.cli import config
from gateway.cli.output import moment, printable
from tests.cli.conftest import program, run

if TYPE_CHECKING:
    from collections.abc import Callable

ESCAPES = {
    "escape": "\x1b[31m",
    "osc": "\x1b]0;title\x07",
    "c1": "\x9b31m",
    "line_break": "a\nb",
    "carriage_return": "a\rb",
    "bidi": "\u202eabc",
    "zero_width": "a\u200bb",
    "line_separator": "a\u2028b",
    "lone_surrogate": "a\ud800b",
    "private_use": "\ue000",
    "tag": "\U000e0041",
}


@pytest.mark.parametrize("text", ESCAPES.values(), ids=ESCAPES)
def test_r42_nothing_that_a_terminal_obeys_is_printed(text: str) -> None:
    """R42: control, bidirectional and invisible characters appear as escapes, and a text stays on its line."""
    shown = printable(text)
    assert shown.isprintable()
    assert "\\" in shown
    assert shown.encode()


def test_r42_ordinary_letters_are_left_alone() -> None:
    """Every script is printed as it is."""
    for text in ("ada@example.com", "Ärger", "張", "नमस्ते", "🙂", "a\u0301"):
        assert printable(text) == text


@pytest.mark.parametrize("text", [text for text in ESCAPES.values() if "\ud800" not in text])
def test_r42_a_hostile_claim_cannot_reach_the_terminal(development: Path, text: str) -> None:
    """R42: a token whose claims hold escapes is explained without obeying them, as a table and as JSON."""
    assert development.exists()
    token = run("token", "issue", "--user-id", text, "--claim", f"name={text}", "--claim", f"iss={text}").out.strip()
    for option in ([], ["--json"]):
        shown = run("token", "inspect", token, *option)
        assert all(line.isprintable() for line in shown.out.split("\n"))


def test_r42_a_hostile_record_cannot_reach_the_terminal(development: Path, log_in: Callable[..., str]) -> None:
    """R42: what a person's token planted in his record is printed as text."""
    assert development.exists()
    log_in("--user-id", "user-1", "--claim", 'name="\\u001b[31mred\\u202e"')
    for option in ([], ["--json"], ["--history"]):
        shown = run("contacts", "find", "user-1", *option)
        assert shown.code == 0
        assert all(line.isprintable() for line in shown.out.split("\n"))
        assert "[31mred" in shown.out


def test_r42_hostile_arguments_cannot_reach_the_terminal(development: Path) -> None:
    """R42: neither does an argument or a file name, for somebody may have pasted it."""
    assert development.exists()
    for arguments in (
        ["\x1b[31m"],
        ["--\x1b[31m"],
        ["token", "issue", "--ttl", "\x1b[31m"],
        ["token", "issue", "--user-id", "u", "--alg", "\x1b[31m"],
        ["token", "issue", "--user-id", "u", "--workspace", "\x1b[31m"],
        ["access-token", "create", "--name", "\x1b[31m", "--scope", "contacts:read"],
        ["access-token", "revoke", "\x1b[31m"],
        ["config", "check", "--config", "\x1b[31m"],
    ):
        ended = run(*arguments)
        assert ended.code > 0
        assert all(line.isprintable() for line in ended.err.split("\n"))


@pytest.mark.parametrize(
    "arguments",
    [["contacts", "find"], ["token", "issue", "--user-id"], ["token", "inspect"], ["access-token", "revoke"]],
    ids=" ".join,
)
def test_arguments_that_are_no_text(development: Path, arguments: list[str]) -> None:
    """Bytes that are not UTF-8 are wrong use or find nothing; they are no accident."""
    assert development.exists()
    ended = program(*arguments, b"\xff\xfe")
    assert ended.code in {1, 2}
    assert "unexpected" not in ended.err
    assert "Traceback" not in ended.err


def test_a_moment_that_no_calendar_reaches() -> None:
    """A time from a token or a record may be any number."""
    assert moment(0) == "1970-01-01T00:00:00Z"
    assert moment(None) == ""
    assert moment(10**20) == str(10**20)


@pytest.mark.parametrize("arguments", [["config", "show"], ["config", "show", "--json"], ["--help"]], ids=" ".join)
def test_a_reader_that_has_enough(development: Path, arguments: list[str]) -> None:
    """`gateway ... | head -1`: no traceback, no complaint."""
    assert development.exists()
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) == 1


def test_a_full_disk(development: Path) -> None:
    """An answer that could not be written is a failure, told in one line."""
    assert development.exists()
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "config", "show"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (1, b"error: No space left on device\n")


def test_no_output_at_all(development: Path) -> None:
    """With standard output closed a command does its work, and never writes into whatever file has its number."""
    assert development.exists()
    command = 'exec "$0" -m gateway access-token create --name quiet --scope contacts:read >&-'
    done = subprocess.run(["/bin/sh", "-c", command, sys.executable], stderr=subprocess.DEVNULL, check=False)
    assert done.returncode == 0
    assert [token["name"] for token in run("access-token", "list", "--json").json()] == ["development", "quiet"]
    assert run("db", "check").code == 0


def test_ctrl_c(development: Path) -> None:
    """Exit code 130 and not a word."""
    assert development.exists()
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "token", "inspect", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(b"x" * 200_000)  # more than a pipe holds: when it is written, somebody reads
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == (b"", b"")
    assert process.returncode == 130


def test_an_error_that_nobody_foresaw(development: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with the kind of the error and nothing of its text, which may hold anything; exit code 1."""
    assert development.exists()

    def broken(_: object) -> None:
        raise LookupError("a secret value")

    monkeypatch.setattr(config, "masked", broken)
    ended = run("config", "show")
    assert (ended.code, ended.out) == (1, "")
    assert ended.error == "unexpected LookupError"
    assert "secret" not in ended.err
    monkeypatch.setenv("GATEWAY_TRACEBACK", "1")
    with pytest.raises(AssertionError):
        run("config", "show")
    assert os.environ["GATEWAY_TRACEBACK"] == "1"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_of_another_time(development: Path, encoding: str) -> None:
    """A terminal that lacks letters gets escapes, never a failure."""
    assert development.exists()
    for arguments in (["token", "issue", "--user-id", "u", "--workspace", "張"], ["access-token", "list"], ["--help"]):
        ended = program(*arguments, PYTHONIOENCODING=encoding)
        assert "unexpected" not in ended.err
        assert ended.code in {0, 2}
