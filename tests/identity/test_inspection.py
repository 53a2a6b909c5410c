"""An explanation is the verifier's own verdict, said check by check."""

from __future__ import annotations

import json

import pytest

from gateway.errors import Code, Refusal
from gateway.identity.crafting import LEFT_OUT, Signer
from gateway.identity.inspection import Inspection, Outcome, inspect_token
from gateway.identity.principal import Proof
from tests.awaited import at_once
from tests.corpus import bad_tokens
from tests.identity.test_corpus import NOW, signer_for, verdict, verifier_for


@pytest.fixture(scope="module", params=["HS256", "ES256"])
def signer(request: pytest.FixtureRequest) -> Signer:
    return signer_for(request.param)


def inspected(signer: Signer, token: bytes, now: float = NOW) -> Inspection:
    return at_once(inspect_token(token, "acme", verifier_for(signer), now))


def outcomes(inspection: Inspection) -> dict[str, str]:
    return {check.name: check.outcome.value for check in inspection.checks}


def found(inspection: Inspection, name: str) -> str:
    return next(check.found for check in inspection.checks if check.name == name)


def test_the_code_is_the_one_of_production(signer: Signer) -> None:
    """For every bad token, the explanation ends with the code that the verifier refuses it with, and no principal."""
    verifier = verifier_for(signer)
    for case in bad_tokens(signer):
        inspection = at_once(inspect_token(case.token, "acme", verifier, NOW))
        assert inspection.code == verdict(verifier, case.token), case.name
        assert inspection.principal is None, case.name


def test_a_good_token_passes_every_check(signer: Signer) -> None:
    """Each check stands there, passed, in the order of the way of a token; the principal is the verifier's."""
    inspection = inspected(signer, signer.token())
    assert inspection.code is None
    assert set(outcomes(inspection).values()) == {"passed"}
    assert [check.step for check in inspection.checks] == sorted(check.step for check in inspection.checks)
    assert inspection.principal == at_once(verifier_for(signer).verify(signer.token(), "acme"))


def test_one_wrong_claim_hides_no_other(signer: Signer) -> None:
    """An expired token that is also issued in the future shows both, with what was found; exp comes first."""
    token = signer.token(claims={"exp": int(NOW) - 3600, "iat": int(NOW) + 3600})
    inspection = inspected(signer, token)
    failed = [check.name for check in inspection.checks if check.outcome is Outcome.FAILED]
    assert failed == ["exp", "iat"]
    assert inspection.code is Code.TOKEN_EXPIRED
    assert "3600 s ago" in found(inspection, "exp")
    assert "3600 s ahead" in found(inspection, "iat")


def test_a_forged_token_is_checked_to_its_end_and_names_nobody(signer: Signer) -> None:
    """Claims are explained under a bad signature too, but no identity is read from them."""
    token = signer.token(claims={"exp": int(NOW) - 3600})
    forged = token[:-8] + (b"AAAAAAAA" if not token.endswith(b"AAAAAAAA") else b"BBBBBBBB")
    inspection = inspected(signer, forged)
    assert inspection.code is Code.SIGNATURE_INVALID
    assert outcomes(inspection)["exp"] == "failed"
    assert outcomes(inspection)["user_id"] == "not_performed"


def test_what_cannot_be_read_is_not_performed(signer: Signer) -> None:
    """No token, no further check: every other one stands there as not performed."""
    inspection = inspected(signer, b"not a token")
    assert outcomes(inspection).pop("form") == "failed"
    assert {check.outcome for check in inspection.checks[1:]} == {Outcome.NOT_PERFORMED}


@pytest.mark.parametrize(
    ("claims", "user_id", "email"),
    [
        ({"user_id": 42}, '"42": an integer, as its decimal text', '"ada@example.com": kept as it is; proven'),
        ({"user_id": LEFT_OUT}, '"ada@example.com": the email stands in for it', "; proven"),
        (
            {"email": "Ada@Example.COM"},
            '"user-1": kept as it is',
            '"ada@example.com": in its compared spelling; proven',
        ),
        ({"email_verified": False}, '"user-1": kept as it is', "claimed, so it links nothing"),
        ({"email": LEFT_OUT}, '"user-1": kept as it is', "absent"),
    ],
)
def test_normalisation_is_explained(signer: Signer, claims: dict[str, object], user_id: str, email: str) -> None:
    """What became of the ids, and why."""
    inspection = inspected(signer, signer.token(claims=claims))
    assert found(inspection, "user_id") == user_id
    assert found(inspection, "email").endswith(email)


@pytest.mark.parametrize(
    ("claims", "name", "code"),
    [
        ({"user_id": "undefined"}, "user_id", Code.USER_ID_PLACEHOLDER),
        ({"user_id": None}, "user_id", Code.CLAIM_TYPE),
        ({"email": "nobody"}, "email", Code.EMAIL_INVALID),
        ({"email_verified": "true"}, "email", Code.CLAIM_TYPE),
        ({"user_id": "bob@example.com"}, "email", Code.EMAIL_MISMATCH),
    ],
)
def test_a_refused_identity_names_its_field(signer: Signer, claims: dict[str, object], name: str, code: Code) -> None:
    """The check of the field that is to blame fails, with its code; the other one was not performed."""
    inspection = inspected(signer, signer.token(claims=claims))
    assert {check.name: check.code for check in inspection.checks if check.code} == {name: code}


def test_the_key_that_signed_is_named() -> None:
    """With several live secrets and no kid, the explanation says which one it was."""
    first, second = signer_for("HS256"), signer_for("HS256")
    token = second.token(header={"kid": LEFT_OUT})
    assert "each key is tried" in found(inspected(second, token), "key")
    assert found(inspected(second, token), "signature") == "verified with key-1"
    assert inspected(first, token).code is Code.SIGNATURE_INVALID


def test_b12_no_explanation_holds_the_token_or_its_signature(signer: Signer) -> None:
    """An explanation can be passed on: it cannot be replayed (advisory B12)."""
    token = signer.token()
    told = " ".join(check.expected + check.found for check in inspected(signer, token).checks)
    assert not any(segment.decode() in told for segment in token.split(b"."))


def test_long_and_odd_values_are_cut_and_escaped(signer: Signer) -> None:
    """A value is shown as JSON in ASCII, and only its beginning."""
    inspection = inspected(signer, signer.token(claims={"exp": "\u202e" + "x" * 1000}))
    assert found(inspection, "exp").startswith(json.dumps("\u202exxx")[:-1])
    assert len(found(inspection, "exp")) < 300


def test_an_unknown_workspace_is_no_explanation(signer: Signer) -> None:
    """There is nothing to check against."""
    with pytest.raises(Refusal) as refused:
        at_once(inspect_token(signer.token(), "nobody", verifier_for(signer), NOW))
    assert refused.value.code is Code.REQUEST_INVALID
    assert refused.value.field == "app_id"


def test_proof_levels_are_told_apart(signer: Signer) -> None:
    """The principal of an unverified email carries it as a mere claim."""
    principal = inspected(signer, signer.token(claims={"email_verified": False})).principal
    assert principal is not None
    assert principal.email_proof is Proof.CLAIMED
