"""`gateway token issue`: any token that a test may need, and none in the name of production."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from keys.keyring import load_keyring
from tests.cli.conftest import run

if TYPE_CHECKING:
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
    (kid,) = (entry.kid for entry in load_keyring(folder / "secrets/acme-messenger.json").keys)
    for arguments in ([], ["--issuer", "messenger"], ["--alg", "HS256"], ["--secret-id", kid]):
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
    assert run("token", "issue", "--user-id", "u", "--secret-id", kid).code == 1
