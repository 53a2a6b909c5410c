"""`gateway check` finds faults: a gateway with one of them fails exactly the rows that it should."""

from __future__ import annotations

import asyncio
import email.utils
import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from gateway.errors import Code
from gateway.identity.broken import CATALOGUE
from gateway.web.headers import HeaderNames, reserved_names
from keys.jwk import generate_signing_key
from tests.checking.conftest import Answered, Checked, check, faulty_gateway, forgetting_exp, write_configuration

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.checking.conftest import Headers

RESERVED = {name.lower() for name in reserved_names(HeaderNames())}
SPOOFING = {"spoofed, signed in", "spoofed, anonymous", "nominated away"}


def checked(folder: Path, *arguments: str, config: Path | None = None, **faults: Any) -> Checked:
    """What a check of a gateway with these faults comes to; its echo route is asked, too."""
    config = config or write_configuration(folder)
    with faulty_gateway(config, **faults) as url:
        return check(url, config, "--echo", f"{url}/echo", "--timeout", "3", *arguments)


def broken(*codes: Code) -> set[str]:
    """The rows of the broken tokens that meet one of these codes; of those that a messenger secret can make."""
    return {f"broken: {slug}" for slug, one in CATALOGUE.items() if one.code in codes}


def test_without_a_fault(tmp_path: Path) -> None:
    """The very same harness, faultless, fails nothing: what the others fail is their fault's."""
    found = checked(tmp_path)
    assert (found.code, found.named("failed"), found.named("warning")) == (0, set(), set())
    assert found.named("passed") >= SPOOFING


def test_it_forgets_exp(tmp_path: Path) -> None:
    """An expired token is let in."""
    config = write_configuration(tmp_path)
    found = checked(tmp_path, config=config, request=forgetting_exp((tmp_path / "secret").read_bytes()))
    assert (found.code, found.named("failed")) == (1, {"broken: expired"})
    assert "let in" in found.rows["broken: expired"]["found"]


def test_it_gives_a_new_contact_each_time(tmp_path: Path) -> None:
    """Whoever asks gets another contact id, at login and at `/auth`."""

    def another(path: str, answered: Answered) -> Answered:
        if answered.status != 200:
            return answered
        if path.startswith("/auth"):
            return answered.with_header(b"x-contact-id", os.urandom(12).hex().encode())
        if path.startswith("/messenger"):
            return answered.with_json(lambda body: body["contact"].update(id=os.urandom(12).hex()))
        return answered

    found = checked(tmp_path, answer=another)
    expected = {"same contact", "me", "forward-auth", "spoofed, signed in", "nominated away"}
    assert (found.code, found.named("failed")) == (1, expected)


def test_it_makes_everybody_anew(tmp_path: Path) -> None:
    """`created` at every login of the same person."""

    def anew(path: str, answered: Answered) -> Answered:
        if path == "/messenger/login" and answered.status == 200:
            return answered.with_json(lambda body: body["identity"].update(created=True, matched_by="first_sight"))
        return answered

    assert checked(tmp_path, answer=anew).named("failed") == {"matched by"}


def test_the_wrong_person(tmp_path: Path) -> None:
    """The contact of a login has somebody else's user_id."""

    def other(path: str, answered: Answered) -> Answered:
        if path == "/messenger/login" and answered.status == 200:
            return answered.with_json(lambda body: body["contact"].update(external_id="somebody-else"))
        return answered

    assert checked(tmp_path, answer=other).named("failed") == {"login"}


@pytest.mark.parametrize(
    ("survives", "rows"),
    [
        (lambda name: "_" in name, {"spoofed, signed in", "spoofed, anonymous"}),
        (lambda name: "." in name, {"spoofed, signed in", "spoofed, anonymous"}),
        (lambda name: name == "x-identity-assertion", SPOOFING),
        (lambda _name: True, SPOOFING),
    ],
    ids=["underscores", "dots", "one forgotten header", "all"],
)
def test_b01_it_lets_spoofed_headers_through(tmp_path: Path, survives: Callable[[str], bool], rows: set[str]) -> None:
    """Whichever spelling survives is found, signed in and anonymous, and is named."""

    def upstream(sent: Headers, kept: Headers) -> Headers:
        names = RESERVED | {name.replace("-", "_") for name in RESERVED} | {name.replace("-", ".") for name in RESERVED}
        return [*kept, *(pair for pair in sent if pair[0].decode() in names and survives(pair[0].decode()))]

    found = checked(tmp_path, upstream=upstream)
    assert (found.code, found.named("failed")) == (1, rows)
    assert "these arrive: " in found.rows["spoofed, signed in"]["found"]


def test_b01_it_keeps_the_last_of_two(tmp_path: Path) -> None:
    """Of a header that was sent twice one copy survives."""

    def upstream(sent: Headers, kept: Headers) -> Headers:
        twice = [pair for pair in sent if [name for name, _ in sent].count(pair[0]) > 1]
        return [*kept, *twice[-1:]]

    assert checked(tmp_path, upstream=upstream).named("failed") == {"spoofed, signed in", "spoofed, anonymous"}


def test_b02_connection_takes_the_identity_away(tmp_path: Path) -> None:
    """Who names our header in `Connection` arrives as nobody."""

    def upstream(sent: Headers, kept: Headers) -> Headers:
        nominated = b",".join(value for name, value in sent if name == b"connection").lower()
        return [*kept, (b"x-taken-away", b"1")] if b"x-contact-id" in nominated else kept

    def taking(path: str, answered: Answered) -> Answered:
        if path != "/echo" or answered.status != 200:
            return answered
        pairs = json.loads(answered.body)
        if ["x-taken-away", "1"] in pairs:
            pairs = [pair for pair in pairs if pair[0] != "x-contact-id"]
        return Answered(200, answered.headers, json.dumps(pairs).encode())

    assert checked(tmp_path, upstream=upstream, answer=taking).named("failed") == {"nominated away"}


@pytest.mark.parametrize(("seconds", "outcome"), [(20, "warning"), (-20, "warning"), (300, "failed"), (-300, "failed")])
def test_its_clock_is_wrong(tmp_path: Path, seconds: int, outcome: str) -> None:
    """Over 5 s it is told, over the leeway it fails, whichever way."""

    def dated(_path: str, answered: Answered) -> Answered:
        date = email.utils.formatdate(time.time() + seconds, usegmt=True)
        return answered.with_header(b"date", date.encode())

    found = checked(tmp_path, answer=dated, dated=False)
    assert (found.named("failed") | found.named("warning"), found.rows["clock"]["outcome"]) == ({"clock"}, outcome)
    assert ("ahead of" if seconds > 0 else "behind") in found.rows["clock"]["found"]


@pytest.mark.parametrize("date", [None, b"yesterday", b""])
def test_without_a_date_nothing_is_known_of_its_clock(tmp_path: Path, date: bytes | None) -> None:
    """A29."""

    def dated(_path: str, answered: Answered) -> Answered:
        return answered if date is None else answered.with_header(b"date", date)

    found = checked(tmp_path, answer=dated, dated=False)
    assert (found.named("failed"), found.rows["clock"]["outcome"]) == (set(), "not_performed")


@pytest.mark.parametrize("status", [200, 401, 403])
def test_two_verdicts(tmp_path: Path, status: int) -> None:
    """`/auth` lets in, or refuses in other words, who is refused at login."""

    def other(path: str, answered: Answered) -> Answered:
        if path.startswith("/auth") and answered.status != 200:
            return Answered(status, [(b"x-identity-error", b"signature_invalid")], b"")
        return answered

    found = checked(tmp_path, answer=other)
    assert (found.code, found.named("failed")) == (1, {"forward-auth agrees", "no token"})
    assert f"two-segments: 401 token_malformed and {status}" in found.rows["forward-auth agrees"]["found"]


def test_nobody_is_let_in(tmp_path: Path) -> None:
    """`/auth` lets in who brings no token at all."""

    def open_door(path: str, answered: Answered) -> Answered:
        missing = (b"x-identity-error", b"credentials_missing") in answered.headers
        return Answered(200, [], b"") if path.startswith("/auth") and missing else answered

    found = checked(tmp_path, answer=open_door)
    assert found.named("failed") == {"no token"}
    assert "at /auth" in found.rows["no token"]["found"]


def test_an_identity_beside_a_refusal(tmp_path: Path) -> None:
    """`/auth` refuses, and names a contact all the same: an upstream that does not look at the status believes it."""

    def generous(path: str, answered: Answered) -> Answered:
        refused = path.startswith("/auth") and answered.status != 200
        return answered.with_header(b"x-user-id", b"somebody") if refused else answered

    found = checked(tmp_path, answer=generous)
    assert found.named("failed") == {"forward-auth agrees", "no token"}
    assert "X-User-Id all the same" in found.rows["forward-auth agrees"]["found"]


@pytest.mark.parametrize("where", ["/auth/acme", "/messenger/login"])
def test_an_identity_for_whom_nobody_has_proven(tmp_path: Path, where: str) -> None:
    """While enforcement is off, whoever passes is nobody, at both."""
    config = write_configuration(tmp_path, extra='enforcement = { web = "off", ios = "off", android = "off" }')

    def generous(path: str, answered: Answered) -> Answered:
        if path != where or b"token_expired" not in answered.body + b"".join(value for _, value in answered.headers):
            return answered
        if path == "/auth/acme":
            return answered.with_header(b"x-contact-id", b"0" * 24)
        return answered.with_json(lambda body: body.update(contact={"id": "0" * 24}))

    found = checked(tmp_path, config=config, answer=generous)
    late = broken(Code.TOKEN_EXPIRED) - found.named("not_performed")
    assert found.named("failed") == ({"forward-auth agrees"} if where == "/auth/acme" else late)
    assert "no token" in found.named("warning")


def test_the_wrong_code(tmp_path: Path) -> None:
    """An expired token is refused as malformed: at login alone, so the two disagree, too."""

    def other(path: str, answered: Answered) -> Answered:
        if path == "/messenger/login" and b"token_expired" in answered.body:
            return answered.with_json(lambda body: body.update(code="token_malformed"))
        return answered

    found = checked(tmp_path, answer=other)
    late = broken(Code.TOKEN_EXPIRED) - found.named("not_performed")
    assert found.named("failed") == {*late, "forward-auth agrees"}


def test_the_wrong_status(tmp_path: Path) -> None:
    """The right code with another status is not what clients expect."""

    def other(path: str, answered: Answered) -> Answered:
        if path == "/messenger/login" and answered.status == 422:
            return Answered(400, answered.headers, answered.body)
        return answered

    found = checked(tmp_path, answer=other)
    assert {row for row in found.named("failed") if row.startswith("broken: ")} == {
        name
        for name in broken(*(code for code in Code if code.startswith(("user_id_", "email_"))))
        if name in found.rows
    }


def test_no_challenge(tmp_path: Path) -> None:
    """RFC 6750: a 401 says how to come in."""
    found = checked(tmp_path, answer=lambda _path, answered: answered.without(b"www-authenticate"))
    refused = {name for name, row in found.rows.items() if row["expected"].startswith("401 ")}
    assert found.named("failed") == {"no token", *(refused - found.named("not_performed"))}


def test_answers_that_caches_may_store(tmp_path: Path) -> None:
    """R28: `Cache-Control: no-store` on an identity; on refusals as well."""

    def storable(path: str, answered: Answered) -> Answered:
        return answered.without(b"cache-control") if path == "/messenger/login" else answered

    found = checked(tmp_path, answer=storable)
    every = {name for name in found.rows if name.startswith("broken: ")} - found.named("not_performed")
    assert found.named("failed") == {"login", "no token", *every}


def test_not_ready(tmp_path: Path) -> None:
    """What is not ready is named."""

    def draining(path: str, answered: Answered) -> Answered:
        body = {"status": "unavailable", "checks": {"keys": "ok", "process": "draining"}}
        return Answered(503, answered.headers, json.dumps(body).encode()) if path == "/readyz" else answered

    found = checked(tmp_path, answer=draining)
    assert found.named("failed") == {"ready"}
    assert found.rows["ready"]["found"] == "503, process: draining"


def private_jwk() -> dict[str, Any]:
    key = generate_signing_key("ES256")
    return {**key.public_jwk(), "d": "AAAA"}


def twice() -> list[dict[str, Any]]:
    return [{**generate_signing_key("ES256").public_jwk(), "kid": "one"} for _ in range(2)]


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"keys": [private_jwk()]}, "private"),
        ({"keys": [{"kty": "oct", "kid": "1", "k": "c2VjcmV0"}]}, "symmetric"),
        ({"keys": twice()}, "same kid"),
        ({"keys": []}, "no key that verifies"),
        ({"keys": "many"}, "no JWK set"),
        ([], "no JWK set"),
        ({"keys": [{**generate_signing_key("ES256").public_jwk(), "kid": None}]}, "string"),
    ],
    ids=["private", "secret", "one kid twice", "empty", "no list", "no object", "no kid"],
)
def test_a_bad_key_set(tmp_path: Path, document: Any, told: str) -> None:
    """R11: only public keys that verify, each with a kid of its own."""

    def published(path: str, answered: Answered) -> Answered:
        if path != "/.well-known/jwks.json":
            return answered
        return Answered(200, [(b"content-type", b"application/jwk-set+json")], json.dumps(document).encode())

    found = checked(tmp_path, answer=published)
    assert found.named("failed") == {"key set"}
    assert told in found.rows["key set"]["found"]
    assert "AAAA" not in found.out
    assert "c2VjcmV0" not in found.out


def test_the_signer_is_not_published(tmp_path: Path) -> None:
    """The key set is that of the issuer who signs here, and holds other keys."""
    config = write_configuration(tmp_path)
    key = generate_signing_key("ES256")
    (tmp_path / "key.pem").write_bytes(key.private_pem())
    (tmp_path / "key.pem").chmod(0o600)
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [key.public_jwk()]}))
    config.write_text(f"""{config.read_text()}
[[workspaces.acme.issuers]]
name = "own"
issuer = "https://own.example"
audience = ["messenger"]
algorithms = ["ES256"]
user_id_claim = "user_id"
jwks_file = "jwks.json"
signing_key_file = "key.pem"
""")
    keys = [key.public_jwk()]

    def published(path: str, answered: Answered) -> Answered:
        if path == "/.well-known/openid-configuration":
            body: Any = {"issuer": "https://own.example", "jwks_uri": "https://own.example/.well-known/jwks.json"}
        elif path == "/.well-known/jwks.json":
            body = {"keys": keys}
        else:
            return answered
        return Answered(200, [], json.dumps(body).encode())

    good = checked(tmp_path, "--issuer", "own", config=config, answer=published)
    assert good.named("failed") == set()
    assert {good.rows[name]["outcome"] for name in ("discovery", "key set")} == {"passed"}
    keys[:] = [generate_signing_key("ES256").public_jwk()]
    found = checked(tmp_path, "--issuer", "own", config=config, answer=published)
    assert found.named("failed") == {"key set"}
    assert "is not among them" in found.rows["key set"]["found"]


@pytest.mark.parametrize(
    "document",
    [{}, {"issuer": "https://a.example"}, {"issuer": "https://a.example", "jwks_uri": "https://b.example/keys"}, []],
    ids=str,
)
def test_a_bad_discovery_document(tmp_path: Path, document: Any) -> None:
    """It names its issuer, and a key set of the same place."""

    def published(path: str, answered: Answered) -> Answered:
        good = path != "/.well-known/openid-configuration"
        return answered if good else Answered(200, [], json.dumps(document).encode())

    assert checked(tmp_path, answer=published).named("failed") == {"discovery"}


def test_it_hangs_on_forward_auth(tmp_path: Path) -> None:
    """An address that never answers fails alone, and is asked once by each row, however many tokens there are."""
    asked: list[str] = []

    async def wait(path: str) -> None:
        if path.startswith("/auth"):
            asked.append(path)
            await asyncio.sleep(5)

    found = checked(tmp_path, "--timeout", "0.5", wait=wait)
    assert found.named("failed") == {"forward-auth", "forward-auth agrees", "no token"}
    assert len(asked) == 3


def test_it_sends_elsewhere(tmp_path: Path) -> None:
    """A redirect is told, and never followed."""

    def elsewhere(_path: str, _answered: Answered) -> Answered:
        return Answered(301, [(b"location", b"https://elsewhere.example/")], b"")

    found = checked(tmp_path, answer=elsewhere)
    assert found.named("failed") == {"reachable"}
    assert "https://elsewhere.example/" in found.rows["reachable"]["found"]


def test_it_never_comes_to_an_end(tmp_path: Path) -> None:
    """An answer of any size costs a megabyte, no more."""

    def endless(path: str, answered: Answered) -> Answered:
        return Answered(200, [], b"x" * 3_000_000) if path == "/messenger/me" else answered

    found = checked(tmp_path, answer=endless)
    assert found.code == 1
    assert "does not end" in found.out


def test_a_broken_token_that_makes_somebody(tmp_path: Path) -> None:
    """Whom a token makes that should have been refused is named as left over: only our own contacts are removed."""
    config = write_configuration(tmp_path)
    lenient = tmp_path / "lenient"
    lenient.mkdir()
    server_config = lenient / "gateway.toml"
    exempt = 'exempt_placeholders = ["undefined"]'
    server_config.write_text(config.read_text().replace("[workspaces.acme]", f"[workspaces.acme]\n{exempt}"))
    (lenient / "secret").write_bytes((tmp_path / "secret").read_bytes())
    (lenient / "secret").chmod(0o600)
    with faulty_gateway(server_config) as url:
        found = check(url, config)
    assert found.named("failed") == {"broken: placeholder-undefined"}
    assert found.rows["removed"]["found"].count(",") == 1


def test_a_server_that_sends_tokens_back(tmp_path: Path) -> None:
    """What a refusal holds in place of a code is not repeated; a list without end is cut."""

    def telling(path: str, answered: Answered) -> Answered:
        if path == "/readyz":
            checks = {f"check {number}": "x" * 100 for number in range(1000)}
            return Answered(503, [], json.dumps({"checks": checks}).encode())
        if path == "/messenger/login" and answered.status == 401:
            return Answered(401, answered.headers, json.dumps({"code": "eyJhbGciOiJIUzI1NiJ9.e30.AAAA"}).encode())
        return answered

    found = checked(tmp_path, answer=telling)
    assert "eyJ" not in found.out
    assert len(found.rows["ready"]["found"]) < 500
    assert found.rows["broken: expired"]["found"] == "401"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"contact":' * 5000, b'{"contact": []}', b'{"contact": {"id": 5}}'],
)
def test_a_server_that_answers_nonsense(tmp_path: Path, body: bytes) -> None:
    """No answer of any shape is an accident of ours: the login fails, and what needs it is not performed."""

    def nonsense(path: str, answered: Answered) -> Answered:
        return Answered(200, [(b"x-contact-id", b"\xff\x01")], body) if path == "/messenger/login" else answered

    found = checked(tmp_path, answer=nonsense)
    assert (found.code, found.err) == (1, "")
    assert found.rows["login"]["outcome"] == "failed"
    assert found.rows["same contact"]["outcome"] == "not_performed"
