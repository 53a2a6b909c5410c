"""From verified claims to a principal: the fallback, what proves an email, what the claims may set."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Code, Refusal
from gateway.identity.claims import ClaimPolicy, VerifiedClaims
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.principal import IdRules, Principal, Proof, principal_of
from keys.keyset import KeySet
from tests.identity.values import EMAIL_CODES, EMAILS, ID_CODES, JSON, RULES, email_of, id_of

CODES = ID_CODES | EMAIL_CODES | {Code.USER_ID_MISSING, Code.EMAIL_MISMATCH}


def issuer_with(rules: IdRules = RULES, *, authoritative: bool = True, **more: Any) -> TrustedIssuer:
    return TrustedIssuer(
        name="login",
        workspace="acme",
        algorithms=("ES256",),
        keys=KeySet([]),
        policy=ClaimPolicy(),
        email_authoritative=authoritative,
        rules=rules,
        **more,
    )


ISSUER = issuer_with()


def principal(claims: dict[str, Any], issuer: TrustedIssuer = ISSUER) -> Principal:
    return principal_of(VerifiedClaims(claims, None, None, None), issuer)


def outcome(claims: dict[str, Any], issuer: TrustedIssuer = ISSUER) -> str:
    """`user_id` of the principal, or the code of the refusal."""
    try:
        return principal(claims, issuer).user_id
    except Refusal as refusal:
        return refusal.code


CLAIMS = st.sampled_from(["user_id", "email", "email_verified", "name", "plan", "signed_up_at"])


@given(st.dictionaries(CLAIMS, JSON | EMAILS))
def test_any_claims_are_a_principal_or_a_refusal(claims: dict[str, Any]) -> None:
    """Design 4: whatever an issuer signs, in any member; and what comes out passes the same function again."""
    issuer = issuer_with(custom_attributes=("plan", "name"))
    try:
        found = principal(claims, issuer)
    except Refusal as refusal:
        assert refusal.code in CODES  # noqa: PT017 - a refusal is one of two right outcomes
        assert refusal.field in {"user_id", "email", "email_verified"}  # noqa: PT017 - the same
        return
    assert id_of(found.user_id) == found.user_id
    assert found.email is None or email_of(found.email) == found.email
    assert (found.email is None) == (found.email_proof is None)
    assert found.by_email == ("user_id" not in claims)
    if found.by_email:
        assert found.user_id == found.email


ADA = "ada@example.com"


def test_the_fallback_needs_a_proven_email_and_permission() -> None:
    """Design 4: no user_id, but an email: it stands in, in its one spelling; a workspace can forbid it."""
    found = principal({"email": "Ada@Example.com"})
    assert (found.user_id, found.by_email, found.email, found.email_proof) == (ADA, True, ADA, Proof.SIGNED)
    assert outcome({}) == outcome({"email": None}) == Code.USER_ID_MISSING
    assert outcome({"email": ADA}, issuer_with(IdRules(email_fallback=False))) == Code.USER_ID_MISSING
    assert outcome({"email": ADA, "email_verified": False}) == Code.USER_ID_MISSING
    assert outcome({"email": ADA}, issuer_with(authoritative=False)) == Code.USER_ID_MISSING
    assert outcome({"email": ADA, "email_verified": True}, issuer_with(authoritative=False)) == ADA


def test_a_user_id_that_is_there_is_never_fallen_through() -> None:
    """Design 5: a user_id that is bad is refused, however good the email beside it."""
    for value, code in ((None, Code.CLAIM_TYPE), ("", Code.USER_ID_PLACEHOLDER), ("\0", Code.USER_ID_INVALID)):
        assert outcome({"user_id": value, "email": ADA}) == code


def test_the_fallback_passes_the_placeholders_of_the_workspace() -> None:
    """Threat T3: the address of a demonstration account, signed for everybody, makes nobody of them."""
    rules = IdRules(extra_placeholders=frozenset({"demo@example.com"}))
    assert outcome({"email": "Demo@example.com"}, issuer_with(rules)) == Code.USER_ID_PLACEHOLDER
    assert outcome({"user_id": "user-1", "email": "demo@example.com"}, issuer_with(rules)) == "user-1"


@pytest.mark.parametrize("flag", ["true", "false", "", 1, 0, None, [True], {}, 1.0])
def test_c06_email_verified_is_a_boolean(flag: object) -> None:
    """C06: "true" as text is not true, and nothing is guessed from it."""
    assert outcome({"user_id": "user-1", "email": ADA, "email_verified": flag}) == Code.CLAIM_TYPE
    assert outcome({"email": ADA, "email_verified": flag}) == Code.CLAIM_TYPE


def test_c06_what_is_not_proven_is_claimed() -> None:
    """C06: absent is not true unless the issuer's word is worth it; false is false for every issuer."""
    proofs = {
        (authoritative, str(more)): principal(
            {"user_id": "user-1", "email": ADA, **more}, issuer_with(authoritative=authoritative)
        ).email_proof
        for authoritative in (True, False)
        for more in ({}, {"email_verified": True}, {"email_verified": False})
    }
    assert list(proofs.values()) == [
        *(Proof.SIGNED, Proof.SIGNED, Proof.CLAIMED),
        *(Proof.CLAIMED, Proof.SIGNED, Proof.CLAIMED),
    ]


def test_a_user_id_that_is_an_email_is_the_email() -> None:
    """Design 4: when both are sent they are one address; the id stays as it was signed."""
    assert outcome({"user_id": ADA, "email": "ADA@example.com"}) == ADA
    assert outcome({"user_id": "Ada@Example.com", "email": ADA}) == "Ada@Example.com"
    assert outcome({"user_id": ADA}) == ADA
    for user_id in ("eve@example.com", "ada@example.co", "ada@example.com.evil.example", "m\u0131ke@example.com"):
        assert outcome({"user_id": user_id, "email": ADA}) == Code.EMAIL_MISMATCH
    assert outcome({"user_id": "eve@example.com", "email": ADA, "email_verified": False}) == Code.EMAIL_MISMATCH
    assert outcome({"user_id": "@handle", "email": ADA}) == "@handle"


def test_an_issuer_whose_ids_are_emails_is_held_to_the_fallback() -> None:
    """C06: `user_id_claim = "email"` takes no unproven address and no second spelling for an id."""
    issuer = issuer_with(user_id_claim="email", authoritative=False)
    assert outcome({"email": "Ada@Example.com", "email_verified": True}, issuer) == ADA
    assert outcome({"email": ADA}, issuer) == outcome({"email": ADA, "email_verified": False}, issuer)
    assert outcome({"email": ADA}, issuer) == outcome({"sub": "user-1"}, issuer) == Code.USER_ID_MISSING


def test_r16_claims_set_no_more_than_they_may() -> None:
    """R16: an attribute that no record could hold, or that nobody named, is left out and costs nobody the login."""
    claims: dict[str, Any] = {"user_id": "user-1", "id": "x", "role": "admin", "external_id": "x", "workspace_id": "x"}
    claims |= {"name": "Ada", "phone": 7, "avatar": "", "signed_up_at": True, "unsubscribed_from_emails": "no"}
    claims |= {"plan": "pro", "seats": 3, "rate": 0.5, "tags": ["a"], "raw": "a\0", "age": None}
    found = principal(claims, issuer_with(custom_attributes=("plan", "seats", "rate", "tags", "raw", "age", "none")))
    assert found.attributes == {"name": "Ada"}
    assert found.custom_attributes == {"plan": "pro", "seats": 3, "rate": 0.5}
    assert (found.user_id, found.workspace) == ("user-1", "acme")
