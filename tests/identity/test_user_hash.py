"""`user_hash`: whom it proves, and that nothing else does (facts: Intercom 1.8, advisories A20, C01)."""

from __future__ import annotations

import ast
import base64
import hashlib
import hmac
import inspect
import json
import os
import shutil
import subprocess
from typing import Any

import pytest

from gateway.errors import Code, Outage, Refusal
from gateway.identity import user_hash as module
from gateway.identity.claims import ClaimPolicy
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.issuing import issue_token
from gateway.identity.platforms import Platform
from gateway.identity.principal import IdRules, Principal, Proof
from gateway.identity.user_hash import UnverifiedUserHash, takes_user_hash, verify_user_hash
from keys.jwk import key_from_secret, signing_key_from_secret
from keys.keyset import KeySet
from tests.awaited import at_once

WEB, IOS, OLD = (os.urandom(32).hex() for _ in range(3))
ADA = "ada@example.com"


def issuer(*, user_hash: bool = True, keys: KeySet | None = None, **more: Any) -> TrustedIssuer:
    settings: dict[str, Any] = {
        "name": "messenger",
        "workspace": "acme",
        "algorithms": ("HS256",),
        "keys": keys
        or KeySet(
            [
                key_from_secret(OLD, "old"),
                key_from_secret(WEB, "web", platforms=frozenset({Platform.WEB})),
                key_from_secret(IOS, "ios", platforms=frozenset({Platform.IOS, Platform.ANDROID})),
            ]
        ),
        "policy": ClaimPolicy(require_exp=False),
        "email_authoritative": True,
        "ignores_iss": True,
    }
    return TrustedIssuer(**{**settings, **more}, user_hash=user_hash)


def hash_of(message: str, secret: str = WEB) -> str:
    """As the messenger's guides make it."""
    return hmac.new(secret.encode(), message.encode(), hashlib.sha256).hexdigest()


def proven(
    user_hash: object, user_id: object = None, email: object = None, platform: Platform | None = None, **more: Any
) -> Principal:
    issuers = [issuer(**more)]
    return at_once(verify_user_hash(UnverifiedUserHash(user_id, email, user_hash), issuers, platform))


def refused(*arguments: Any, **more: Any) -> tuple[Code, str | None]:
    with pytest.raises(Refusal) as refusal:
        proven(*arguments, **more)
    return refusal.value.code, refusal.value.field


def test_it_proves_the_user_id() -> None:
    """Whom it was made over, by an issuer, without a time; nothing signs an email beside it."""
    found = proven(hash_of("user-1"), "user-1", ADA)
    assert (found.user_id, found.by_email, found.issuer, found.workspace) == ("user-1", False, "messenger", "acme")
    assert (found.email, found.email_proof, found.proof) == (ADA, Proof.CLAIMED, Proof.HASHED)
    assert (found.token_id, found.issued_at, found.expires_at) == (None, None, None)
    assert (found.attributes, found.custom_attributes) == ({}, {})


def test_without_a_user_id_it_proves_the_email() -> None:
    """The email stands in for the id, in its compared spelling; it was hashed as it was sent."""
    found = proven(hash_of("Ada@Example.com"), None, "Ada@Example.com")
    assert (found.user_id, found.by_email, found.email, found.email_proof) == (ADA, True, ADA, Proof.HASHED)


def test_s16_an_email_in_both_fields_is_what_was_hashed() -> None:
    """Who has but an email puts it into both fields; another spelling of it was not hashed, and is merely claimed."""
    assert proven(hash_of(ADA), ADA, ADA).email_proof is Proof.HASHED
    assert proven(hash_of(ADA), ADA, ADA.upper()).email_proof is Proof.CLAIMED


def test_a_number_is_its_decimal_text() -> None:
    """As in tokens (R17)."""
    assert proven(hash_of("42"), 42).user_id == "42"


def test_where_both_are_sent_it_is_over_the_user_id() -> None:
    """A hash over the email beside a user_id proves nobody: else a hash for one's own email would open any id."""
    assert refused(hash_of(ADA), "user-2", ADA) == (Code.SIGNATURE_INVALID, "user_hash")


WRONG = {
    "of somebody else": hash_of("user-2"),
    "by another secret": hash_of("user-1", os.urandom(32).hex()),
    "upper case": hash_of("user-1").upper(),
    "too short": hash_of("user-1")[:-1],
    "too long": hash_of("user-1") + "0",
    "a line break": hash_of("user-1") + "\n",
    "a blank": " " + hash_of("user-1"),
    "digits of another script": hash_of("user-1")[:-2] + "\u0660\u0661",
    "no hex": hash_of("user-1")[:-1] + "g",
    "half of a surrogate pair": hash_of("user-1")[:-1] + "\ud800",
    "of nothing": hash_of(""),
    "blank": " ",
    "null": "null",
    "undefined": "undefined",
    "zeros": "0" * 64,
    "in base64": base64.b64encode(bytes.fromhex(hash_of("user-1"))).decode(),
    "SHA-512": hmac.new(WEB.encode(), b"user-1", hashlib.sha512).hexdigest(),
    "without a secret": hashlib.sha256(b"user-1").hexdigest(),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_c01_what_is_no_proof_proves_nobody(wrong: str) -> None:
    """Somebody else's, another secret's, upper case, too short, too long, no hex, another hash: one code for all."""
    assert refused(WRONG[wrong], "user-1") == (Code.SIGNATURE_INVALID, "user_hash")


@pytest.mark.parametrize("user_hash", [1, True, 1.5, ["a"], {"a": 1}, b"bytes"])
def test_c01_a_proof_is_text(user_hash: object) -> None:
    """Another type is no request of ours, whatever it holds."""
    assert refused(user_hash, "user-1") == (Code.REQUEST_INVALID, "user_hash")


def test_c01_nobody_is_proven_by_a_hash_of_nothing() -> None:
    """Neither user_id nor email."""
    assert refused(hash_of("")) == (Code.USER_ID_MISSING, "user_id")


@pytest.mark.parametrize(
    ("user_id", "code"),
    [
        ("", Code.USER_ID_PLACEHOLDER),
        ("undefined", Code.USER_ID_PLACEHOLDER),
        ("null", Code.USER_ID_PLACEHOLDER),
        ("0", Code.USER_ID_PLACEHOLDER),
        (-1, Code.USER_ID_PLACEHOLDER),
        (" user-1", Code.USER_ID_INVALID),
        ("user-1\u200b", Code.USER_ID_INVALID),
        ("u" * 256, Code.USER_ID_INVALID),
    ],
)
def test_s8_a_placeholder_is_nobody_however_well_it_is_hashed(user_id: object, code: Code) -> None:
    """The ids of this proof pass the same normalisation as those of a token."""
    assert refused(hash_of(str(user_id)), user_id) == (code, "user_id")
    assert refused(hash_of(str(user_id)), user_id, ADA) == (code, "user_id")


@pytest.mark.parametrize("user_id", [True, 1.5, ["user-1"], {"id": "user-1"}, 10**300])
def test_an_id_is_text_or_an_integer(user_id: object) -> None:
    """As in tokens."""
    assert refused(hash_of("user-1"), user_id) == (Code.CLAIM_TYPE, "user_id")


def test_a19_who_cannot_prove_learns_nothing_else() -> None:
    """A wrong hash of a placeholder is a wrong hash."""
    assert refused(hash_of("user-1"), "undefined") == (Code.SIGNATURE_INVALID, "user_hash")


def test_an_email_is_held_to_its_form() -> None:
    """In place of the id and beside it; an id that looks like an email is the one beside it."""
    assert refused(hash_of("ada@@example.com"), None, "ada@@example.com") == (Code.EMAIL_INVALID, "email")
    assert refused(hash_of("user-1"), "user-1", "no email") == (Code.EMAIL_INVALID, "email")
    assert refused(hash_of(ADA), ADA, "bob@example.com") == (Code.EMAIL_MISMATCH, "email")
    assert refused(hash_of("42"), None, 42) == (Code.CLAIM_TYPE, "email")


def test_the_workspace_rules_ids() -> None:
    """Its own placeholders, and whether an email may stand in at all."""
    strict = IdRules(extra_placeholders=frozenset({"demo"}), email_fallback=False)
    assert refused(hash_of("demo"), "demo", rules=strict) == (Code.USER_ID_PLACEHOLDER, "user_id")
    assert refused(hash_of(ADA), None, ADA, rules=strict) == (Code.USER_ID_MISSING, "user_id")


def test_any_live_secret_of_the_platform_proves() -> None:
    """While secrets are rotated both do; the one of a mobile application proves nobody on the web."""
    for secret, platform, user_id in (
        (OLD, Platform.WEB, "user-1"),
        (WEB, Platform.WEB, "user-1"),
        (WEB, None, "user-1"),
        (IOS, Platform.ANDROID, "user-1"),
    ):
        assert proven(hash_of(user_id, secret), user_id, platform=platform).user_id == user_id
    assert refused(hash_of("user-1", IOS), "user-1", platform=Platform.WEB) == (Code.SIGNATURE_INVALID, "user_hash")
    assert refused(hash_of("user-1", WEB), "user-1", platform=Platform.IOS) == (Code.SIGNATURE_INVALID, "user_hash")


def test_only_issuers_that_take_it_prove() -> None:
    """An issuer beside them lends its secrets to nobody."""
    silent = issuer(user_hash=False)
    assert not takes_user_hash([silent])
    unverified = UnverifiedUserHash("user-1", None, hash_of("user-1"))
    with pytest.raises(Refusal) as refusal:
        at_once(verify_user_hash(unverified, [silent], None))
    assert refusal.value.code is Code.SIGNATURE_INVALID
    other = issuer(name="other", keys=KeySet([key_from_secret(OLD, "old")]))
    assert takes_user_hash([silent, other])
    by_other = UnverifiedUserHash("user-1", None, hash_of("user-1", OLD))
    assert at_once(verify_user_hash(by_other, [silent, other], None)).issuer == "other"


def test_without_keys_there_is_no_verdict() -> None:
    """An outage is never a refusal (B16)."""
    with pytest.raises(Outage) as outage:
        proven(hash_of("user-1"), "user-1", keys=KeySet([]))
    assert outage.value.code is Code.KEYS_UNAVAILABLE


def test_the_signature_of_a_token_is_no_user_hash() -> None:
    """A token proves nobody but whom it names: what it signs is no id.

    An HS256 signature is the HMAC of `header.payload`, so whoever holds a token has a hash over that text. An id with a
    dot is no such text.
    """
    token = issue_token({"user_id": "mallory"}, signing_key_from_secret(WEB, kid="web"), ttl=600, now=1.8e9)
    signing_input, _, signature = token.rpartition(".")
    stolen = base64.urlsafe_b64decode(signature + "=").hex()
    assert stolen == hash_of(signing_input)
    assert refused(stolen, signing_input) == (Code.USER_ID_INVALID, "user_id")
    for user_id in ("eyal.cohen", "e3.e30", "a.b", "ada.lovelace"):
        assert proven(hash_of(user_id), user_id).user_id == user_id


def test_no_refusal_tells_the_hash_or_the_id() -> None:
    """Reasons go to the log (A17, B20)."""
    for arguments in ((hash_of("other"), "secret-id"), ("x", "secret-id"), (hash_of("undefined"), "undefined", ADA)):
        with pytest.raises(Refusal) as refusal:
            proven(*arguments)
        assert not any(str(part) in str(refusal.value) for part in arguments if part not in {"x", "undefined"})


def test_a20_it_is_compared_in_constant_time() -> None:
    """The one comparison of a hash is `hmac.compare_digest`: no `==` has a digest on either side."""
    tree = ast.parse(inspect.getsource(module))
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert calls.count("hmac.compare_digest") == calls.count("hmac.digest") == 1
    compared = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    assert not any("presented" in one or "hmac" in one for one in compared)


def test_openssl_makes_the_same_hash() -> None:
    """A back end of any language hashes alike."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl not found: install Debian's openssl")
    command = ["openssl", "dgst", "-sha256", "-hmac", WEB, "-hex"]
    done = subprocess.run(command, input="user-1", capture_output=True, text=True, check=True, timeout=60)
    assert proven(done.stdout.split()[-1], "user-1").user_id == "user-1"


def test_node_makes_the_same_hash() -> None:
    """As the messenger's guide has it: `crypto.createHmac("sha256", secret).update(user_id).digest("hex")`."""
    node = shutil.which("node")
    if node is None:
        message = "node not found: install Debian's nodejs to test against its crypto"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    names = ["user-1", "\u5f20", "caf\u00e9", "\U0001f600", ADA]
    script = (
        'const [secret, ...names] = JSON.parse(require("fs").readFileSync(0, "utf8"));'
        'const hash = (name) => require("crypto").createHmac("sha256", secret).update(name).digest("hex");'
        "console.log(JSON.stringify(names.map(hash)));"
    )
    done = subprocess.run(
        [node, "-e", script], input=json.dumps([WEB, *names]), capture_output=True, text=True, check=True, timeout=60
    )
    for name, user_hash in zip(names, json.loads(done.stdout), strict=True):
        assert proven(user_hash, name).user_id == name
