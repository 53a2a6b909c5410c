"""What we publish about our own keys: read by other people's libraries, kept for a minute, public members alone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet as JoserfcKeySet
from msgspec import Struct

from tests.keyrings import add_key
from tests.node import installed
from tests.web.conftest import await_answer, free_port, running_gateway

with warnings.catch_warnings(record=True):
    # Authlib points to joserfc, which is tested beside it; applications still verify with what they have.
    from authlib.jose import JsonWebKey, JsonWebToken  # type: ignore[import-untyped]  # Authlib ships no types

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.web.conftest import Reply, Server

KEY_SET, DISCOVERY = "/.well-known/jwks.json", "/.well-known/openid-configuration"
BOTH = pytest.mark.parametrize("path", [KEY_SET, DISCOVERY])
INTEROP = Path(__file__).parents[1] / "identity/interop"
PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k", "material"}


def own_issuer(folder: Path, name: str, issuer: str, algorithm: str = "ES256") -> str:
    """Settings of an issuer of ours, whose keyring has a key already."""
    add_key(folder / f"{name}.json", algorithm)
    return f"""
[[workspaces.own.issuers]]
name = "{name}"
issuer = "{issuer}"
audience = ["chat"]
algorithms = ["{algorithm}"]
keyring = "{folder / name}.json"
"""


def messenger(folder: Path) -> str:
    """Settings of a messenger whose secrets lie in a keyring."""
    add_key(folder / "messenger.json", "HS256", "m-1")
    return f"""
[[workspaces.own.issuers]]
name = "messenger"
profile = "intercom"
keyring = "{folder / "messenger.json"}"
"""


@pytest.fixture(scope="module")
def publishing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A gateway with one issuer of our own beside a messenger and somebody else's keys."""
    folder = tmp_path_factory.mktemp("publishing")
    others = "[workspaces.own]" + messenger(folder) + own_issuer(folder, "tokens", "https://tokens.acme.example")
    with running_gateway(folder, others=others) as running:
        yield running


def get(server: Server, path: str, method: str = "GET", **headers: str) -> Reply:
    return server.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_the_key_set(publishing: Server) -> None:
    """R11: the public half of each key of ours, with `kid`, `alg` and `use`; no secret, nobody else's key."""
    reply = get(publishing, KEY_SET)
    assert (reply.status, reply.headers["content-type"]) == (200, "application/jwk-set+json")
    (jwk,) = reply.json()["keys"]
    assert jwk.keys() == {"kty", "crv", "x", "y", "kid", "alg", "use"}
    assert (jwk["alg"], jwk["use"]) == ("ES256", "sig")
    own = json.loads((publishing.folder / "tokens.json").read_text())["keys"][0]
    assert jwk["kid"] == own["kid"]
    secret = json.loads((publishing.folder / "messenger.json").read_text())["keys"][0]["material"]
    assert secret.encode() not in reply.body
    assert not PRIVATE & jwk.keys()


def test_the_discovery_document(publishing: Server) -> None:
    """OpenID Connect Discovery 1.0 section 3: `issuer` is the exact iss, `jwks_uri` stands below it."""
    reply = get(publishing, DISCOVERY)
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json() == {
        "issuer": "https://tokens.acme.example",
        "jwks_uri": f"https://tokens.acme.example{KEY_SET}",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }


@BOTH
def test_copies_are_kept_for_a_minute(publishing: Server, path: str) -> None:
    """An ETag, 304 for whoever has that version, in every way in which it may be asked; from any page of the web."""
    reply = get(publishing, path)
    kept = {name: reply.headers[name] for name in ("etag", "cache-control", "access-control-allow-origin")}
    assert kept["cache-control"] == "public, max-age=60"
    assert kept["access-control-allow-origin"] == "*"
    tag = kept["etag"]
    for held in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = get(publishing, path, if_none_match=held)
        assert (again.status, again.body) == (304, b"")
        assert {name: again.headers[name] for name in kept} == kept
    for held in ('"other"', tag.strip('"'), ""):
        assert get(publishing, path, if_none_match=held).status == 200


@BOTH
def test_head(publishing: Server, path: str) -> None:
    """The headers of GET without its body."""
    asked, got = get(publishing, path, "HEAD"), get(publishing, path)
    assert (asked.status, asked.body) == (200, b"")
    without_date = [{**reply.headers, "date": ""} for reply in (asked, got)]
    assert without_date[0] == without_date[1]


@BOTH
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
def test_other_methods(publishing: Server, path: str, method: str) -> None:
    """405, naming what there is."""
    reply = get(publishing, path, method)
    assert reply.status == 405
    assert set(reply.headers["allow"].replace(" ", "").split(",")) == {"GET", "HEAD"}


@BOTH
def test_credentials_change_nothing(publishing: Server, path: str) -> None:
    """The documents are the same for everybody, and no token is looked at."""
    assert publishing.request("GET", path, "not.a.token").body == get(publishing, path).body


@BOTH
def test_without_keys_of_our_own_there_is_nothing(either: Server, path: str) -> None:
    """Somebody else's JWKS file and a messenger's secrets are not ours to publish."""
    assert get(either, path).status == 404


def test_of_two_issuers_none_is_discovered(tmp_path: Path) -> None:
    """The key set has the keys of both; a discovery document could speak for one alone."""
    others = "[workspaces.own]" + own_issuer(tmp_path, "a", "https://a.example", "RS256")
    with running_gateway(tmp_path, others=others + own_issuer(tmp_path, "b", "https://b.example", "EdDSA")) as server:
        jwks = get(server, KEY_SET).json()["keys"]
        assert [jwk["kty"] for jwk in jwks] == ["RSA", "OKP"]
        assert not any(PRIVATE & jwk.keys() for jwk in jwks)
        assert get(server, DISCOVERY).status == 404


def test_an_issuer_that_is_no_url_is_not_discovered(tmp_path: Path) -> None:
    """Its keys are published all the same: whoever trusts it was told where they are."""
    others = "[workspaces.own]" + own_issuer(tmp_path, "a", "acme-tokens")
    with running_gateway(tmp_path, others=others) as server:
        assert get(server, KEY_SET).status == 200
        assert get(server, DISCOVERY).status == 404


class Local(Struct, frozen=True):
    """Development mode in a folder of its own."""

    folder: Path
    issuer: str

    def run(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "gateway", *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout.strip()

    def token(self, user_id: str = "user-1") -> str:
        return self.run("token", "issue", "--issuer", "local", "--user-id", user_id)

    def published(self) -> Any:
        """The key set as it stands now."""
        with urllib.request.urlopen(self.issuer + KEY_SET, timeout=30) as answer:
            return json.load(answer)

    def kids(self) -> list[str]:
        """The ids of the local issuer's keys in the key set; that of the assertions' key stands behind them."""
        *kids, _ = [jwk["kid"] for jwk in self.published()["keys"]]
        return kids

    def published_with(self, kid: str) -> list[str]:
        """The same once this one is among them: a running gateway looks once a second."""
        for _ in range(1000):
            kids = self.kids()
            if kid in kids:
                return kids
            time.sleep(0.02)
        raise AssertionError(f"{kid} was not published")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A running development mode."""
    folder = tmp_path_factory.mktemp("local")
    port, admin_port = free_port(), free_port()
    command = [sys.executable, "-m", "gateway", "serve"]
    command += ["--public", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin_port}"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        try:
            await_answer(process, port)
            yield Local(folder, f"http://127.0.0.1:{port}")
        finally:
            process.terminate()


def discovered(local: Local) -> Any:
    with urllib.request.urlopen(local.issuer + DISCOVERY, timeout=30) as answer:
        return json.load(answer)


def test_pyjwt_finds_the_key(local: Local) -> None:
    """PyJWT's own client, given the discovered address: the token of the command line verifies."""
    found = discovered(local)
    token = local.token()
    key = jwt.PyJWKClient(found["jwks_uri"]).get_signing_key_from_jwt(token)
    claims = jwt.decode(
        token,
        key,
        algorithms=found["id_token_signing_alg_values_supported"],
        issuer=local.issuer,
        audience="messenger",
    )
    assert (claims["user_id"], found["issuer"]) == ("user-1", local.issuer)


def test_joserfc_and_authlib_take_the_set(local: Local) -> None:
    """The set as a whole, with `use` and `alg` as these libraries want them."""
    token = local.token()
    jwks = local.published()
    assert joserfc_jwt.decode(token, JoserfcKeySet.import_key_set(jwks), ["ES256"]).claims["iss"] == local.issuer
    claims = JsonWebToken(["ES256"]).decode(token, JsonWebKey.import_key_set(jwks))
    claims.validate()
    assert claims["aud"] == "messenger"


def test_jose_follows_the_discovery(local: Local, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> None:
    """Node's `jose`, given the issuer alone, finds everything else by itself."""
    folder = installed(INTEROP, tmp_path_factory.getbasetemp(), worker_id)
    job = {"issuer": local.issuer, "audience": "messenger", "token": local.token("\u5f35")}
    done = subprocess.run(
        ["node", "remote_keys.mjs"],
        cwd=folder,
        input=json.dumps(job),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    verified = json.loads(done.stdout)
    assert verified["payload"]["user_id"] == "\u5f35"
    assert verified["kid"] in {jwk["kid"] for jwk in local.published()["keys"]}


def test_a_rotation_is_published_before_it_signs(local: Local) -> None:
    """Beside the running gateway: two keys stand there within a moment, the old one still signs, both verify."""
    (before,) = local.kids()
    old = local.token()
    made = json.loads(local.run("keys", "rotate", "local", "--json"))["key"]["kid"]
    assert local.published_with(made) == [before, made]
    assert jwt.get_unverified_header(local.token())["kid"] == before
    local.run("keys", "rotate", "local", "--at-once")
    new = local.token()
    newest = jwt.get_unverified_header(new)["kid"]
    assert newest not in {before, made}
    assert local.published_with(newest) == [before, newest]
    client = jwt.PyJWKClient(local.issuer + KEY_SET)
    for token in (old, new):
        key = client.get_signing_key_from_jwt(token)
        assert jwt.decode(token, key, algorithms=["ES256"], audience="messenger")["iss"] == local.issuer
