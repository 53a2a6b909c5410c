"""Tokens of other people's software verify here, and tokens that we issue verify there.

Node's `jsonwebtoken` and `jose` are what customers' back ends sign with, joserfc and Authlib are their like in Python;
each with every algorithm that it has and that we know. The Node packages are installed by `npm ci` from the lock beside
this file into a temporary folder.
"""

from __future__ import annotations

import json
import subprocess
import time
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from cryptography.hazmat.primitives.asymmetric import ed448
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from joserfc import jwt as joserfc_jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey, import_key

from gateway.errors import Code, Refusal
from gateway.identity.claims import ClaimPolicy
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.issuing import issue_token
from gateway.identity.jose import ALGORITHMS
from gateway.identity.verifier import TokenVerifier
from keys.jwk import HMAC, SigningKey, key_from_jwk, key_from_secret, public_jwk
from keys.keyset import KeySet
from tests.awaited import at_once
from tests.corpus import generate_key
from tests.node import assert_names_no_registry, installed

with warnings.catch_warnings(record=True):
    # Authlib points to joserfc, which is tested beside it; customers still sign with what they have.
    from authlib.jose import JsonWebToken  # type: ignore[import-untyped]  # Authlib ships no types
    from authlib.jose.errors import JoseError as AuthlibError  # type: ignore[import-untyped]  # Authlib ships no types

if TYPE_CHECKING:
    from collections.abc import Callable

# joserfc warns that RFC 9864 renames EdDSA.
pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated:UserWarning")

INTEROP = Path(__file__).parent / "interop"
NOW = int(time.time())
ISSUER, AUDIENCE, KID = "https://login.acme.example", "messenger", "key-1"
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": [AUDIENCE],
    "iat": NOW,
    "exp": NOW + 600,
    "jti": "a-1",
    "user_id": "\u5f35-1",
    "email": "ada@example.com",
    "email_verified": True,
    "name": 'Ada "Countess" \U0001f600 </script>',
}
WEB = ("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
# EdDSA with a key on the larger curve is an algorithm of its own to a library.
EDDSA_448 = "EdDSA with Ed448"
SUPPORTED = {
    "jsonwebtoken": WEB,
    "jose": (*WEB, "EdDSA", "Ed25519"),
    "joserfc": (*WEB, "EdDSA", EDDSA_448, "Ed25519", "Ed448"),
    "authlib": (*WEB, "EdDSA", EDDSA_448),
}
PAIRS = [(library, algorithm) for library, algorithms in SUPPORTED.items() for algorithm in algorithms]


class Party:
    """A key and its algorithm, in the forms in which the libraries want it."""

    def __init__(self, name: str) -> None:
        self.algorithm = name.partition(" ")[0]
        self.private: Any = ed448.Ed448PrivateKey.generate() if name == EDDSA_448 else generate_key(self.algorithm)
        self.symmetric = isinstance(self.private, bytes)

    @property
    def private_text(self) -> str:
        """The secret, or the private key in PEM."""
        if self.symmetric:
            return str(self.private.decode())
        pem: bytes = self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return pem.decode()

    @property
    def public_text(self) -> str:
        """The secret, or the public key in PEM."""
        if self.symmetric:
            return self.private_text
        pem: bytes = self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return pem.decode()

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key as we publish it."""
        return public_jwk(self.private.public_key(), kid=KID, algorithm=self.algorithm)

    def verifier(self) -> TokenVerifier:
        """A workspace that trusts this key, from what its owner would hand over."""
        key = key_from_secret(self.private_text, KID, (self.algorithm,)) if self.symmetric else key_from_jwk(self.jwk)
        issuer = TrustedIssuer(
            name="login",
            workspace="acme",
            algorithms=(self.algorithm,),
            keys=KeySet([key]),
            policy=ClaimPolicy(issuer=ISSUER, audience=(AUDIENCE,)),
            email_authoritative=False,
            issuer=ISSUER,
            custom_attributes=("name",),
        )
        return TokenVerifier([issuer], time.time)

    def issue(self) -> str:
        """A token of our own making."""
        return issue_token(CLAIMS, SigningKey(KID, self.algorithm, self.private), ttl=None, now=NOW)


@cache
def party(name: str) -> Party:
    return Party(name)


class Library(Protocol):
    """Somebody else's software. `verify` gives the claims, or None for what it refuses."""

    def sign(self, party: Party) -> str:
        """A token with `CLAIMS` and `KID`."""
        ...

    def verify(self, party: Party, token: str) -> dict[str, Any] | None:
        """The claims of a token."""
        ...


class Node:
    """One of the Node packages, in a process of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name

    def run(self, **job: Any) -> dict[str, Any]:
        done = subprocess.run(
            ["node", "tokens.mjs"],
            cwd=self._folder,
            input=json.dumps([{"library": self._name, **job}]),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        (result,) = json.loads(done.stdout)
        assert isinstance(result, dict)
        return result

    def sign(self, party: Party) -> str:
        job = {"algorithm": party.algorithm, "key": party.private_text, "kid": KID, "claims": CLAIMS}
        return str(self.run(action="sign", **job)["done"])

    def verify(self, party: Party, token: str) -> dict[str, Any] | None:
        job: dict[str, Any] = {"algorithm": party.algorithm, "key": party.public_text, "token": token}
        if not party.symmetric:
            job["jwk"] = party.jwk
        return self.run(action="verify", **job).get("done")


class Joserfc:
    """joserfc, called as its documentation has it."""

    def sign(self, party: Party) -> str:
        key: Any = OctKey.import_key(party.private) if party.symmetric else _joserfc_key(party.private_text, party)
        header = {"alg": party.algorithm, "typ": "JWT", "kid": KID}
        return joserfc_jwt.encode(header, CLAIMS, key, algorithms=[party.algorithm])

    def verify(self, party: Party, token: str) -> dict[str, Any] | None:
        key: Any = OctKey.import_key(party.private) if party.symmetric else import_key(party.jwk)
        try:
            return joserfc_jwt.decode(token, key, algorithms=[party.algorithm]).claims
        except JoseError:
            return None


class Authlib:
    """Authlib's own JOSE code, called as its documentation has it."""

    def sign(self, party: Party) -> str:
        header = {"alg": party.algorithm, "kid": KID}
        token: bytes = JsonWebToken([party.algorithm]).encode(header, CLAIMS, party.private_text)
        return token.decode()

    def verify(self, party: Party, token: str) -> dict[str, Any] | None:
        try:
            return dict(JsonWebToken([party.algorithm]).decode(token, party.public_text))
        except AuthlibError:
            return None


def _joserfc_key(pem: str, party: Party) -> Any:
    if party.algorithm[:2] in {"RS", "PS"}:
        return import_key(pem, "RSA")
    return import_key(pem, "EC" if party.algorithm.startswith("ES") else "OKP")


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The Node packages."""
    return installed(INTEROP, tmp_path_factory.getbasetemp(), worker_id)


@pytest.fixture
def library(request: pytest.FixtureRequest) -> Library:
    """The library of a pair; only those of Node need Node."""
    makers: dict[str, Callable[[], Library]] = {
        "jsonwebtoken": lambda: Node(request.getfixturevalue("node_folder"), "jsonwebtoken"),
        "jose": lambda: Node(request.getfixturevalue("node_folder"), "jose"),
        "joserfc": Joserfc,
        "authlib": Authlib,
    }
    return makers[request.param]()


@pytest.mark.parametrize(("library", "algorithm"), PAIRS, indirect=["library"])
def test_what_they_sign_verifies_here(library: Library, algorithm: str) -> None:
    """RFC 7515, 7518, 8037, 9864: the token of another library is a person here, byte for byte as it was signed."""
    here = party(algorithm)
    token = library.sign(here)
    found = at_once(here.verifier().verify(token.encode(), "acme"))
    assert (found.user_id, found.email, found.email_proof) == (CLAIMS["user_id"], CLAIMS["email"], "signed")
    assert (found.token_id, found.expires_at, found.issued_at) == (CLAIMS["jti"], CLAIMS["exp"], CLAIMS["iat"])
    assert found.custom_attributes == {"name": CLAIMS["name"]}
    with pytest.raises(Refusal) as caught:
        at_once(Party(algorithm).verifier().verify(token.encode(), "acme"))
    assert caught.value.code == Code.SIGNATURE_INVALID


@pytest.mark.parametrize(("library", "algorithm"), PAIRS, indirect=["library"])
def test_what_we_issue_verifies_there(library: Library, algorithm: str) -> None:
    """A token of ours is read by another library with the key as we publish it, and by nobody with another key."""
    here = party(algorithm)
    token = here.issue()
    assert library.verify(here, token) == CLAIMS
    assert library.verify(Party(algorithm), token) is None


def test_every_algorithm_is_signed_by_somebody_else() -> None:
    """No algorithm that an issuer may list is known from our own tokens alone."""
    assert {name.partition(" ")[0] for _, name in PAIRS} == set(ALGORITHMS)


def test_a_messenger_token_as_back_ends_make_it(node_folder: Path) -> None:
    """Intercom's sample: the secret as text, HS256, only user_id and email, `expiresIn`; no kid, no iss, no aud."""
    here = party("HS256")
    job = {"algorithm": "HS256", "key": here.private_text, "claims": {"user_id": "42", "email": "Ada@Example.com"}}
    issuer = TrustedIssuer(
        name="messenger",
        workspace="acme",
        algorithms=("HS256",),
        keys=KeySet([key_from_secret(Party("HS256").private_text, "old"), key_from_secret(here.private_text, "new")]),
        policy=ClaimPolicy(require_exp=False, max_lifetime=None),
        email_authoritative=True,
        ignores_iss=True,
    )
    token = Node(node_folder, "jsonwebtoken").run(action="sign", options={"expiresIn": "1h"}, **job)["done"]
    found = at_once(TokenVerifier([issuer], time.time).verify(token.encode(), "acme"))
    assert (found.user_id, found.email) == ("42", "ada@example.com")
    assert found.issued_at is not None
    assert found.expires_at == found.issued_at + 3600


def test_the_lock_names_no_registry() -> None:
    """Versions and hashes, and no host."""
    assert_names_no_registry(INTEROP, "jose", "jsonwebtoken")


@pytest.mark.parametrize("algorithm", sorted(HMAC))
def test_a_kid_of_another_script_survives(algorithm: str) -> None:
    """RFC 7515 section 4.1.4: a kid is any string; joserfc writes it with escapes, we in UTF-8."""
    here = party(algorithm)
    kid = "schl\u00fcssel-\U0001f511"
    issued = issue_token(CLAIMS, SigningKey(kid, algorithm, here.private), ttl=None, now=NOW)
    assert joserfc_jwt.decode(issued, OctKey.import_key(here.private), algorithms=[algorithm]).header["kid"] == kid
