"""One verdict four ways: login, `/auth`, the reverse proxy and the middleware, over one corpus, agree about everybody.

By our own listener (express lane and ASGI) and by uvicorn with h11, with one worker and with four.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import Struct

from gateway.errors import Code
from gateway.web.enforcement import EXCUSED
from gateway.web.headers import one_spelling
from gateway.web.problems import forward_auth_status, status_of
from tests.corpus import bad_tokens
from tests.web.conftest import Reply, Server, await_answer, free_port, running_gateway
from tests.web.proxies.conftest import RESERVED, spellings
from tests.web.proxies.echo import running_echo, seen_in
from tests.web.test_bad_input import signers
from tests.web.test_lifecycle_api import create, step
from tests.web.test_logout import es256, logout, until

if TYPE_CHECKING:
    from collections.abc import Iterator

Pairs = list[tuple[str, str]]

ENFORCED = {
    "login": ("POST", "/messenger/login"),
    "me": ("GET", "/messenger/me"),
    "auth": ("GET", "/auth"),
    "proxy": ("GET", "/chat/1"),
    "middleware": ("GET", "/app/whoami"),
}
REPORTED = {
    "login": ("POST", "/messenger/login?platform=web"),
    "me": ("GET", "/messenger/me?platform=web"),
    "auth": ("GET", "/auth/acme/web"),
    "proxy": ("GET", "/web/1"),
    "middleware": ("GET", "/app/web/whoami"),
}
OPTIONAL = {"proxy": ("GET", "/maybe/1"), "middleware": ("GET", "/app/maybe/whoami")}

SERVED = {
    "lane, 1 worker": (True, 1, "gateway.web.protocol:StrictProtocol"),
    "ASGI, 4 workers": (False, 4, "gateway.web.protocol:StrictProtocol"),
    "lane, 4 workers": (True, 4, "h11"),
    "h11, 1 worker": (None, 1, "h11"),
    "h11, 4 workers": (None, 4, "h11"),
}
"""Whether our listener has its lane (None: uvicorn serves the gateway, too), the workers, and uvicorn's protocol."""

KEPT = 40
"""So many requests a connection, so that all workers are asked."""


class Verdict(Struct, frozen=True):
    """What one way says: passed as this contact (None: as nobody), or refused with this code (None: by the server)."""

    passed: bool
    contact_id: str | None
    code: str | None
    status: int
    detail: str | None
    challenge: str | None
    headers: Pairs = []
    """What the application behind sees, where it tells."""


class Ways(Struct, frozen=True):
    """The servers, and the connections to them."""

    server: Server
    ports: dict[str, int]
    connections: dict[str, tuple[http.client.HTTPConnection, int]]

    def ask(self, way: str, address: tuple[str, str], pairs: Pairs) -> Verdict:
        """What one way says to a request with these headers, duplicates and all."""
        connection, asked = self.connections.pop(way, (None, 0))
        if connection is None or asked >= KEPT:
            if connection is not None:
                connection.close()
            connection, asked = http.client.HTTPConnection("127.0.0.1", self.ports[way], timeout=60), 0
        self.connections[way] = connection, asked + 1
        connection.putrequest(*address)
        for name, value in pairs:
            connection.putheader(name, value)
        connection.endheaders()
        return _verdict(way, connection.getresponse())

    def raw(self, way: str, request: bytes) -> Verdict:
        """What one way says to these bytes, on a connection of their own."""
        with socket.create_connection(("127.0.0.1", self.ports[way]), timeout=60) as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(request)
            response = http.client.HTTPResponse(connection)
            response.begin()
            return _verdict(way, response)

    def agreed(self, pairs: Pairs, endings: dict[str, tuple[str, str]] = ENFORCED) -> Verdict:
        """What all ways say, or the test fails; the status is that of all but `/auth`, whose own is looked at here."""
        verdicts = {way: self.ask(way, address, pairs) for way, address in endings.items()}
        return _one(verdicts)


def _one(verdicts: dict[str, Verdict]) -> Verdict:
    """The one verdict behind several."""
    first = next(iter(verdicts.values()))
    for way, verdict in verdicts.items():
        assert (verdict.passed, verdict.contact_id) == (first.passed, first.contact_id), verdicts
        if not verdict.passed:
            assert (verdict.code, verdict.detail) == (first.code, first.detail), verdicts
            assert verdict.code is not None, verdicts
            status = status_of(Code(verdict.code))
            assert verdict.status == (forward_auth_status(status) if way == "auth" else status), verdicts
            if verdict.status == first.status:
                assert verdict.challenge == first.challenge, verdicts
    return first


def _verdict(way: str, response: http.client.HTTPResponse) -> Verdict:
    pairs = [(name.lower(), value) for name, value in response.getheaders()]
    reply = Reply(response.status, dict(pairs), response.read())
    is_json = reply.headers.get("content-type", "") in {"application/json", "application/problem+json"}
    body: dict[str, Any] = reply.json() if is_json else {}
    code = reply.headers.get("x-identity-error") if way == "auth" else body.get("code")
    passed = reply.status == 200
    seen: Pairs = []
    contact_id = None
    if passed and way in {"login", "me"}:
        contact_id = body["contact"] and body["contact"]["id"]
    elif passed and way == "auth":
        contact_id, seen = reply.headers.get("x-contact-id"), pairs
    elif passed and way == "proxy":
        seen = seen_in(reply.body).headers
        contact_id = dict(seen).get("x-contact-id")
    elif passed:
        contact_id, seen = body["contact_id"], [(name, value) for name, value in body["headers"]]
    challenge = reply.headers.get("www-authenticate")
    return Verdict(passed, contact_id, code, reply.status, body.get("detail"), challenge, seen)


@contextlib.contextmanager
def running_uvicorn(config: Path, *, http: str, workers: int) -> Iterator[int]:
    """The port of `four_ways_app` under uvicorn's own command."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "tests.web.four_ways_app:app", "--http", http, "--port", str(port)]
    command += ["--workers", str(workers), "--no-access-log", "--log-level", "warning"]
    environ = {**os.environ, "FOUR_WAYS_CONFIG": str(config)}
    with (config.parent / "uvicorn.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=Path(__file__).parents[2], env=environ, stdout=log, stderr=log)
    try:
        await_answer(process, port)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module", params=SERVED, name="ways")
def _ways(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    lane, workers, protocol = SERVED[request.param]
    folder = tmp_path_factory.mktemp("ways")
    with running_echo() as echo:
        upstream = f'upstream = "http://127.0.0.1:{echo.port}"'
        routes = ['prefix = "/chat/"', 'prefix = "/web/", platform = "web"', 'prefix = "/maybe/", access = "optional"']
        tables = ", ".join(f"{{ {route}, {upstream} }}" for route in routes)
        extra = f'archived_login = "reject"\nenforcement = {{ web = "report" }}\nroutes = [{tables}]'
        with (
            running_gateway(folder, lane=lane is True, workers=1 if lane is None else workers, extra=extra) as server,
            running_uvicorn(folder / "gateway.toml", http=protocol, workers=workers) as port,
        ):
            ports = dict.fromkeys(ENFORCED, port if lane is None else server.port) | {"middleware": port}
            ways = Ways(server, ports, {})
            yield ways
            for connection, _ in ways.connections.values():
                connection.close()


def bearer(token: str | bytes) -> tuple[str, str]:
    """The credential."""
    return ("Authorization", f"Bearer {token if isinstance(token, str) else token.decode()}")


def test_good_tokens_are_the_same_contact(ways: Ways) -> None:
    """Both issuers, ids and emails of every kind, at first sight and afterwards: one contact by every way."""
    server = ways.server
    tokens = [server.token(user_id) for user_id in ("good-1", 42, "caf\u00e9", "\u5f20\u4e09", "a%2Fb", "ab" * 127)]
    tokens += [server.token(None, email="good@example.com"), server.token("good-2", email="Good-2@Example.com")]
    tokens += [es256(server, "good-3"), es256(server, "good-1"), server.token("good-4", ttl=None)]
    found = [ways.agreed([bearer(token)]) for token in tokens for _ in range(2)]
    assert all(verdict.passed for verdict in found)
    ids = [verdict.contact_id for verdict in found]
    assert ids[::2] == ids[1::2]
    assert None not in ids
    assert len(set(ids)) == len(tokens) - 1  # good-1 comes from both issuers
    for token, contact_id in zip(tokens, ids[::2], strict=True):
        for endings in (REPORTED, OPTIONAL):
            assert ways.agreed([bearer(token)], endings).contact_id == contact_id


def test_bad_tokens_meet_their_code(ways: Ways) -> None:
    """The whole corpus of bad tokens, of both kinds of issuers: one code, one sentence, one challenge, nobody found."""
    asked = 0
    for signer in signers(ways.server):
        for bad in bad_tokens(signer):
            if bad.fits_a_header:
                verdict = ways.agreed([bearer(bad.token)])
                assert (verdict.passed, verdict.code) == (False, bad.code), bad.name
                asked += 1
    assert asked > 300


def test_where_nothing_is_enforced_the_same_nobodies_pass(ways: Ways) -> None:
    """The corpus on a platform in `report`: what is excused passes as nobody by every way, the rest is refused."""
    for signer in signers(ways.server):
        for bad in bad_tokens(signer)[::3]:
            if bad.fits_a_header:
                verdict = ways.agreed([bearer(bad.token)], REPORTED)
                assert (verdict.passed, verdict.contact_id) == (bad.code in EXCUSED, None), bad.name
    assert ways.agreed([], REPORTED).passed
    two = ways.agreed([bearer("a.b.c"), bearer("a.b.d")], REPORTED)
    assert (two.passed, two.code) == (False, "credentials_conflict")


def test_b18_optional_is_for_nothing_not_for_bad(ways: Ways) -> None:
    """Route and middleware that ask for no token: without one nobody, with a bad one the code of all other ways."""
    for nothing in ([], [("Authorization", "Basic dTpw")], [("X-Contact-Id", "0" * 24)]):
        verdict = ways.agreed(nothing, OPTIONAL)
        assert (verdict.passed, verdict.contact_id) == (True, None)
    for signer in signers(ways.server):
        for bad in bad_tokens(signer)[::7]:
            if bad.fits_a_header:
                assert ways.agreed([bearer(bad.token)], OPTIONAL).code == bad.code, bad.name


def test_b01_spoofed_headers_change_no_verdict(ways: Ways) -> None:
    """Random spellings beside a good token, a bad one and none: the same verdict, and none of them arrives."""
    rng = random.Random(11)
    token = ways.server.token("honest")
    contact_id = ways.agreed([bearer(token)]).contact_id
    for number in range(60):
        spoofed = spellings(rng, 10)
        spoofed.append(("Connection", f"keep-alive, {rng.choice(spoofed)[0]}, X-Contact-Id"))
        credential = [[bearer(token)], [bearer("a.b.c")], []][number % 3]
        endings = (ENFORCED, REPORTED, OPTIONAL)[number // 3 % 3]
        for way, address in endings.items():
            verdict = ways.ask(way, address, [*credential, *spoofed])
            assert verdict.contact_id == (contact_id if number % 3 == 0 else None)
            assert verdict.passed == (
                number % 3 == 0 or endings is REPORTED or (endings is OPTIONAL and not credential)
            )
            names = [name for name, _ in verdict.headers if one_spelling(name.encode()).decode() in RESERVED]
            assert len(names) == len(set(names))
            assert "spoofed" not in str(verdict.headers)


TOKEN = b"Authorization: Bearer %b\r\n"
SHAPES = {
    "nothing": b"",
    "basic": b"Authorization: Basic dTpw\r\n",
    "good": TOKEN,
    "good, twice": TOKEN + TOKEN,
    "good and basic": TOKEN + b"Authorization: Basic dTpw\r\n",
    "in lower case": b"authorization: bearer %b\r\n",
    "in upper case": b"AUTHORIZATION: BEARER %b\r\n",
    "blanks around": b"Authorization:   Bearer    %b  \r\n",
    "a tab": b"Authorization: Bearer\t%b\r\n",
    "no blank": b"Authorization: Bearer%b\r\n",
    "a comma": b"Authorization: Bearer %b,\r\n",
    "two in one": b"Authorization: Bearer %b, Bearer %b\r\n",
    "quoted": b'Authorization: Bearer "%b"\r\n',
    "empty": b"Authorization: Bearer \r\n",
    "empty field": b"Authorization:\r\n",
    "latin-1": b"Authorization: Bearer %b\xff\r\n",
    "underscore": b"Authorization_: Bearer %b\r\n",
    "another field": b"Proxy-Authorization: Bearer %b\r\nX-Forwarded-Authorization: Bearer %b\r\n",
    "a cookie": b"Cookie: token=%b; Authorization=Bearer %b\r\n",
    "nominated away": TOKEN + b"Connection: authorization\r\n",
    "folded": b"Authorization: Bearer\r\n %b\r\n",
    "two hosts": TOKEN + b"Host: other\r\n",
    "an upgrade": TOKEN + b"Upgrade: h2c\r\nConnection: Upgrade\r\n",
    "an expectation": TOKEN + b"Expect: 100-continue\r\n",
    "no body": TOKEN + b"Content-Length: 0\r\n",
    "large": TOKEN + b"X: " + b"x" * 33_000 + b"\r\n",
    "from elsewhere": TOKEN + b"X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Uri: /public\r\nX-Original-URL: /healthz\r\n",
    "from elsewhere, nobody": b"X-Forwarded-User: root\r\nX-Forwarded-Uri: /healthz\r\nX-Original-Method: OPTIONS\r\n",
    "a health check": b"User-Agent: kube-probe/1.30\r\nX-Forwarded-Uri: /healthz\r\n",
}

LEFT_TO_PARSERS = {"latin-1", "folded", "two hosts"}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
def test_odd_requests_meet_one_verdict(ways: Ways, shape: str, version: bytes) -> None:
    """However the credential is put: all ways let it in, as the same contact, or none does.

    A parser may refuse more than another one, with a 400 of its own; then what the others say is one verdict.
    """
    token = ways.server.token("odd").encode()
    lines = SHAPES[shape].replace(b"%b", token)
    verdicts = {}
    for way, (method, path) in ENFORCED.items():
        start = b"%b %b %b\r\nHost: gateway\r\nConnection: close\r\n" % (method.encode(), path.encode(), version)
        verdicts[way] = ways.raw(way, start + lines + b"\r\n")
    # At `/auth` what we refuse is a 401 with its code, so a 400 is the parser's, and then it is that of its neighbours.
    listener = [way for way in ENFORCED if way != "middleware" and verdicts["auth"].status == 400]
    application = ["middleware"] if verdicts["middleware"].code in {None, "request_invalid"} else []
    by_parser = [way for way in [*listener, *application] if not verdicts[way].passed]
    assert {verdicts[way].status for way in by_parser} <= {400}
    assert not (listener and any(verdicts[way].passed for way in listener))
    assert not by_parser or shape in LEFT_TO_PARSERS
    others = {way: verdict for way, verdict in verdicts.items() if way not in by_parser}
    if others:
        verdict = _one(others)
        assert verdict.passed == (verdict.contact_id is not None)


def test_b14_what_becomes_of_somebody_acts_by_every_way(ways: Ways) -> None:
    """Logged out, blocked, archived, merged: let in and remembered by all, soon refused by all, or the survivor."""
    server = ways.server
    people = {name: server.token(f"state-{name}") for name in ("revoked", "blocked", "archived", "merged")}
    ids = {name: ways.agreed([bearer(token)]).contact_id for name, token in people.items()}
    phone = "+49 30 123456"  # two that identify somebody are merged only when they share one
    survivor = create(server, external_id=f"survivor-of-{ids['merged']}", phone=phone)
    assert server.admin("PUT", f"/contacts/{ids['merged']}", {"phone": phone}).status == 200
    assert logout(server, people["revoked"]).status == 200
    assert step(server, str(ids["blocked"]), "block").status == 200
    assert step(server, str(ids["archived"]), "archive").status == 200
    assert server.admin("POST", "/contacts/merge", {"from": ids["merged"], "into": survivor}).status == 200
    expected = {
        "revoked": (False, None, "token_revoked"),
        "blocked": (False, None, "contact_blocked"),
        "archived": (False, None, "contact_archived"),
        "merged": (True, survivor, None),
    }

    def settled() -> bool:
        """Whether every way, asked again and again by connections of its own, says what is expected."""
        for name, token in people.items():
            for way, (method, path) in ENFORCED.items():
                for _ in range(10):
                    head = f"{method} {path} HTTP/1.1\r\nHost: g\r\nConnection: close\r\nAuthorization: Bearer {token}"
                    verdict = ways.raw(way, head.encode() + b"\r\n\r\n")
                    if (verdict.passed, verdict.contact_id, verdict.code) != expected[name]:
                        return False
        return True

    until(settled)
    for name, token in people.items():
        for endings in (ENFORCED, REPORTED, OPTIONAL):
            verdict = ways.agreed([bearer(token)], endings)
            assert (verdict.passed, verdict.contact_id, verdict.code) == expected[name]
