"""The README's snippets by which an upstream verifies an assertion: each is a file, run on what a gateway sent."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import Struct

from gateway.identity.issuing import issue_token
from keys.jwk import generate_signing_key
from keys.keyring import load_keyring
from tests.keyrings import add_key
from tests.node import installed
from tests.web.asserting import AUDIENCE, ISSUER, KEY_SET, NAME, OTHER, Asserting, asserting_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parent
SNIPPETS = {
    "python": TESTS / "examples/assertion/python/identity.py",
    "javascript": TESTS / "examples/assertion/node/identity.mjs",
}
# Each reads the tokens as JSON, and writes for each what the snippet returns, or the name of what it raises.
PROGRAMS = {
    "python": """
import json, sys, jwt
from identity import identity
def one(token):
    try:
        return identity(token)
    except jwt.PyJWTError as error:
        return type(error).__name__
json.dump([one(token) for token in json.load(sys.stdin)], sys.stdout)
""",
    "javascript": """
import { readFileSync } from 'node:fs'
import { identity } from './identity.mjs'
const tokens = JSON.parse(readFileSync(0, 'utf8'))
console.log(JSON.stringify(await Promise.all(tokens.map((token) => identity(token).catch((error) => error.code)))))
""",
}
LOCAL = "https://tokens.acme.example"


class Upstream(Struct, frozen=True):
    """A gateway with an issuer of its own beside the assertions, and a program that verifies with a snippet."""

    asserting: Asserting
    command: list[str]
    folder: Path

    def reads(self, *tokens: str) -> list[Any]:
        """What the snippet says of each: the claims, or why not."""
        url = f"http://127.0.0.1:{self.asserting.server.port}{KEY_SET}"
        done = subprocess.run(
            self.command,
            cwd=self.folder,
            input=json.dumps(tokens),
            env={**os.environ, "IDENTITY_JWKS_URL": url, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: list[Any] = json.loads(done.stdout)
        return found


@pytest.fixture(scope="module", name="asserting")
def _asserting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asserting]:
    """A gateway whose key set holds the key of an issuer of our own, too."""
    folder = tmp_path_factory.mktemp("asserting")
    add_key(folder / "own.json", "ES256")
    own = f"""
[workspaces.own]
[[workspaces.own.issuers]]
name = "own"
issuer = "{LOCAL}"
audience = ["login"]
algorithms = ["ES256"]
user_id_claim = "user_id"
keyring = "own.json"
"""
    with asserting_gateway(folder, others=own) as running:
        yield running


@pytest.fixture(params=SNIPPETS, name="upstream")
def _upstream(
    request: pytest.FixtureRequest,
    asserting: Asserting,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    worker_id: str,
) -> Upstream:
    source = SNIPPETS[request.param]
    (tmp_path / source.name).write_bytes(source.read_bytes())
    command = [sys.executable, "-c", PROGRAMS[request.param]]
    if request.param == "javascript":
        packages = installed(TESTS / "identity/interop", tmp_path_factory.getbasetemp(), worker_id)
        (tmp_path / "node_modules").symlink_to(packages / "node_modules")
        command = ["node", "--input-type=module", "-e", PROGRAMS[request.param]]
    return Upstream(asserting, command, tmp_path)


def test_it_reads_what_a_proxied_request_carries(upstream: Upstream) -> None:
    """From the gateway's own header to the person, over the gateway's own key set; from `/auth` just the same."""
    server = upstream.asserting.server
    token = server.token("o\u2019brien-\u5f35", email="obrien@example.com")
    assertions = [
        upstream.asserting.asserted("/chat/1", token),
        server.request("GET", "/auth/acme", token).headers[NAME],
    ]
    for claims in upstream.reads(*assertions):
        assert (claims["user_id"], claims["email"]) == ("o\u2019brien-\u5f35", "obrien@example.com")
        assert claims["sub"] == upstream.asserting.told()["x-contact-id"]


def test_b13_it_takes_nothing_else_for_an_assertion(upstream: Upstream) -> None:
    """Login tokens, of an issuer in the very same key set too, an access token, another upstream's, an expired one."""
    server = upstream.asserting.server
    (entry,) = load_keyring(server.folder / "own.json").keys
    key = load_keyring(server.folder / "assertion.json").keys[0].signing_key()
    login = {"iss": LOCAL, "aud": "login", "user_id": "user-1"}
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "6a1f0c2e9b3d5f7081a2b3c4"}
    typed = {"typ": "identity-assertion+jwt"}

    def signed(claims: dict[str, str], by: Any = key, header: Any = typed, ttl: float = 60, ago: float = 0) -> str:
        return issue_token(claims, by, ttl=ttl, now=time.time() - ago, header=header)

    own, strange = entry.signing_key(), generate_signing_key("ES256")
    others = {
        "a messenger token": server.token("user-1"),
        "a login token of the same key set": signed(login, own, None),
        "a login token with our iss and aud": signed({**login, **good}, own, None),
        "a login token with our typ": signed(login, own),
        "an access token": server.access_token,
        "for another upstream": upstream.asserting.asserted("/other/1", server.token("user-1")),
        "of another iss": signed({**good, "iss": OTHER}),
        "of no iss": signed({name: good[name] for name in ("aud", "sub")}),
        "for nobody": signed({name: good[name] for name in ("iss", "sub")}),
        "without typ": signed(good, header={"typ": ""}),
        "a login token by our key": signed(good, header=None),
        "past": signed(good, ago=90),
        "for ever": issue_token(good, key, ttl=None, now=0, header=typed),
        "about nobody": signed({name: good[name] for name in ("iss", "aud")}),
        "of a strange key": signed(good, strange),
        "of a strange key by our kid": signed(good, type(strange)(key.kid, "ES256", strange.material)),
        "nothing": "",
    }
    (claims,) = upstream.reads(signed(good))
    assert claims["sub"] == good["sub"]
    found = dict(zip(others, upstream.reads(*others.values()), strict=True))
    assert all(isinstance(reason, str) for reason in found.values()), found


def test_the_readme_shows_these_very_files() -> None:
    """One source: where the README shows how to verify, each block is a file that is tested here, and all are."""
    readme = (TESTS.parent / "README.md").read_text()
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    shown = [(language, text) for language, text in blocks if "IDENTITY_JWKS_URL" in text]
    assert shown in ([], [(language, path.read_text()) for language, path in SNIPPETS.items()])
