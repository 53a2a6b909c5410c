"""`gateway token inspect`: the explanation of any token, with and without a configuration."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from gateway.identity.issuing import issue_token
from keys.jwk import generate_signing_key
from tests.cli.conftest import program, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def issue(*arguments: str) -> str:
    ended = run("token", "issue", *arguments)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count("\n") == 1
    return ended.out.strip()


@pytest.mark.usefixtures("development")
class TestInspect:
    """`gateway token inspect` in development mode."""

    def test_a_good_token(self, log_in: Callable[..., str]) -> None:
        """Every check passes, in the order of the way of a request, and the contact is the one of a login."""
        new = run("token", "inspect", issue("--user-id", "user-1"), "--json").json()
        assert new["accepted"] is True
        assert new["contact"] == "a new one: nobody has the user_id user-1"
        contact_id = log_in("--user-id", "user-1")
        shown = run("token", "inspect", issue("--user-id", "user-1"), "--json").json()
        assert (shown["accepted"], shown["code"], shown["contact_id"]) == (True, None, contact_id)
        steps = [check["step"] for check in shown["checks"]]
        assert steps == sorted(steps)
        assert set(steps) == {2, 3, 4, 5, 6, 7, 8, 9}
        assert {check["outcome"] for check in shown["checks"]} == {"passed"}

    def test_as_a_table(self) -> None:
        """For people: a line per check with expected and found, then who, until when, whose contact, the verdict."""
        ended = run("token", "inspect", issue("--user-id", "user-1", "--email", "Ada@Example.com"))
        assert ended.code == 0
        assert "expected" in ended.out
        assert "found" in ended.out
        assert ended.out.splitlines()[-1] == "verdict  accepted"
        assert "email ada@example.com" in ended.out
        assert "FAILED" not in ended.out

    @pytest.mark.parametrize(
        ("arguments", "code", "failed"),
        [
            (["--user-id", "undefined"], "user_id_placeholder", "user_id"),
            (["--user-id", " x"], "user_id_invalid", "user_id"),
            (["--claim", "user_id=true"], "claim_type", "user_id"),
            (["--claim", "plan=gold"], "user_id_missing", "user_id"),
            (["--user-id", "u", "--email", "a@b@c"], "email_invalid", "email"),
            (["--user-id", "a@b.example", "--email", "c@d.example"], "email_mismatch", "email"),
            (["--user-id", "u", "--ttl", "-600"], "token_expired", "exp"),
            (["--user-id", "u", "--claim", "nbf=9999999999"], "token_not_yet_valid", "nbf"),
            (["--user-id", "u", "--claim", "exp=true"], "claim_type", "exp"),
            (["--user-id", "u", "--header", "alg=none"], "alg_not_allowed", "algorithm"),
            (["--user-id", "u", "--header", "kid=old"], "kid_unknown", "key"),
            (["--user-id", "u", "--header", 'crit=["b64"]'], "crit_unsupported", "form"),
            (["--user-id", "u", "--issuer", "local", "--claim", "aud=other"], "audience_mismatch", "aud"),
            (["--user-id", "u", "--issuer", "local", "--ttl", "90000"], "lifetime_too_long", "lifetime"),
        ],
        ids=lambda value: "_".join(value)[:50] if isinstance(value, list) else "",
    )
    def test_a_bad_token(self, arguments: list[str], code: str, failed: str) -> None:
        """Exit code 1, the code that a client would meet, and the check that failed."""
        ended = run("token", "inspect", issue(*arguments), "--json")
        assert (ended.code, ended.err) == (1, "")
        shown = ended.json()
        assert (shown["accepted"], shown["code"]) == (False, code)
        first = next(check for check in shown["checks"] if check["outcome"] == "failed")
        assert first["name"] == failed
        table = run("token", "inspect", issue(*arguments))
        assert table.code == 1
        assert table.out.splitlines()[-1] == f"verdict  refused: {code}"

    def test_a_tampered_token(self) -> None:
        """A broken signature is found, and the other checks are explained all the same."""
        header, payload, signature = issue("--user-id", "u", "--ttl", "-600").split(".")
        forged = f"{header}.{payload}.{signature[::-1][:-1]}A"
        shown = run("token", "inspect", forged, "--json").json()
        assert shown["code"] == "signature_invalid"
        assert [check["name"] for check in shown["checks"] if check["outcome"] == "failed"] == ["signature", "exp"]
        assert shown["contact_id"] is None

    @pytest.mark.parametrize(
        "token", ["", "x", "a.b", "a.b.c.d.e", "." * 100_000, "\x00", "張", "eyJhbGciOiJub25lIn0.e30."]
    )
    def test_what_is_no_token(self, token: str) -> None:
        """Anything can be inspected; it is refused with a code and never an accident."""
        ended = run("token", "inspect", "-", "--json", stdin=token)
        assert (ended.code, ended.err) == (1, "")
        assert ended.json()["code"] in {"token_malformed", "token_too_large", "alg_not_allowed"}

    def test_from_standard_input(self) -> None:
        """`-` reads the token; blanks and line breaks around it are no part of it."""
        assert run("token", "inspect", "-", stdin=f"  {issue('--user-id', 'u')}\r\n\n").code == 0
        assert program("token", "inspect", "-", stdin=issue("--user-id", "u").encode()).code == 0

    def test_nothing_is_written(self, log_in: Callable[..., str], development: Path) -> None:
        """A rehearsal creates nobody, links nobody and changes nobody."""
        log_in("--email", "ada@example.com")
        before = run("contacts", "find", "ada@example.com", "--history", "--json").json()
        for arguments in (
            ["--user-id", "new"],
            ["--user-id", "linked", "--email", "ada@example.com"],
            ["--email", "ada@example.com", "--claim", "name=Changed"],
        ):
            assert run("token", "inspect", issue(*arguments)).code == 0
        assert run("contacts", "find", "ada@example.com", "--history", "--json").json() == before
        assert run("contacts", "find", "new").code == 1
        assert run("contacts", "find", "linked").code == 1
        assert (development / "var/contacts.db").exists()

    def test_it_explains_a_link(self, log_in: Callable[..., str]) -> None:
        """It says by what the contact would be found, and what would happen to it."""
        contact_id = log_in("--email", "ada@example.com")
        shown = run("token", "inspect", issue("--user-id", "user-1", "--email", "ada@example.com"), "--json").json()
        assert shown["contact"].startswith(f"{contact_id}, to be linked")

    def test_it_explains_a_match_by_email(self, log_in: Callable[..., str]) -> None:
        """A token with an email alone leads to the one record that has it, and the explanation says by what."""
        contact_id = log_in("--user-id", "user-1", "--email", "ada@example.com")
        shown = run("token", "inspect", issue("--email", "ada@example.com"), "--json").json()
        assert (shown["contact_id"], shown["contact"]) == (contact_id, f"{contact_id}, by its email ada@example.com")

    def test_it_explains_what_the_resolver_refuses(self, log_in: Callable[..., str]) -> None:
        """A good token can still lead to nobody: the resolver's own code is the verdict."""
        for user_id in ("user-1", "user-2"):
            log_in("--user-id", user_id, "--email", "ada@example.com")
        ended = run("token", "inspect", issue("--email", "ada@example.com"), "--json")
        assert (ended.code, ended.json()["code"]) == (1, "email_ambiguous")

    def test_without_a_store(self, development: Path) -> None:
        """The token is explained though the store is gone; the contact is then not known."""
        (development / "var/contacts.db").unlink()
        ended = run("token", "inspect", issue("--user-id", "u"), "--json")
        assert ended.code == 0
        assert ended.json()["contact"].startswith("not known, for the store cannot be asked")
        assert not (development / "var/contacts.db").exists()


def test_offline_with_a_key_set(folder: Path) -> None:
    """With `--jwks` no configuration is needed, and the keys of the file decide."""
    key, stranger = generate_signing_key("ES256"), generate_signing_key("ES256")
    (folder / "keys.json").write_text(json.dumps({"keys": [key.public_jwk()]}))
    for signer, code in ((key, 0), (stranger, 1)):
        token = signed(signer, {"user_id": "user-1"})
        ended = run("token", "inspect", token, "--jwks", "keys.json", "--json")
        assert ended.code == code
        assert ended.json()["contact"] is None
    assert run("token", "inspect", "-", "--jwks", "keys.json", stdin="x").code == 1


def test_offline_with_another_claim(folder: Path) -> None:
    """`--user-id-claim` names the claim that holds the id, for tokens of an identity provider."""
    key = generate_signing_key("EdDSA")
    (folder / "keys.json").write_text(json.dumps({"keys": [key.public_jwk()]}))
    token = signed(key, {"sub": "user-1"})
    assert run("token", "inspect", token, "--jwks", "keys.json", "--json").json()["code"] == "user_id_missing"
    shown = run("token", "inspect", token, "--jwks", "keys.json", "--user-id-claim", "sub", "--json").json()
    assert (shown["accepted"], shown["principal"]["user_id"]) == (True, "user-1")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "not JSON"),
        ("[]", "not a JWK set"),
        ('{"keys": []}', "holds no key"),
        ('{"keys": [{"kty": "oct", "k": "AAAA"}]}', "keys[0]"),
    ],
)
def test_a_key_set_that_is_none(folder: Path, content: str, told: str) -> None:
    """A bad key set is named with its path."""
    (folder / "keys.json").write_text(content)
    ended = run("token", "inspect", "x", "--jwks", "keys.json")
    assert (ended.code, ended.out) == (1, "")
    assert ended.error.startswith("keys.json: ")
    assert told in ended.error


def signed(key: Any, claims: dict[str, Any]) -> str:
    """A token of an identity provider, good for ten minutes."""
    return issue_token(claims, key, ttl=600, now=time.time())
