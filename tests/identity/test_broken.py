"""The catalogue of broken tokens: each meets its code, for every kind of issuer; what is left out has its reason."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from gateway.errors import Code
from gateway.identity.broken import CATALOGUE
from gateway.identity.claims import ClaimPolicy
from gateway.identity.crafting import Signer, signer_for
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.principal import IdRules
from gateway.identity.verifier import TokenVerifier
from keys.jwk import SigningKey, generate_signing_key, key_from_jwk
from keys.keyset import KeySet
from tests.corpus import key_signer
from tests.identity import test_corpus
from tests.identity.test_corpus import ALGORITHMS, AUDIENCE, ISSUER, KID, NOW, verdict, verifier_for

if TYPE_CHECKING:
    from collections.abc import Mapping


def wrong_codes(signer: Signer, verifier: TokenVerifier) -> Mapping[str, str]:
    """The entries that suit a signer and do not meet their code, with what they met."""
    suited = [entry for entry in CATALOGUE.values() if entry.unsuited(signer) is None]
    assert len(suited) > 60
    met = {entry.slug: verdict(verifier, entry.make(signer)) for entry in suited}
    return {slug: found for slug, found in met.items() if found != CATALOGUE[slug].code_for(signer)}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_meets_its_code(algorithm: str) -> None:
    """Every entry is refused with its code; unbroken, the same signer's token is accepted."""
    signer = test_corpus.signer_for(algorithm)
    verifier = verifier_for(signer)
    assert verdict(verifier, signer.token()) == "accepted"
    assert wrong_codes(signer, verifier) == {}


def test_beside_messenger_secrets() -> None:
    """A workspace with both kinds of issuer, as in development mode: an `iss` of nobody ends at the secrets' list."""
    secrets = test_corpus.signer_for("HS256")
    login = key_signer("ES256", NOW, issuer=ISSUER, audience=AUDIENCE, kid=KID, beside_secrets=True)
    verifier = verifier_for(secrets, login)
    assert wrong_codes(secrets, verifier) == {}
    assert wrong_codes(login, verifier) == {}
    assert CATALOGUE["issuer-unknown"].code_for(login) is Code.ALG_NOT_ALLOWED


@pytest.mark.parametrize(
    ("policy", "user_id_claim", "exempt", "left_out"),
    [
        (ClaimPolicy(leeway=7200, issuer=ISSUER, audience=(AUDIENCE,)), "sub", "undefined", {"placeholder-undefined"}),
        (
            ClaimPolicy(
                max_lifetime=600, issuer=ISSUER, audience=(AUDIENCE,), session_duration=900, session_claim=True
            ),
            "sub",
            "",
            {"session-over"},
        ),
        (ClaimPolicy(max_lifetime=30, issuer=ISSUER, audience=(AUDIENCE,)), "sub", "", {"session-without-iat"}),
        (ClaimPolicy(max_lifetime=None, issuer=ISSUER, audience=(AUDIENCE,)), "sub", "", {"lifetime-too-long"}),
        (
            ClaimPolicy(require_exp=False, max_lifetime=None, issuer=ISSUER),
            "email",
            "",
            {
                "exp-missing",
                "lifetime-too-long",
                "audience-wrong",
                "placeholder-null",
                "user-id-bidi",
                "email-mismatch",
            },
        ),
    ],
    ids=["long leeway and an exemption", "short life in a session", "short life", "long life", "emails as ids"],
)
def test_other_bounds(policy: ClaimPolicy, user_id_claim: str, exempt: str, left_out: set[str]) -> None:
    """An issuer's own bounds move the tokens with them, or leave out what they allow; the kid may be missing."""
    named = generate_signing_key("ES256")
    for key in (named, SigningKey(None, named.algorithm, named.material)):
        rules = IdRules(exempt_placeholders=frozenset({exempt} - {""}))
        claims = {"user_id": "user-1", user_id_claim: "user-1", "email": "ada@example.com", "iss": ISSUER}
        claims |= {"email": "ada@example.com", **({"aud": AUDIENCE} if policy.audience else {})}
        signer = signer_for(key, NOW, claims, policy=policy, rules=rules, user_id_claim=user_id_claim)
        trusted = TrustedIssuer(
            name="login",
            workspace="acme",
            algorithms=("ES256",),
            keys=KeySet([key_from_jwk(key.public_jwk())]),
            policy=policy,
            email_authoritative=True,
            rules=rules,
            issuer=ISSUER,
            user_id_claim=user_id_claim,
        )
        verifier = TokenVerifier([trusted], lambda: NOW)
        assert verdict(verifier, signer.token()) == "accepted"
        assert wrong_codes(signer, verifier) == {}
        reasons = {entry.slug: entry.unsuited(signer) for entry in CATALOGUE.values()}
        assert left_out <= {slug for slug, reason in reasons.items() if reason}


def test_the_catalogue_reads_well() -> None:
    """Slugs are short and in one form; each entry says in one sentence what is wrong; no two say or are the same."""
    assert len(CATALOGUE) >= 50
    signer = test_corpus.signer_for("HS256")
    for slug, entry in CATALOGUE.items():
        assert slug == entry.slug
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+){0,4}", slug)
        assert re.fullmatch(r"[A-Z`0-9].{15,118}\.", entry.about), slug
    assert len({entry.about for entry in CATALOGUE.values()}) == len(CATALOGUE)
    tokens = [entry.make(signer) for entry in CATALOGUE.values() if entry.unsuited(signer) is None]
    assert len(set(tokens)) == len(tokens)
    assert all(entry.unsuited(signer) is None or len(entry.unsuited(signer) or "") > 20 for entry in CATALOGUE.values())


def test_every_code_of_a_token_is_there() -> None:
    """Each code that a token alone can meet, whoever is in the store, has an entry."""
    of_a_token = {
        *(Code.TOKEN_MALFORMED, Code.TOKEN_TOO_LARGE, Code.ALG_NOT_ALLOWED, Code.ISSUER_UNKNOWN, Code.KID_UNKNOWN),
        *(Code.SIGNATURE_INVALID, Code.CRIT_UNSUPPORTED, Code.TOKEN_EXPIRED, Code.TOKEN_NOT_YET_VALID),
        *(Code.ISSUED_IN_FUTURE, Code.LIFETIME_TOO_LONG, Code.AUDIENCE_MISMATCH, Code.CLAIM_MISSING, Code.CLAIM_TYPE),
        *(Code.USER_ID_MISSING, Code.USER_ID_PLACEHOLDER, Code.USER_ID_INVALID, Code.EMAIL_INVALID),
        Code.EMAIL_MISMATCH,
    }
    assert {entry.code for entry in CATALOGUE.values()} == of_a_token


@pytest.mark.parametrize(
    ("advisory", "slugs"),
    [
        ("A01", {"hs256-with-public-key", "hs256-with-public-jwk"}),
        ("A02", {"alg-unknown", "alg-other-case"}),
        ("A03", {"alg-none", "alg-none-mixed-case", "alg-none-signed", "signature-empty"}),
        ("A04", {"embedded-jwk", "embedded-jwk-own-kid", "jku", "x5u"}),
        ("A05", {"crit"}),
        ("A06", {"b64-false"}),
        ("A11", {"unknown-kid"}),
        ("A12", {"deeply-nested"}),
        ("A13", {"padded-base64", "standard-base64", "spare-bits"}),
        ("A14", {"issuer-prefix", "issuer-trailing-slash", "issuer-list"}),
        ("A16", {"too-large"}),
        ("A18", {"five-segments", "compressed"}),
        ("A19", {"forged-and-expired"}),
        ("B07", {"email-two-ats"}),
        ("B13", {"identity-assertion"}),
        ("C06", {"email-unverified-only", "email-verified-text"}),
        ("C09", {"placeholder-undefined", "placeholder-quoted", "placeholder-full-width", "placeholder-zero"}),
    ],
)
def test_each_advisory_about_tokens_has_its_entry(advisory: str, slugs: set[str]) -> None:
    """What was a published hole elsewhere, and can be shown with one token, stands in the catalogue."""
    assert slugs <= CATALOGUE.keys(), advisory


def test_a_signer_shows_no_key() -> None:
    """A17: neither the secret nor a private key appears where a signer is printed, as in the trace of an error."""
    signer = test_corpus.signer_for("HS256")
    assert signer.key.decode() not in f"{signer} {signer!r}"
    assert "PRIVATE" not in repr(test_corpus.signer_for("ES256"))
