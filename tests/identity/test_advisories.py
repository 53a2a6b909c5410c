"""Published attacks on JOSE libraries, each as a test under its number in the fact sheet of peers (section A).

The wide tables stand elsewhere: forms of tokens and keys in the corpus, key material in `tests/keys`. What is here has
a number and no other home. A07 to A11 concern fetched key sets.
"""

from __future__ import annotations

import ast
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.errors import Code, Refusal
from gateway.identity.claims import ClaimPolicy
from gateway.identity.crafting import LEFT_OUT, Signer, encoded
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.issuing import encode_segment
from gateway.identity.verifier import TokenVerifier
from keys.jwk import key_from_jwk, public_jwk
from keys.keyset import KeySet
from tests.awaited import at_once
from tests.corpus import generate_key, key_signer

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
NOW = 1_800_000_000.0
ISSUER, AUDIENCE = "https://login.acme.example", "messenger"


@pytest.fixture(scope="module")
def signer() -> Signer:
    return key_signer("ES256", NOW, issuer=ISSUER, audience=AUDIENCE, kid="key-1")


@pytest.fixture(scope="module")
def verifier(signer: Signer) -> TokenVerifier:
    issuer = TrustedIssuer(
        name="login",
        workspace="acme",
        algorithms=("ES256",),
        keys=KeySet([key_from_jwk(public_jwk(signer.public_key, kid="key-1", algorithm="ES256"))]),
        policy=ClaimPolicy(issuer=ISSUER, audience=(AUDIENCE,)),
        email_authoritative=True,
        issuer=ISSUER,
    )
    return TokenVerifier([issuer], lambda: NOW)


def verdict(verifier: TokenVerifier, token: bytes) -> str:
    try:
        at_once(verifier.verify(token, "acme"))
    except Refusal as refusal:
        return refusal.code
    return "accepted"


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A listener that counts whoever calls: nobody should."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


def test_the_good_token_is_good(signer: Signer, verifier: TokenVerifier) -> None:
    """What is refused below is refused for its one fault."""
    assert verdict(verifier, signer.token()) == "accepted"


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "none ", "", "null"])
def test_a03_alg_none_is_refused(signer: Signer, verifier: TokenVerifier, name: str) -> None:
    """A03: in any letter case, with a signature, with an empty one, and with the segment left out."""
    token = signer.token({"alg": name})
    head = token.rpartition(b".")[0]
    assert verdict(verifier, token) == verdict(verifier, head + b".") == Code.ALG_NOT_ALLOWED
    assert verdict(verifier, head) == Code.TOKEN_MALFORMED


def test_a03_an_empty_signature_is_refused(signer: Signer, verifier: TokenVerifier) -> None:
    """A03: with the right algorithm in the header as well."""
    assert verdict(verifier, signer.token().rpartition(b".")[0] + b".") == Code.SIGNATURE_INVALID


@pytest.mark.parametrize("kid", ["key-1", "stranger", LEFT_OUT], ids=["known", "own", "none"])
def test_a04_an_embedded_key_verifies_nothing_and_nobody_is_called(
    signer: Signer, verifier: TokenVerifier, server: socket.socket, kid: object
) -> None:
    """A04: a valid self-signed token that brings its key and the places where it lies; no request goes out."""
    url = f"http://127.0.0.1:{server.getsockname()[1]}/jwks.json"
    stranger = Signer("ES256", generate_key("ES256"), NOW, signer.header, signer.claims)
    jwk = public_jwk(stranger.public_key, kid="stranger", algorithm="ES256")
    header: dict[str, Any] = {"jwk": jwk, "jku": url, "x5u": url, "x5c": ["AAAA"], "jwks_uri": url, "kid": kid}
    token = stranger.token(header, {"jku": url, "jwks_uri": url})
    assert verdict(verifier, token) == (Code.KID_UNKNOWN if kid == "stranger" else Code.SIGNATURE_INVALID)
    with pytest.raises(BlockingIOError):
        server.accept()


@pytest.mark.parametrize("crit", [["exp"], ["b64"], ["urn:x"], ["alg", "kid"], [], "exp", None, {}, True], ids=repr)
def test_a05_crit_is_refused(signer: Signer, verifier: TokenVerifier, crit: object) -> None:
    """A05, RFC 7515 section 4.1.11: an extension that we do not understand must not be ignored; we know none."""
    assert verdict(verifier, signer.token({"crit": crit, "urn:x": 1})) == Code.CRIT_UNSUPPORTED


@pytest.mark.parametrize("value", [False, True, None, "false", 0], ids=repr)
def test_a06_b64_is_refused(signer: Signer, verifier: TokenVerifier, value: object) -> None:
    """A06, RFC 7797: outright, before anything is done with a payload, encoded or not."""
    for header in ({"b64": value}, {"b64": value, "crit": ["b64"]}):
        assert verdict(verifier, signer.token(header)) == Code.CRIT_UNSUPPORTED
        detached = signer.sign(encode_segment(encoded({**signer.header, **header})), b"e30").split(b".")
        assert verdict(verifier, b".".join([detached[0], b"e30", detached[2]])) == Code.CRIT_UNSUPPORTED


def test_a12_a_deep_payload_is_refused(signer: Signer, verifier: TokenVerifier) -> None:
    """A12: as deep as fits the limit, of lists, of objects, of both; no recursion ends the process."""
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")):
        times = 5000 // len(opening + closing)
        value = opening * times + b"1" + closing * times
        for text in (b'{"a":' + value + b"}", value, opening * times):
            token = signer.seal(encoded(signer.header), text)
            assert verdict(verifier, token) in {Code.TOKEN_MALFORMED, Code.TOKEN_TOO_LARGE}


def test_a13_one_spelling_of_base64url(signer: Signer, verifier: TokenVerifier) -> None:
    """A13, R1: padding, the other alphabet, blanks and characters of none: refused in each of the three segments."""
    segments = signer.token().split(b".")
    for place, segment in enumerate(segments):
        for wrong in (
            segment + b"=" * (-len(segment) % 4 or 4),
            segment + b"=",
            segment[:4] + b"\n" + segment[4:],
            b" " + segment,
            segment[:4] + b"!" + segment[4:],
            segment[:4] + b"+" + segment[5:],
            segment[:4] + b"/" + segment[5:],
            segment + b"\0",
            segment + "\u0661".encode(),
        ):
            token = b".".join([*segments[:place], wrong, *segments[place + 1 :]])
            assert verdict(verifier, token) == Code.TOKEN_MALFORMED


def test_a14_iss_is_compared_exactly(signer: Signer, verifier: TokenVerifier) -> None:
    """A14: no part of it, no more than it, and no list with it."""
    for iss in (ISSUER + ".evil", ISSUER + "/", ISSUER[:-1], "https://", "", ISSUER.upper()):
        assert verdict(verifier, signer.token(claims={"iss": iss})) == Code.ISSUER_UNKNOWN
    assert verdict(verifier, signer.token(claims={"iss": [ISSUER]})) == Code.CLAIM_TYPE


@pytest.mark.parametrize("segments", [1, 2, 4, 5, 6, 7, 100])
def test_a18_encrypted_and_other_shapes_are_refused(verifier: TokenVerifier, segments: int) -> None:
    """A18, R6: five segments are a JWE; nothing of one is looked at."""
    header = encode_segment(encoded({"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 2**31, "zip": "DEF"}))
    token = b".".join([header, *[b"AAAA"] * (segments - 1)])
    assert verdict(verifier, token) == Code.TOKEN_MALFORMED


def test_a18_no_code_that_decrypts_is_loaded() -> None:
    """A18: the verifier brings along no JOSE library but PyJWT, which knows no JWE."""
    program = "import sys, gateway.identity.verifier, gateway.identity.issuing; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    names = {name.partition(".")[0] for name in loaded.stdout.split()}
    assert "jwt" in names
    assert names.isdisjoint({"joserfc", "authlib", "jwcrypto", "jose"})
    assert not [name for name in loaded.stdout.split() if "jwe" in name.lower()]


_SECRETS = re.compile(r"secret|signature|digest|hmac|password|token|hash", re.IGNORECASE)


def test_a20_nothing_secret_is_compared_by_equality() -> None:
    """A20: secrets, signatures and digests are compared by `compare_digest` or looked up; `==` tells by its time."""
    files = [*(ROOT / "gateway").rglob("*.py"), *(ROOT / "keys").rglob("*.py")]
    assert len(files) > 20
    found = [
        f"{path.name}:{compared.lineno}: {ast.unparse(compared)}"
        for path in files
        for compared in ast.walk(ast.parse(path.read_text()))
        if isinstance(compared, ast.Compare) and _compares_secrets(compared)
    ]
    assert found == []


def _compares_secrets(compared: ast.Compare) -> bool:
    sides = [compared.left, *compared.comparators]
    if not any(isinstance(operator, ast.Eq | ast.NotEq) for operator in compared.ops):
        return False
    if any(isinstance(side, ast.Constant) for side in sides):
        return False  # with what stands in the source there is nothing to find out
    names = [getattr(node, "id", getattr(node, "attr", "")) for side in sides for node in ast.walk(side)]
    return any(_SECRETS.search(name) for name in names)


def test_a20_an_hmac_is_compared_in_constant_time() -> None:
    """A20: PyJWT's HMAC, which ours is, ends in `compare_digest`; the release that changes this fails here."""
    source = Path(sys.modules["jwt.algorithms"].__file__ or "").read_text()
    (hmac,) = [
        node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == "HMACAlgorithm"
    ]
    (verify,) = [node for node in hmac.body if isinstance(node, ast.FunctionDef) and node.name == "verify"]
    assert "compare_digest" in ast.unparse(verify)
    assert "==" not in ast.unparse(verify)


def test_a27_the_floors_stand_in_the_project() -> None:
    """A27, R43: versions with known holes in keys, signatures or parsing cannot be installed beside us."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    floors = dict(line.partition(";")[0].split(">=") for line in project["dependencies"])
    needed = {"cryptography": (48, 0, 1), "pyjwt": (2, 15), "h11": (0, 16), "starlette": (1, 9), "apsw": (3, 51, 3)}
    for name, version in needed.items():
        assert tuple(map(int, floors[name].split("."))) >= version
