"""`gateway contacts merge` and `unmerge`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import run

if TYPE_CHECKING:
    from collections.abc import Callable

NOBODY = "0" * 24


@pytest.fixture
def people(log_in: Callable[..., str]) -> list[str]:
    """Two records of one person."""
    return [log_in("--user-id", f"user-{n}", "--email", "ada@example.com", "--claim", f"name=Ada {n}") for n in (1, 2)]


def holders() -> dict[str, str]:
    """Whom each user_id leads to."""
    names = ("user-1", "user-2")
    return {name: run("contacts", "find", name, "--json").json()[0]["contact"]["id"] for name in names}


def test_a_merge_is_shown_first(people: list[str]) -> None:
    """Without --apply nothing is written; every field's outcome is shown, also as JSON."""
    one, two = people
    shown = run("contacts", "merge", one, two)
    assert shown.code == 0
    assert "nothing was changed; --apply merges" in shown.out
    assert "discarded" in shown.out
    assert run("contacts", "merge", one, two, "--preview", "--json").json()["allowed"] is True
    assert holders() == {"user-1": one, "user-2": two}


def test_merge_and_unmerge(people: list[str]) -> None:
    """Both user_ids lead to the survivor, and apart again after the undo; the history says so on both."""
    one, two = people
    merged = run("contacts", "merge", one, two, "--apply")
    assert merged.code == 0
    assert f"`gateway contacts unmerge {one}` undoes it" in merged.out
    assert holders() == {"user-1": two, "user-2": two}
    undone = run("contacts", "unmerge", one, "--json").json()
    assert (undone["contact"]["id"], undone["survivor"]["id"], undone["kept_changes"]) == (one, two, [])
    assert holders() == {"user-1": one, "user-2": two}
    for name in ("user-1", "user-2"):
        (found,) = run("contacts", "find", name, "--history", "--json").json()
        assert [event["kind"] for event in found["history"][:2]] == ["unmerged", "merged"]
        assert {event["actor"] for event in found["history"][:2]} == {"command"}
    assert run("contacts", "merge", one, two, "--apply", "--json").json()["id"] == two


def test_kept_changes_are_shown(people: list[str], log_in: Callable[..., str]) -> None:
    """What a login wrote to the survivor stays there, and is told."""
    one, two = people
    run("contacts", "merge", one, two, "--apply")
    assert log_in("--user-id", "user-1", "--email", "ada@example.com", "--claim", "name=Later") == two
    undone = run("contacts", "unmerge", one)
    assert undone.code == 0
    assert f"written to {two} after the merge" in undone.out
    assert "Later" in undone.out


def test_refusals(people: list[str], log_in: Callable[..., str]) -> None:
    """One line, and exit code 1; 2 for what is no contact id."""
    one, two = people
    stranger = log_in("--user-id", "user-3")
    for arguments, code, words in (
        (("merge", one, stranger), 1, "u2u_no_shared_identifier"),
        (("merge", one, stranger, "--apply"), 1, "two users are merged only when"),
        (("merge", one, two, "--skip-duplicate-validation"), 1, "cannot be skipped"),
        (("merge", one, NOBODY), 1, f"no contact in the workspace dev has the id {NOBODY}"),
        (("unmerge", NOBODY), 1, f"no contact in the workspace dev has the id {NOBODY}"),
        (("unmerge", one), 1, "was not merged into another contact"),
        (("merge", "user-1", two), 2, "user-1 is no contact id"),
        (("unmerge", "\x1b[1m"), 2, "is no contact id"),
    ):
        ended = run("contacts", *arguments)
        assert (ended.code, ended.out) == (code, "")
        assert words in ended.error
    run("contacts", "merge", one, two, "--apply")
    ended = run("contacts", "merge", one, two)
    assert (ended.code, ended.error) == (1, "FROM or INTO was merged away")
    assert two in ended.err


def test_a_preview_that_is_not_allowed_as_json(people: list[str], log_in: Callable[..., str]) -> None:
    """The reasons stand in the JSON, and the exit code says no."""
    ended = run("contacts", "merge", people[0], log_in("--user-id", "user-3"), "--json")
    assert ended.code == 1
    assert [one["code"] for one in ended.json()["reasons"]] == ["u2u_no_shared_identifier"]
