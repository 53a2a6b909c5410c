"""`gateway token revoke` and `revocations`: what is refused from then on, and what is said of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def issued(*arguments: str) -> str:
    """A token of the development issuers."""
    return run("token", "issue", *(arguments or ("--user-id", "user-1"))).out.strip()


def verdict(token: str) -> str | None:
    """The code that a client would meet, by the gateway's own checks."""
    code: str | None = run("token", "inspect", token, "--json").json()["code"]
    return code


def revoked(*arguments: str) -> list[dict[str, Any]]:
    """What the command says it revoked, as JSON."""
    ended = run("token", "revoke", *arguments, "--json")
    assert (ended.code, ended.err) == (0, "")
    said: list[dict[str, Any]] = ended.json()["revoked"]
    return said


@pytest.mark.usefixtures("development")
@pytest.mark.parametrize("way", ["argument", "standard input"])
def test_one_token(way: str) -> None:
    """That one and no other; it is kept until the token is dead everywhere, and no list holds it."""
    token, other = issued("--user-id", "user-1", "--ttl", "600"), issued("--user-id", "user-2")
    assert verdict(token) is None
    if way == "argument":
        ended = run("token", "revoke", "--token", token)
    else:
        ended = run("token", "revoke", "--token", "-", stdin=f"  {token}\n")
    assert ended.code == 0
    assert ended.out.startswith("revoked a token; kept until 20")
    assert verdict(token) == "token_revoked"
    assert verdict(other) is None
    (line,) = run("token", "revocations", "--json").json()
    assert (line["kind"], line["actor"]) == ("token", "command")
    assert 600 <= line["until"] - time.time() <= 600 + 60 + 60 + 1
    listed = run("token", "revocations")
    assert "a token" in listed.out
    assert not any(segment in listed.out + ended.out for segment in token.split("."))


@pytest.mark.usefixtures("development")
def test_a_token_whose_key_is_gone_is_revoked_all_the_same() -> None:
    """Its signature is not what is revoked."""
    token = issued("--user-id", "user-1")
    assert run("token", "revoke", "--token", f"{token[:-6]}AAAAAA").code == 0
    assert verdict(token) == "token_revoked"


@pytest.mark.usefixtures("development")
def test_an_explanation_shows_it_as_step_9() -> None:
    """Passed, failed, or not performed where no check before it let the token through."""
    good, bad = issued("--user-id", "user-1"), issued("--user-id", "undefined")
    told = [run("token", "inspect", token, "--json").json() for token in (good, bad)]
    revoked("--token", good)
    told.append(run("token", "inspect", good, "--json").json())
    checks = [explained["checks"][-1] for explained in told]
    assert {(check["step"], check["name"]) for check in checks} == {(9, "revocation")}
    assert [check["outcome"] for check in checks] == ["passed", "not_performed", "failed"]
    assert [explained["code"] for explained in told] == [None, "user_id_placeholder", "token_revoked"]
    assert told[-1]["contact_id"] is None


@pytest.mark.usefixtures("development")
def test_a_jti_of_an_issuer() -> None:
    """Of that issuer alone; kept for ever where nothing bounds how long its tokens live."""
    token = issued("--user-id", "user-1", "--claim", "jti=t-1")
    assert [line["subject"] for line in revoked("--jti", "t-1", "--issuer", "local")] == ["local"]
    assert verdict(token) is None
    ended = run("token", "revoke", "--jti", "t-1", "--issuer", "messenger")
    assert (
        ended.out
        == "revoked a jti of the issuer messenger; kept for ever, for nothing says how long such tokens live\n"
    )
    assert verdict(token) == "token_revoked"


def test_a_person(development: Path, log_in: Callable[..., str]) -> None:
    """By contact id or user_id: what was issued until now is refused; a later token passes."""
    del development
    contact_id = log_in("--user-id", "user-1")
    for identifier in (contact_id, "user-1"):
        (line,) = revoked("--contact", identifier)
        assert (line["kind"], line["subject"]) == ("contact", contact_id)
        assert line["issued_before"] <= time.time() + 1
    assert verdict(issued("--user-id", "user-1", "--claim", f"iat={int(time.time()) - 60}")) == "token_revoked"
    assert verdict(issued("--user-id", "user-1", "--claim", f"iat={int(time.time()) + 30}")) is None
    assert verdict(issued("--user-id", "user-2")) is None
    assert len(run("token", "revocations", "--json").json()) == 1


@pytest.mark.usefixtures("development")
def test_everything_before_a_moment() -> None:
    """Of all issuers or of one, in Unix seconds, in ISO 8601, or now."""
    token = issued("--user-id", "user-1", "--claim", "iat=1790000000")
    for moment, code in (
        ("1789999999", None),
        ("1790000000", None),
        ("2026-09-21T14:13:21Z", "token_revoked"),
        ("2026-09-21T16:13:21+02:00", "token_revoked"),
        ("2026-09-21T14:13:21", "token_revoked"),
        ("now", "token_revoked"),
    ):
        (line,) = revoked("--issued-before", moment, "--issuer", "messenger")
        assert line["kind"] == "issuer"
        assert verdict(token) == code, moment
    own = issued("--user-id", "user-1", "--issuer", "local")
    assert verdict(own) is None
    (line,) = revoked("--issued-before", "now")
    assert (line["kind"], line["subject"]) == ("workspace", None)
    assert verdict(own) == "token_revoked"


def test_what_was_revoked_can_be_lifted(development: Path, log_in: Callable[..., str]) -> None:
    """By the options that revoked it, whenever that was; a second time there is nothing to lift."""
    del development
    log_in("--user-id", "user-1")
    token = issued("--user-id", "user-1", "--no-exp", "--claim", "jti=t-1")
    for options in (
        ("--token", token),
        ("--jti", "t-1", "--issuer", "messenger"),
        ("--contact", "user-1"),
        ("--issued-before", "now", "--issuer", "messenger"),
        ("--issued-before", "now"),
    ):
        (line,) = revoked(*options)
        assert line["until"] is None
        assert verdict(token) == "token_revoked"
        lifted = run("token", "revoke", *options, "--lift", "--json")
        assert lifted.json()["lifted"] == [line]
        assert verdict(token) is None
        again = run("token", "revoke", *options, "--lift")
        assert (again.code, again.error) == (1, "nothing is revoked by that")
    assert run("token", "revocations", "--json").json() == []


@pytest.mark.usefixtures("development")
def test_twice_is_once() -> None:
    """The second time says the same."""
    token = issued()
    assert revoked("--token", token) == revoked("--token", token)


@pytest.mark.usefixtures("development")
@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        ((), 2, "revoke what?"),
        (("--jti", "a", "--issued-before", "now", "--issuer", "messenger"), 2, "revoke what?"),
        (("--jti", "a"), 2, "--jti needs --issuer, and --token and --contact take none"),
        (("--contact", "a", "--issuer", "messenger"), 2, "--jti needs --issuer, and --token and --contact take none"),
        (("--jti", "a", "--issuer", "nobody"), 2, "the workspace dev has no issuer nobody"),
        (("--contact", "nobody"), 1, "nobody has this contact id or user_id"),
        (("--issued-before", "yesterday"), 2, "--issued-before takes now, Unix seconds or ISO 8601"),
        (("--issued-before", "\u0661"), 2, "--issued-before takes now, Unix seconds or ISO 8601"),
        (("--issued-before", "1790000000000"), 2, "--issued-before names no moment of the past"),
        (("--issued-before", "9999-12-31T23:59:59Z"), 2, "--issued-before names no moment of the past"),
        (("--issued-before", "0001-01-01T00:00:00"), 2, "--issued-before names no moment of the past"),
        (("--issued-before", "9" * 5000), 2, "--issued-before takes now, Unix seconds or ISO 8601"),
        (("--token", "a.b.c"), 1, "token_malformed: the header: not base64url"),
        (("--token", "a" * 9000), 1, "token_too_large: the token is longer than 8192 bytes"),
        (("--token", ""), 1, "token_malformed: a signed token has three segments; encrypted ones are not taken"),
    ],
    ids=str,
)
def test_wrong_use(arguments: tuple[str, ...], code: int, error: str) -> None:
    """One line and a hint, and nothing is revoked."""
    ended = run("token", "revoke", *arguments)
    assert (ended.code, ended.error) == (code, error)
    assert run("token", "revocations", "--json").json() == []


@pytest.mark.usefixtures("development")
def test_a_dead_token_needs_no_revocation() -> None:
    """Its end has come already, and the command says so."""
    ended = run("token", "revoke", "--token", issued("--user-id", "user-1", "--ttl", "-600"))
    assert (ended.code, ended.error) == (1, "token_expired (exp): exp is past, leeway included")
