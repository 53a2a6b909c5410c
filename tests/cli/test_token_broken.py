"""`gateway token broken`: every broken token of the catalogue on a laptop, with the code that it must meet."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from gateway.cli.configuration import DEVELOPMENT
from gateway.identity.broken import CATALOGUE
from gateway.identity.verifier import TokenVerifier
from gateway.trust import trusted_issuers
from tests.cli.conftest import program, run
from tests.identity.test_corpus import verdict

if TYPE_CHECKING:
    from pathlib import Path


def test_the_list_needs_no_configuration() -> None:
    """`--list` shows every slug with its code and what is wrong, as a table and as JSON."""
    ended = run("token", "broken", "--list")
    assert (ended.code, ended.err) == (0, "")
    listed = run("token", "broken", "--list", "--json").json()
    assert [one["slug"] for one in listed] == list(CATALOGUE)
    for one in listed:
        assert one == {"slug": one["slug"], "code": CATALOGUE[one["slug"]].code, "about": CATALOGUE[one["slug"]].about}
        assert one["slug"] in ended.out
        assert one["code"] in ended.out


@pytest.mark.usefixtures("development")
class TestBroken:
    """`gateway token broken` in development mode."""

    @pytest.mark.parametrize("issuer", ["messenger", "local"])
    def test_all_of_them(self, issuer: str) -> None:
        """Every token meets its code by the verifier of this configuration; what is left out says why."""
        made = run("token", "broken", "--all", "--issuer", issuer, "--json").json()
        assert {one["slug"] for one in made["tokens"] + made["left_out"]} == CATALOGUE.keys()
        assert all(one["reason"] for one in made["left_out"])
        verifier = TokenVerifier(trusted_issuers(DEVELOPMENT.settings({})), time.time)
        met = {one["slug"]: verdict(verifier, one["token"].encode(), "dev") for one in made["tokens"]}
        assert met == {one["slug"]: one["code"] for one in made["tokens"]}
        assert (made["workspace"], made["issuer"]) == ("dev", issuer)

    def test_all_of_them_as_lines(self) -> None:
        """Without `--json` a line holds a slug, a code and a token, so that a shell can read them."""
        lines = [line.split(" ") for line in run("token", "broken", "--all").out.splitlines()]
        assert all(len(line) == 3 for line in lines)
        assert {slug: code for slug, code, _ in lines} == {slug: CATALOGUE[slug].code for slug, _, _ in lines}

    @pytest.mark.parametrize(
        "slug", ["expired", "alg-none", "wrong-secret", "placeholder-undefined", "duplicate-user-id"]
    )
    def test_one_of_them(self, slug: str) -> None:
        """A slug prints the token alone; `token inspect` refuses it with the code that `--json` promises."""
        ended = run("token", "broken", slug)
        assert (ended.code, ended.err, ended.out.count("\n")) == (0, "", 1)
        promised = run("token", "broken", slug, "--json").json()
        assert promised["about"] == CATALOGUE[slug].about
        inspected = run("token", "inspect", ended.out.strip(), "--json")
        assert (inspected.code, inspected.json()["code"]) == (1, promised["code"])

    def test_whose_token_it_is(self) -> None:
        """`--user-id` and `--email` are those of the person whose token is broken; an email as id is the email, too."""
        for arguments in (["--user-id", "u-7", "--email", "bob@example.com"], ["--user-id", "bob@example.com"]):
            token = run("token", "broken", "signature-altered", *arguments).out.strip()
            checks = run("token", "inspect", token, "--json").json()["checks"]
            failed = [check["name"] for check in checks if check["outcome"] == "failed"]
            assert failed == ["signature"]

    @pytest.mark.parametrize(
        ("arguments", "code", "told", "hint"),
        [
            ([], 2, "which one?", "--list"),
            (["expired", "--all"], 2, "which one?", "--list"),
            (["--list", "--all"], 2, "which one?", "--list"),
            (["expird"], 2, "there is no broken token expird", "did you mean expired?"),
            (["alg_none"], 2, "there is no broken token alg_none", "did you mean alg-none?"),
            (["\x1b[31m"], 2, "there is no broken token \\x1b[31m", "--list"),
            (["wrong-key"], 1, "wrong-key does not suit the issuer messenger", "--issuer"),
            (["expired", "--issuer", "google"], 1, "the workspace dev has no issuer google", "--issuer"),
            (["expired", "--user-id", "undefined"], 1, "user_id_placeholder (--user-id)", ""),
            (["expired", "--email", "nobody"], 1, "email_invalid (--email)", ""),
        ],
        ids=lambda value: "_".join(value)[:40] if isinstance(value, list) else "",
    )
    def test_what_cannot_be_broken(self, arguments: list[str], code: int, told: str, hint: str) -> None:
        """Each ends with its exit code, one line and a hint, and no token."""
        ended = run("token", "broken", *arguments)
        assert (ended.code, ended.out) == (code, "")
        assert ended.error.startswith(told)
        assert hint in ended.err


def test_production_keys_break_nothing(folder: Path) -> None:
    """By the rules of `token issue`: an issuer marked production signs no broken token either."""
    run("init")
    assert (folder / "gateway.toml").exists()
    for arguments in (["expired"], ["--all", "--json"], ["expired", "--issuer", "messenger"]):
        ended = run("token", "broken", *arguments)
        assert (ended.code, ended.out) == (1, "")
        assert ended.error == "the issuer messenger is marked production: its keys sign no test tokens"


@pytest.mark.usefixtures("development")
def test_the_real_program() -> None:
    """As a shell meets it: one token on one line, one exit code."""
    ended = program("token", "broken", "expired")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count(".") == 2
