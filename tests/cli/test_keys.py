"""`gateway keys`: our own keys made, followed, handed over and retired; nothing secret is shown unasked."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.cli.output import moment
from keys.files import write_private
from keys.jwk import generate_signing_key, thumbprint
from keys.keyring import load_keyring
from tests.cli.conftest import program, run

SECRET = "Zj3#k9Qw-Zk4$l0Rx_Al5%m1Sy+Bm6&n2Tz"
OTHER = "q8Vd!2Lm^Ws7*Tg4(Hn9)Xc1=Jb6~Pz3@Fy"
ISSUERS = """
[[workspaces.acme.issuers]]
name = "messenger"
profile = "intercom"
keyring = "secrets/messenger.json"

[[workspaces.acme.issuers]]
name = "bounded"
profile = "intercom"
max_lifetime = 3600
keyring = "secrets/bounded.json"

[[workspaces.acme.issuers]]
name = "own"
issuer = "https://tokens.acme.example"
audience = ["chat"]
algorithms = ["ES256", "RS256"]
max_lifetime = 3600
keyring = "secrets/own.json"

[[workspaces.acme.issuers]]
name = "filed"
profile = "intercom"
secrets = [{ id = "filed-1", secret_file = "secret", platforms = ["ios"] }]
"""


@pytest.fixture
def configured(folder: Path) -> Path:
    """A configuration with three keyrings, none of which is there yet, beside a secret in a file."""
    (folder / "gateway.toml").write_text(ISSUERS)
    write_private(folder / "secret", SECRET.encode())
    return folder


def done(*arguments: str, stdin: str = "") -> Any:
    """What a command says as JSON."""
    ended = run("keys", *arguments, "--json", stdin=stdin)
    assert ended.code == 0, ended.err
    return ended.json()


def failed(*arguments: str, code: int = 1, stdin: str | bytes = "") -> str:
    """The one line of a command that does nothing."""
    ended = run("keys", *arguments, stdin=stdin)
    assert (ended.code, ended.out) == (code, "")
    return ended.error


def all_made() -> dict[str, str]:
    """A first key in each keyring; the kid of each."""
    return {name: done("generate", name)["key"]["kid"] for name in ("messenger", "bounded", "own")}


def listed() -> dict[str, Any]:
    return {one["issuer"]: one for one in done("list")}


def states(issuer: str) -> dict[str, str]:
    return {key["kid"]: key["state"] for key in listed()[issuer]["keys"]}


@pytest.mark.usefixtures("configured")
class TestGenerate:
    """`gateway keys generate`."""

    def test_the_first_key(self, configured: Path) -> None:
        """A configuration whose keyring is missing says how to make it; then it is there, for its owner alone."""
        assert (
            "there is no keyring yet; `gateway keys generate messenger` makes its first key"
            in run("config", "check").err
        )
        all_made()
        assert run("config", "check").code == 0
        assert (configured / "secrets").stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in (configured / "secrets").iterdir()} == {0o600}

    def test_a_pair_is_called_by_its_thumbprint(self, configured: Path) -> None:
        """RFC 7638, and the algorithm is the issuer's first unless another of its own is named."""
        assert done("generate", "own", "--alg", "RS256")["key"]["algorithms"] == ["RS256"]
        (entry,) = load_keyring(configured / "secrets/own.json").keys
        assert entry.kid == thumbprint(entry.signing_key().public_jwk())
        assert failed("generate", "own") == "the keyring has a key that signs: a rotation makes its successor"
        assert failed("generate", "own", "--alg", "HS256") == "the issuer own does not list HS256"
        assert failed("generate", "own", "--id", "mine").startswith("the id of a key pair is its thumbprint")

    def test_secrets_stand_beside_each_other(self, configured: Path) -> None:
        """Each with its id and its platforms; all of them verify."""
        done("generate", "messenger", "--id", "web-1", "--platform", "web")
        made = done("generate", "messenger", "--id", "mobile-1", "--platform", "ios", "--platform", "android")
        assert (made["version"], made["key"]["platforms"]) == (2, ["android", "ios"])
        keys = load_keyring(configured / "secrets/messenger.json").verification_keys
        assert [(key.kid, sorted(key.platforms)) for key in keys] == [
            ("web-1", ["web"]),
            ("mobile-1", ["android", "ios"]),
        ]
        assert failed("generate", "messenger", "--id", "web-1") == "the keyring has a key web-1 already"

    @pytest.mark.parametrize("kid", ["", "a b", "a/b", "ä", "x" * 65, "a\nb"])
    def test_an_id_that_is_none(self, kid: str) -> None:
        """Wrong use, and nothing is made."""
        assert failed("generate", "messenger", "--id", kid, code=2).startswith("an id has 1 to 64 letters")
        assert not Path("secrets/messenger.json").exists()


@pytest.mark.usefixtures("configured")
class TestList:
    """`gateway keys list`."""

    def test_every_issuer(self) -> None:
        """Keyrings and keys from elsewhere: from where, which, for which platforms, in which state."""
        kids = all_made()
        found = listed()
        assert list(found) == ["messenger", "bounded", "own", "filed"]
        assert {name: one["source"] for name, one in found.items()} == {
            "messenger": "secrets/messenger.json",
            "bounded": "secrets/bounded.json",
            "own": "secrets/own.json",
            "filed": "secrets",
        }
        (own,) = found["own"]["keys"]
        assert (own["kid"], own["algorithms"], own["state"]) == (kids["own"], ["ES256"], "signing")
        assert own["signs_from"] == own["created_at"]
        assert (own["signs_until"], own["ends_at"]) == (None, None)
        filed = {"kid": "filed-1", "algorithms": ["HS256"], "platforms": ["ios"], "state": "verifying"}
        assert found["filed"]["keys"] == [filed]
        table = run("keys", "list").out
        assert all(kid[:20] in table for kid in kids.values())

    def test_every_value_stands_in_its_column(self) -> None:
        """The table says the same as the JSON: a time is never under another time's heading."""
        kids = all_made()
        done("rotate", "own", "--at-once")
        header, *rows = [line for line in run("keys", "list").out.splitlines() if line.strip()]
        (row,) = [row for row in rows if kids["own"][:20] in row]
        (old,) = [key for key in listed()["own"]["keys"] if key["kid"] == kids["own"]]
        for heading, value in (
            ("state", "retiring"),
            ("signs from", moment(old["signs_from"])),
            ("signs until", moment(old["signs_until"])),
            ("ends", moment(old["ends_at"])),
        ):
            assert row[header.index(heading) :].startswith(value)

    def test_b20_no_secret_is_shown(self, configured: Path) -> None:
        """Neither in the table nor as JSON, nor in the effective settings."""
        all_made()
        done("import", "messenger", stdin=OTHER)
        shown = "".join(
            run(*command).out for command in (("keys", "list"), ("keys", "list", "--json"), ("config", "show"))
        )
        for file in (configured / "secrets").glob("*.json"):
            for entry in load_keyring(file).keys:
                assert entry.material not in shown
        assert SECRET not in shown
        assert OTHER not in shown
        assert "PRIVATE KEY" not in shown

    def test_a_publisher_that_is_down(self, configured: Path) -> None:
        """A remote set stands in the list with what is wrong, and the list is there all the same."""
        all_made()
        (configured / "gateway.toml").write_text(
            ISSUERS
            + """
[[workspaces.acme.issuers]]
name = "login"
issuer = "https://login.acme.example"
audience = ["chat"]
algorithms = ["ES256"]
insecure_jwks_loopback = true
jwks_url = "http://127.0.0.1:9/jwks.json"
"""
        )
        ended = run("keys", "list")
        assert ended.code == 0
        assert "no keys" in ended.out
        assert "acme: login: no key: its tokens get 503" in ended.err
        login = listed()["login"]
        assert (login["source"], login["keys"], login["state"]) == ("http://127.0.0.1:9/jwks.json", [], "none")
        assert login["error"]


@pytest.mark.usefixtures("configured")
class TestRotate:
    """`gateway keys rotate`."""

    def test_published_before_it_signs(self) -> None:
        """The new key waits, the old one signs; both verify; the old one's end is known."""
        old = all_made()["own"]
        made = done("rotate", "own")
        key = made["key"]
        assert made["version"] == 2
        assert key["signs_from"] == key["created_at"] + 600
        assert states("own") == {old: "signing", key["kid"]: "next"}
        (before, _) = listed()["own"]["keys"]
        assert (before["signs_until"], before["ends_at"]) == (key["signs_from"], key["signs_from"] + 3600 + 60)
        assert issued("own") == old
        assert failed("rotate", "own") == f"a rotation is under way: {key['kid']} is published, and will sign soon"

    def test_at_once(self) -> None:
        """After a leak the new key signs now, and the list says until when the old one verifies."""
        old = all_made()["own"]
        kid = done("rotate", "own", "--at-once", "--alg", "RS256")["key"]["kid"]
        assert states("own") == {old: "retiring", kid: "signing"}
        assert issued("own") == kid

    def test_a_messenger_goes_on_with_its_old_secret(self) -> None:
        """Its back end signs: the old secret verifies until it is retired; the new one has its platforms."""
        done("generate", "messenger", "--id", "old", "--platform", "web")
        done("generate", "bounded")
        done("generate", "own")
        made = done("rotate", "messenger", "--at-once")["key"]
        assert made["platforms"] == ["web"]
        assert states("messenger") == {"old": "verifying", made["kid"]: "signing"}
        assert "gateway keys export messenger --private" in run("keys", "rotate", "messenger", "--at-once").out

    def test_secrets_of_different_platforms(self) -> None:
        """Which of them is meant cannot be told, so none is followed."""
        done("generate", "messenger", "--platform", "web")
        done("generate", "messenger", "--platform", "ios")
        assert "different platforms" in failed("rotate", "messenger")

    def test_who_expects_another_version_changes_nothing(self, configured: Path) -> None:
        """`--expect` is the version that was looked at."""
        all_made()
        content = (configured / "secrets/own.json").read_bytes()
        for version in ("0", "2"):
            told = failed("rotate", "own", "--at-once", "--expect", version)
            assert f"somebody else changed it meanwhile (it has version 1, not {version})" in told
        assert (configured / "secrets/own.json").read_bytes() == content
        assert done("rotate", "own", "--expect", "1")["version"] == 2

    @pytest.mark.parametrize("options", [[], ["--at-once", "--expect", "1"]])
    def test_of_two_at_the_same_moment_one_wins(self, options: list[str]) -> None:
        """Real processes: one ends with 0, the others with 1 and a line that says why; one key was made."""
        all_made()
        command = [sys.executable, "-m", "gateway", "keys", "rotate", "own", *options]
        processes = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)
        ]
        ended = [(*process.communicate(timeout=60), process.returncode) for process in processes]
        assert sorted(code for _, _, code in ended) == [0, 1, 1, 1]
        for out, err, code in ended:
            assert "Traceback" not in err
            assert (out == "") == (code == 1)
            assert code == 0 or "under way" in err or "somebody else changed it meanwhile" in err
        assert len(states("own")) == 2

    def test_nothing_to_follow(self) -> None:
        """Without a keyring, and without a key in it, the way is shown."""
        assert failed("rotate", "own") == "secrets/own.json: there is no keyring yet"
        kid = done("generate", "own")["key"]["kid"]
        done("retire", "own", kid, "--now")
        assert failed("rotate", "own") == "the keyring has no key that signs, and none to follow it"


@pytest.mark.usefixtures("configured")
class TestRetire:
    """`gateway keys retire`."""

    @pytest.mark.parametrize("issuer", ["messenger", "own", "bounded"])
    def test_the_last_key_is_not_retired_by_mistake(self, issuer: str) -> None:
        """It takes `--now`, which says what it does; the issuer has no key then, and its tokens meet an outage."""
        kid = all_made()[issuer]
        assert failed("retire", issuer, kid).startswith(f"{kid} is the last key that stays")
        assert states(issuer) == {kid: "signing"}
        ended = run("keys", "retire", issuer, kid, "--now")
        assert (ended.code, ended.out) == (0, f"{kid} is gone: every token that it signed is refused\n")
        assert ended.err.startswith(f"no key is left: every token of {issuer} gets 503 until")
        assert states(issuer) == {}
        assert run("config", "check").code == 0
        assert f"acme: {issuer}: no key: its tokens get 503" in run("keys", "list").err
        assert run("token", "issue", "--user-id", "u", "--issuer", issuer).error == (
            f"the issuer {issuer} has no key that signs now"
        )

    def test_a_secret_ends_when_its_tokens_are_dead(self) -> None:
        """With a longest lifetime the old secret retires; without one only `--now` ends it."""
        kids = all_made()
        for issuer in ("bounded", "messenger"):
            done("rotate", issuer, "--at-once")
        gone = done("retire", "bounded", kids["bounded"])
        assert states("bounded")[kids["bounded"]] == "retiring"
        assert gone["ends_at"] > 0
        assert failed("retire", "messenger", kids["messenger"]).startswith("its tokens have no longest lifetime")
        done("retire", "messenger", kids["messenger"], "--now")
        assert list(states("messenger").values()) == ["signing"]

    def test_a_retired_secret_is_deleted(self, configured: Path) -> None:
        """What leaked is not kept: after `--now` the material is in no file of the folder."""
        all_made()
        kid = done("import", "messenger", stdin=OTHER)["keys"][0]["kid"]
        done("retire", "messenger", kid, "--now")
        assert all(OTHER.encode() not in path.read_bytes() for path in (configured / "secrets").iterdir())

    def test_a_key_that_is_not_there(self) -> None:
        """An id of nothing changes nothing."""
        all_made()
        assert failed("retire", "own", "nothing", "--now") == "the keyring has no key nothing"


@pytest.mark.usefixtures("configured")
class TestExport:
    """`gateway keys export`."""

    def test_public_keys(self, configured: Path) -> None:
        """A JWKS with public members alone, to standard output or a file; a gateway takes it as `jwks_file`."""
        kid = all_made()["own"]
        ended = run("keys", "export", "own", "--output", "jwks.json")
        assert (ended.code, ended.out) == (0, "")
        (jwk,) = json.loads(run("keys", "export", "own").out)["keys"]
        assert json.loads((configured / "jwks.json").read_text())["keys"] == [jwk]
        assert jwk.keys() == {"kty", "crv", "x", "y", "kid", "alg", "use"}
        assert jwk["kid"] == kid

    def test_secrets_have_no_public_half(self) -> None:
        """R11: shared secrets are never exported as a set."""
        all_made()
        assert failed("export", "messenger", code=2) == (
            "the issuer messenger has shared secrets, which have no public half"
        )

    def test_one_secret_by_name(self, configured: Path) -> None:
        """With `--private KID` that one alone: to a pipe, or to a file for its owner alone."""
        done("import", "messenger", "--id", "mine", stdin=OTHER)
        assert run("keys", "export", "messenger", "--private", "mine").out == f"{OTHER}\n"
        before = os.umask(0)
        try:
            assert run("keys", "export", "messenger", "--private", "mine", "--output", "handed").code == 0
        finally:
            os.umask(before)
        assert (configured / "handed").read_text() == f"{OTHER}\n"
        assert (configured / "handed").stat().st_mode & 0o777 == 0o600

    def test_a_private_key_goes_out_and_in(self, configured: Path) -> None:
        """An exported PEM is imported elsewhere under the same id."""
        kid = all_made()["own"]
        run("keys", "export", "own", "--private", kid, "--output", "own.pem")
        done("retire", "own", kid, "--now")
        assert done("import", "own", "own.pem")["keys"][0]["kid"] == kid
        assert (configured / "own.pem").read_bytes().splitlines()[0] == b"PRIVATE KEY".join([b"-----BEGIN ", b"-----"])

    @pytest.mark.parametrize(("option", "code"), [([], 2), (["--yes"], 0)])
    def test_a_terminal_is_not_shown_a_secret(self, option: list[str], code: int) -> None:
        """Terminals remember: it takes `--yes`; without it nothing of the secret is printed."""
        done("import", "messenger", "--id", "mine", stdin=OTHER)
        main, terminal = pty.openpty()
        command = [sys.executable, "-m", "gateway", "keys", "export", "messenger", "--private", "mine", *option]
        ended = subprocess.run(command, stdout=terminal, stderr=subprocess.PIPE, timeout=60, check=False)
        os.close(terminal)
        try:
            shown = os.read(main, 65536)
        except OSError:  # nothing was written, and nobody holds the other end any more
            shown = b""
        os.close(main)
        assert ended.returncode == code
        assert (OTHER.encode() in shown) == (code == 0)
        assert OTHER.encode() not in ended.stderr

    def test_what_is_not_there(self) -> None:
        """An unknown key, an unknown issuer, an issuer whose keys are not ours: one line each."""
        all_made()
        assert failed("export", "messenger", "--private", "nothing") == "the keyring has no key nothing"
        assert failed("export", "zonk") == "the workspace acme has no issuer zonk"
        assert failed("export", "filed") == "the issuer filed has no keyring: its keys lie elsewhere"


@pytest.mark.usefixtures("configured")
class TestImport:
    """`gateway keys import`."""

    def test_a_single_text(self, configured: Path) -> None:
        """From a file or from standard input; the bytes of the text are the secret, its line end is not."""
        for number, text in enumerate((SECRET, f"{SECRET[::-1]}\n", f"{OTHER}\r\n")):
            done("import", "messenger", "--id", f"s{number}", stdin=text)
        (configured / "text").write_text(f"{OTHER[::-1]}\n")
        done("import", "messenger", "text", "--id", "s3", "--platform", "web")
        entries = load_keyring(configured / "secrets/messenger.json").keys
        assert [entry.material for entry in entries] == [SECRET, SECRET[::-1], OTHER, OTHER[::-1]]
        assert entries[3].platforms == ("web",)

    def test_a_line_for_each(self, configured: Path) -> None:
        """Several lines are several secrets, in one change, each with an id of its own."""
        taken = done("import", "messenger", stdin=f"{SECRET}\n\n{OTHER}\n")
        assert taken["version"] == 2
        entries = load_keyring(configured / "secrets/messenger.json").keys
        assert [entry.material for entry in entries] == [SECRET, OTHER]
        assert [key["kid"] for key in taken["keys"]] == [entry.kid for entry in entries]

    def test_every_byte_of_a_secret(self, configured: Path) -> None:
        """Only line ends part secrets; blanks, other letters and odd characters belong to them, in and out again."""
        odd = f" {SECRET}\x0b\u2028\u5f35\x85 "
        done("import", "messenger", "--id", "odd", stdin=f"{odd}\n")
        assert [entry.material for entry in load_keyring(configured / "secrets/messenger.json").keys] == [odd]
        assert program("keys", "export", "messenger", "--private", "odd", PYTHONIOENCODING="ascii").out == f"{odd}\n"

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            (f"{OTHER}\nshort\n", "secret 2: the secret is shorter than the 32 bytes"),
            (f"{OTHER}\n{OTHER}\n", "secret 2: the keyring has this very key already"),
            (f"{OTHER}\na-string-secret-at-least-256-bits-long\n", "secret 2: the secret is on the list of common"),
            (json.dumps(generate_signing_key("ES256").public_jwk()), "this is a key pair or a public key"),
            (generate_signing_key("ES256").private_pem().decode(), "this is a key pair or a public key"),
        ],
        ids=["a15 short", "twice", "a15 common", "a01 jwk", "a01 pem"],
    )
    def test_all_or_nothing(self, text: str, told: str) -> None:
        """A15, A01, B20: one bad secret and none is taken; the line says which, and quotes none."""
        told_now = failed("import", "messenger", stdin=text)
        assert told_now.startswith(told)
        assert OTHER not in told_now
        assert not Path("secrets/messenger.json").exists()

    @pytest.mark.parametrize(
        ("arguments", "text", "code"),
        [
            ([], "", 2),
            ([], "\n \n", 2),
            (["--id", "x"], f"{SECRET}\n{OTHER}", 2),
            (["nowhere"], "", 1),
            ([], b"\xff" * 40, 1),
        ],
        ids=["nothing", "blanks", "one id for two", "no such file", "not text"],
    )
    def test_what_is_nothing_to_import(self, arguments: list[str], text: str | bytes, code: int) -> None:
        """One line each, and no keyring."""
        failed("import", "messenger", *arguments, code=code, stdin=text)
        assert not Path("secrets/messenger.json").exists()

    @pytest.mark.parametrize("place", ["keyring", "secrets"])
    def test_b21_another_workspaces_secret(self, configured: Path, place: str) -> None:
        """A running gateway takes a keyring up at once, so what a start would refuse never comes into one."""
        write_private(configured / "theirs", OTHER.encode())
        theirs = {"keyring": 'keyring = "theirs.json"', "secrets": 'secrets = [{ id = "x", secret_file = "theirs" }]'}
        issuer = f'[[workspaces.globex.issuers]]\nname = "chat"\nprofile = "intercom"\n{theirs[place]}\n'
        (configured / "gateway.toml").write_text(f"{ISSUERS}\n[workspaces.globex]\n{issuer}")
        if place == "keyring":
            done("import", "chat", "--workspace", "globex", stdin=OTHER)
        told = failed("import", "messenger", "--workspace", "acme", stdin=f"{SECRET}\n{OTHER}\n")
        assert told.startswith("secret 2: it is a secret of workspaces.globex.issuers[0]")
        assert not (configured / "secrets/messenger.json").exists()

    def test_a_private_key(self, configured: Path) -> None:
        """The first signs at once; one beside a key that signs follows it as in a rotation."""
        (configured / "a.pem").write_bytes(generate_signing_key("RS256").private_pem())
        (configured / "b.pem").write_bytes(generate_signing_key("ES256").private_pem())
        first = done("import", "own", "a.pem")["keys"][0]
        assert (first["algorithms"], first["state"]) == (["RS256"], "signing")
        second = done("import", "own", "b.pem")["keys"][0]
        assert (second["algorithms"], second["state"]) == (["ES256"], "next")

    @pytest.mark.parametrize("alg", ["ES384", "Ed25519"])
    def test_a_private_key_that_does_not_suit(self, alg: str) -> None:
        """Its algorithm is none of the issuer's."""
        pem = generate_signing_key(alg).private_pem().decode()
        assert failed("import", "own", stdin=pem) == "the key does not suit RS256"

    def test_a_secret_is_no_private_key(self) -> None:
        """A shared secret never lands among key pairs (A01)."""
        assert failed("import", "own", stdin=SECRET) == "this is not an unencrypted private key in PEM"


def issued(issuer: str) -> str:
    """The kid of a token that the command line signs."""
    kid: str = run("token", "issue", "--user-id", "u", "--issuer", issuer, "--json").json()["kid"]
    return kid


class TestKeyringSetting:
    """`keyring = "PATH"` of an issuer."""

    @pytest.mark.parametrize(
        "beside",
        [
            'secrets = [{ id = "1", secret_file = "secret" }]',
            'jwks_file = "jwks.json"',
            'pem_files = ["public.pem"]',
            'jwks_url = "https://login.acme.example/jwks.json"',
            "discovery = true",
        ],
        ids=lambda text: text.split()[0],
    )
    def test_keys_come_from_one_place(self, configured: Path, beside: str) -> None:
        """Beside any other key material it is refused, in the one line of the setting."""
        key = generate_signing_key("ES256")
        (configured / "jwks.json").write_text(json.dumps({"keys": [key.public_jwk()]}))
        (configured / "public.pem").write_bytes(public_pem(key))
        profile = (
            'profile = "intercom"'
            if beside.startswith("secrets")
            else ('issuer = "https://login.acme.example"\naudience = ["a"]\nalgorithms = ["ES256"]')
        )
        (configured / "gateway.toml").write_text(
            f'[[workspaces.acme.issuers]]\nname = "x"\n{profile}\n{beside}\nkeyring = "k.json"\n'
        )
        (problem,) = run("config", "check", "--json").json()["problems"]
        name = beside.partition(" ")[0]
        assert problem == (
            f"workspaces.acme.issuers[0].keyring: keys come from one place: give keyring or {name}, not both"
        )

    def test_its_keys_suit_the_algorithms(self, configured: Path) -> None:
        """HS secrets never serve an asymmetric issuer, nor the other way round (A01)."""
        all_made()
        for one, other in (("messenger", "own"), ("own", "bounded")):
            (configured / "gateway.toml").write_text(ISSUERS.replace(f"secrets/{other}.json", f"secrets/{one}.json"))
            (problem,) = run("config", "check", "--json").json()["problems"]
            assert problem.endswith(".keyring: holds no key that suits the algorithms")

    def test_b24_a_loose_mode_is_refused(self, configured: Path) -> None:
        """A keyring that others may read starts no gateway; the line is what to type."""
        all_made()
        (configured / "secrets/own.json").chmod(0o640)
        ended = run("config", "check")
        assert ended.code == 1
        assert "workspaces.acme.issuers[2].keyring: " in ended.err
        assert "`chmod 600 secrets/own.json`" in ended.err
        assert failed("rotate", "own").startswith("workspaces.acme.issuers[2].keyring")

    def test_production_signs_no_test_tokens(self, configured: Path) -> None:
        """Design section 7, also for a keyring, whose keys would be at hand."""
        (configured / "gateway.toml").write_text(ISSUERS.replace('name = "own"', 'name = "own"\nproduction = true'))
        all_made()
        ended = run("token", "issue", "--user-id", "u", "--issuer", "own")
        assert (ended.code, ended.out) == (1, "")
        assert ended.error == "the issuer own is marked production: its keys sign no test tokens"

    def test_from_another_folder(self, configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its path is relative to the configuration, like that of every other file."""
        all_made()
        monkeypatch.chdir("/")
        shown = run("keys", "list", "--json", "--config", str(configured / "gateway.toml")).json()
        assert shown[0]["source"] == str(configured / "secrets/messenger.json")


def public_pem(key: Any) -> bytes:
    pem: bytes = key.material.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem
