"""Behind a proxy that the team runs already, the upstream knows who it is, and nobody can write it himself."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import jwt
import pytest

from tests.web.asserting import AUDIENCE, ISSUER, assertion_table
from tests.web.conftest import running_gateway
from tests.web.proxies.conftest import Proxied, bearer, dark_bearer, identity_of, spellings
from tests.web.proxies.running import running_proxy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.web.proxies.conftest import Pairs
    from tests.web.proxies.echo import Echo

SPELLINGS = 1000
EACH = 10
"""How many spoofed headers one request carries."""


def spoofed_requests(seed: int) -> list[Pairs]:
    """A thousand random spellings, ten a request, and in each request some nominated by `Connection`."""
    rng = random.Random(seed)
    requests = []
    for _ in range(SPELLINGS // EACH):
        pairs = spellings(rng, EACH)
        nominated = ", ".join(["keep-alive", *(name for name, _ in rng.sample(pairs, 3))])
        requests.append([*pairs, ("Connection", nominated)])
    return requests


def test_a_token_of_the_command_line_is_one_contact_everywhere(proxy: Proxied) -> None:
    """`gateway token issue` makes it, login meets the same id twice, and the upstream sees that id (the main job)."""
    server = proxy.server
    command = [sys.executable, "-m", "gateway", "token", "issue", "--config", str(server.folder / "gateway.toml")]
    command += ["--issuer", "messenger", "--user-id", f"from-{proxy.kind}", "--email", f"{proxy.kind}@example.com"]
    token = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    first, second = server.login(token), server.login(token)
    assert (first.status, second.status, first.json()["identity"]["created"]) == (200, 200, True)
    contact_id = first.json()["contact"]["id"]
    assert second.json()["contact"]["id"] == contact_id
    assert identity_of(proxy.seen([bearer(token)])) == {
        "x-contact-id": contact_id,
        "x-user-id": f"from-{proxy.kind}",
        "x-user-email": f"{proxy.kind}@example.com",
        "x-identity-matched-by": "external_id",
    }


def test_b01_spoofed_spellings_do_not_arrive_with_a_token(proxy: Proxied) -> None:
    """A thousand random spellings beside a good token, over kept connections: the upstream sees ours alone (B02)."""
    token = proxy.server.token("honest")
    contact_id = proxy.server.login(token).json()["contact"]["id"]
    ours = {"x-contact-id": contact_id, "x-user-id": "honest", "x-identity-matched-by": "external_id"}
    with proxy.client() as client:
        for pairs in spoofed_requests(1):
            seen = proxy.seen([bearer(token), *pairs], client=client)
            assert identity_of(seen) == ours
            assert "spoofed" not in str(seen.headers)
            nominated = {name.strip().lower() for value in seen.values("connection") for name in value.split(",")}
            assert nominated <= {"", "close", "keep-alive"}, "the next one behind us would take off what we put on"


def test_b01_spoofed_spellings_do_not_arrive_without_a_name(proxy: Proxied, lenient: Proxied) -> None:
    """Nor where nobody is asked for, nor where nothing is enforced: who has no name has none at the upstream (B19)."""
    with proxy.client() as client, lenient.client() as other:
        for number, pairs in enumerate(spoofed_requests(2)):
            credential = [[], [bearer("a.b.c")], [bearer(proxy.server.token("undefined"))]][number % 3]
            public = proxy.seen([*credential, *pairs], "/public/page", client)
            unverified = lenient.seen([*credential, *pairs], client=other)
            for seen in (public, unverified):
                assert identity_of(seen) == {}
                assert "spoofed" not in str(seen.headers)
                assert not seen.values("authorization")


def test_b01_spoofed_spellings_help_nobody_who_is_refused(proxy: Proxied, dark: Proxied, down: Proxied) -> None:
    """Nor with a refusal, an outage of the gateway or no gateway: nothing arrives, and nothing comes back."""
    before = len(proxy.echo.requests)
    cases: list[tuple[Proxied, Pairs, int]] = [
        (proxy, [], 401),
        (proxy, [bearer("a.b.c")], 401),
        (proxy, [bearer(proxy.server.token("undefined"))], 403),
        (dark, [dark_bearer()], 503),
        (down, [bearer(proxy.server.token("ada"))], 503),
    ]

    def refused(number: int, pairs: Pairs) -> None:
        one, credential, status = cases[number % len(cases)]
        reply = one.ask([*credential, *pairs])
        assert reply.status == status, (number, reply)
        assert "spoofed" not in str(reply)
        assert not {name for name in reply.headers if name.startswith(("x-contact", "x-user", "x-forwarded"))}

    # At once, for HAProxy tries for three seconds before it believes that nobody is there.
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(refused, *zip(*enumerate(spoofed_requests(3)), strict=True)))
    assert len(proxy.echo.requests) == before


def test_odd_names_arrive_in_their_one_spelling(proxy: Proxied) -> None:
    """Non-ASCII and `%` come percent-encoded through every proxy, so no two ids look alike (A25)."""
    for user_id, spelled in (("caf\u00e9", "caf%C3%A9"), ("caf%C3%A9", "caf%25C3%25A9"), ("\u5f20", "%E5%BC%A0")):
        assert proxy.seen([bearer(proxy.server.token(user_id))]).values("x-user-id") == [spelled]


def test_b12_the_token_stays_behind(proxy: Proxied, lenient: Proxied) -> None:
    """Neither a good token nor a bad one reaches the upstream, whichever way the request passes."""
    token = proxy.server.token("ada")
    seen = [proxy.seen([bearer(token)]), proxy.seen([bearer(token)], "/public/page"), lenient.seen([bearer("a.b.c")])]
    for one in seen:
        assert not one.values("authorization")
        assert token not in str(one)


def test_c10_a_kept_connection_carries_nobody_over(proxy: Proxied) -> None:
    """On one connection come A, nobody, B, a bad token, A; and two connections in turns: each is only who it says."""
    tokens = {name: proxy.server.token(name) for name in ("kept-a", "kept-b")}
    with proxy.client() as client, proxy.client() as other:
        for name in ("kept-a", None, "kept-b", "bad", "kept-a", None):
            if name in tokens:
                assert proxy.seen([bearer(tokens[name])], client=client).values("x-user-id") == [name]
                assert identity_of(proxy.seen([], "/public/page", client)) == {}
            else:
                assert proxy.ask([bearer("a.b.c")] if name else [], client=client).status == 401
        for _ in range(20):
            for one, (name, token) in zip((client, other), tokens.items(), strict=True):
                assert proxy.seen([bearer(token)], client=one).values("x-user-id") == [name]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_path_query_and_body_arrive_as_sent(proxy: Proxied, method: str) -> None:
    """Method, path, query and a body of three megabytes: the upstream gets them unchanged, and the gateway none."""
    assert proxy.recorder is not None
    body = os.urandom(3_000_000) if method in {"POST", "PUT", "PATCH"} else None
    target = "/chat/caf%C3%A9/~a;b=c?app_id=other&platform=ios&x=%2F%00%ff&y='[]&z=a+b"
    proxy.recorder.forget()
    reply = proxy.ask([bearer(proxy.server.token("sender"))], method=method, target=target, body=body)
    assert reply.status == 200
    seen = proxy.echo.requests[-1]
    assert (seen.method, seen.target, seen.length) == (method, target, len(body or b""))
    assert seen.sha256 == hashlib.sha256(body or b"").hexdigest()
    assert seen.values("x-user-id") == ["sender"]
    questions = proxy.recorder.questions
    assert len(questions) < 4096
    assert questions.count(b" /auth HTTP/1.") == 1
    assert b"app_id" not in questions
    assert questions.endswith(b"\r\n\r\n")


def test_an_assertion_arrives_and_is_ours(kind: str, tmp_path: Path, echo: Echo) -> None:
    """Where one is configured, each proxy hands on what the published keys verify, and nothing that a client wrote.

    It says of whom it is, so an upstream behind a proxy need not trust the headers beside it.
    """
    table = assertion_table(tmp_path, AUDIENCE)
    with (
        running_gateway(tmp_path, others=table) as server,
        running_proxy(kind, tmp_path, gateway=server.port, upstream=echo.port) as port,
    ):
        proxied = Proxied(kind, port, server, echo, None)
        forged = [(name, "a.b.c") for name in ("X-Identity-Assertion", "x_identity_assertion", "X.Identity.Assertion")]
        found = identity_of(proxied.seen([bearer(server.token("asserted")), *forged]))
        jwks = server.request("GET", "/.well-known/jwks.json").json()
        header = jwt.get_unverified_header(found["x-identity-assertion"])
        (key,) = [jwt.PyJWK(one) for one in jwks["keys"] if one["kid"] == header["kid"]]
        claims = jwt.decode(found["x-identity-assertion"], key, algorithms=["ES256"], issuer=ISSUER, audience=AUDIENCE)
        assert claims["sub"] == found["x-contact-id"]
        assert identity_of(proxied.seen(forged, "/public/page")) == {}
        # Nor does it let anybody in (B13).
        assert proxied.ask([bearer(found["x-identity-assertion"])]).status == 401
