"""An identity assertion is for an upstream: as a login token it is refused by its `typ`, whoever signed it (B13)."""

from __future__ import annotations

import pytest

from gateway.errors import Code, Refusal
from gateway.identity.inspection import inspect_token
from gateway.identity.unverified import ASSERTION_TYPE, parse_token
from gateway.identity.verifier import TokenVerifier
from tests.awaited import at_once
from tests.corpus import generate_key, key_signer, shared_secret_signer
from tests.identity.test_verifier import AUDIENCE, ISSUER, KID, NOW, login_signer, trusted, verdict

SPELLINGS = [
    ASSERTION_TYPE,
    ASSERTION_TYPE.upper(),
    "Identity-Assertion+JWT",
    f"application/{ASSERTION_TYPE}",
    f"APPLICATION/{ASSERTION_TYPE.upper()}",
]


@pytest.mark.parametrize("typ", SPELLINGS)
def test_b13_an_issuer_that_trusts_our_own_keys_refuses_an_assertion(typ: str) -> None:
    """Its key, iss, aud and claims are all trusted; its typ alone, in each spelling, makes it no login token."""
    signer = login_signer()
    verifier = TokenVerifier([trusted(signer)], lambda: NOW)
    assert verdict(verifier, signer.token({"typ": "JWT"})) == "login"
    with pytest.raises(Refusal) as refused:
        at_once(verifier.verify(signer.token({"typ": typ}), "acme"))
    assert (refused.value.code, refused.value.field) == (Code.AUDIENCE_MISMATCH, "typ")


def test_b13_nobody_makes_an_assertion_a_login_token() -> None:
    """Whatever the issuers are, and before a signature is looked at: shared secrets, another iss, a forgery."""
    secret = shared_secret_signer(generate_key("HS256"), NOW, kid=KID)
    other = key_signer("ES256", NOW, issuer="https://other.example", audience=AUDIENCE, kid=KID)
    verifier = TokenVerifier([trusted(secret, name="messenger"), trusted(login_signer())], lambda: NOW)
    for signer in (secret, other, login_signer()):
        token = signer.token({"typ": ASSERTION_TYPE})
        for sent in (token, token[:-4] + b"AAAA", token[: token.rindex(b".") + 1]):
            assert verdict(verifier, sent) == Code.AUDIENCE_MISMATCH


@pytest.mark.parametrize("typ", ["JWT", "at+jwt", "identity-assertion", f"x{ASSERTION_TYPE}", "", None, 1, ["jwt"]])
def test_any_other_typ_is_as_good_as_none(typ: object) -> None:
    """What other people write into `typ` says nothing here (RFC 7519 section 5.1)."""
    assert parse_token(login_signer().token({"typ": typ})).header["typ"] == typ


def test_an_explanation_says_so() -> None:
    """`gateway token inspect` and the admin listener run the same check."""
    verifier = TokenVerifier([trusted(login_signer(issuer=ISSUER))], lambda: NOW)
    report = at_once(inspect_token(login_signer().token({"typ": ASSERTION_TYPE}), "acme", verifier, NOW))
    assert report.code == Code.AUDIENCE_MISMATCH
    assert "for an upstream" in report.checks[0].found
