"""`gateway token`: tokens for tests, and the explanation of any token."""

from __future__ import annotations

import base64
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


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims."""
    header, payload, _ = (base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split("."))
    return json.loads(header), json.loads(payload)


def issue(*arguments: str) -> str:
    ended = run("token", "issue", *arguments)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count("\n") == 1
    return ended.out.strip()


@pytest.mark.usefixtures("development")
class TestIssue:
    """`gateway token issue` in development mode."""

    def test_the_plainest_token(self) -> None:
        """A token in Messenger style: HS256, `kid`, an hour to live, no `iss` and no `aud`."""
        header, claims = parts(issue("--user-id", "user-1", "--email", "ada@example.com"))
        assert header == {"alg": "HS256", "typ": "JWT", "kid": "dev"}
        assert claims.pop("exp") - claims.pop("iat") == 3600
        assert claims == {"user_id": "user-1", "email": "ada@example.com"}

    def test_the_local_issuer(self) -> None:
        """The local issuer signs with ES256, and says who it is and for whom; `--alg` alone finds it."""
        for choice in (["--issuer", "local"], ["--alg", "ES256"], ["--issuer", "local", "--alg", "ES256"]):
            token = issue("--user-id", "user-1", *choice)
            header, claims = parts(token)
            assert header["alg"] == "ES256"
            assert (claims["iss"], claims["aud"]) == ("http://127.0.0.1:8080", "messenger")
            assert run("token", "inspect", token).code == 0

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("gold", "gold"),
            ("3", 3),
            ("3.5", 3.5),
            ("true", True),
            ("null", None),
            ('"3"', "3"),
            ('["a", 1]', ["a", 1]),
            ('{"a": {"b": []}}', {"a": {"b": []}}),
            ("", ""),
            ("a=b", "a=b"),
            ("NaN", "NaN"),
            ("-Infinity", "-Infinity"),
            ("{", "{"),
            ("[" * 100_000, "[" * 100_000),
            ("9" * 30, int("9" * 30)),
            ("張", "張"),
        ],
        ids=lambda value: repr(value)[:20],
    )
    def test_any_claim(self, text: str, value: Any) -> None:
        """A value is JSON where it is some, and else the text that it is."""
        assert parts(issue("--claim", f"plan={text}"))[1]["plan"] == value

    def test_a_claim_stands_over_what_is_made(self) -> None:
        """Every claim can be replaced, so that every bad token can be made."""
        claims = {"user_id": "null", "iat": '"now"', "exp": "1e3", "iss": "x", "aud": "[]"}
        options = [option for name, text in claims.items() for option in ("--claim", f"{name}={text}")]
        assert parts(issue("--user-id", "user-1", *options))[1] == {
            "user_id": None,
            "iat": "now",
            "exp": 1000.0,
            "iss": "x",
            "aud": [],
        }

    def test_any_header(self) -> None:
        """A header member changes what is said, not how it is signed."""
        header, _ = parts(
            issue("--user-id", "u", "--header", "alg=none", "--header", 'crit=["exp"]', "--header", "kid=7")
        )
        assert header == {"alg": "none", "typ": "JWT", "kid": 7, "crit": ["exp"]}

    @pytest.mark.parametrize("ttl", ["600", "-600", "0"])
    def test_ttl(self, ttl: str) -> None:
        """`--ttl` is the distance from iat to exp; a negative one makes an expired token."""
        _, claims = parts(issue("--user-id", "u", "--ttl", ttl))
        assert claims["exp"] - claims["iat"] == int(ttl)

    def test_no_exp(self) -> None:
        """`--no-exp` leaves both times out."""
        assert parts(issue("--user-id", "u", "--no-exp"))[1] == {"user_id": "u"}

    def test_json(self) -> None:
        """`--json` says in whose name the token is."""
        shown = run("token", "issue", "--user-id", "u", "--alg", "ES256", "--json").json()
        assert parts(shown.pop("token"))[1]["user_id"] == "u"
        assert shown == {"workspace": "dev", "issuer": "local", "alg": "ES256", "kid": shown["kid"]}

    @pytest.mark.parametrize(
        ("arguments", "code", "told"),
        [
            ([], 2, "a token for whom?"),
            (["--user-id", "u", "--claim", "plan"], 2, "--claim takes NAME=VALUE"),
            (["--user-id", "u", "--claim", "=x"], 2, "--claim takes NAME=VALUE"),
            (["--user-id", "u", "--header", "x"], 2, "--header takes NAME=VALUE"),
            (["--user-id", "u", "--claim", "seats=1e400"], 2, "no token can hold the number 1e400"),
            (["--user-id", "u", "--claim", 'name="\\ud800"'], 2, "a value is not text in UTF-8"),
            (["--user-id", "u", "--ttl", "9" * 30], 2, "Invalid value for '--ttl'"),
            (["--user-id", "u", "--workspace", "acme"], 2, "there is no workspace acme"),
            (["--user-id", "u", "--issuer", "google"], 1, "the workspace dev has no issuer google"),
            (["--user-id", "u", "--alg", "none"], 1, "no issuer lists none among: messenger, local"),
            (["--user-id", "u", "--alg", "RS256"], 1, "no issuer lists RS256 among: messenger, local"),
            (["--user-id", "u", "--secret-id", "old"], 1, "no issuer has a secret old among: messenger, local"),
        ],
        ids=lambda value: "_".join(value)[:40] if isinstance(value, list) else "",
    )
    def test_what_cannot_be_issued(self, arguments: list[str], code: int, told: str) -> None:
        """Each ends with its exit code and one line, and no token."""
        ended = run("token", "issue", *arguments)
        assert (ended.code, ended.out) == (code, "")
        assert ended.error.startswith(told)


def test_production_keys_sign_nothing(folder: Path) -> None:
    """Design section 7: neither the only issuer nor one that is named signs when it is marked production."""
    run("init")
    config = folder / "gateway.toml"
    for arguments in ([], ["--issuer", "messenger"], ["--alg", "HS256"], ["--secret-id", "1"]):
        ended = run("token", "issue", "--user-id", "u", *arguments)
        assert (ended.code, ended.out) == (1, "")
        assert ended.error == "the issuer messenger is marked production: its keys sign no test tokens"
    (folder / "secrets/test").write_text("Zj3#k9Qw-Zk4$l0Rx_Al5%m1Sy+Bm6&n2Tz")
    config.write_text(
        config.read_text() + '\n[[workspaces.acme.issuers]]\nname = "test"\nprofile = "intercom"\n'
        'secrets = [{ id = "t", secret_file = "secrets/test" }]\n'
    )
    assert parts(run("token", "issue", "--user-id", "u").out.strip())[0]["kid"] == "t"
    assert run("token", "issue", "--user-id", "u", "--issuer", "messenger").code == 1
    assert run("token", "issue", "--user-id", "u", "--secret-id", "1").code == 1


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
        assert set(steps) == {2, 3, 4, 5, 6, 7, 8}
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
