"""`session_duration`: an identity ends with its session or at `exp`, whichever is earlier, and nothing extends it."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import Code, Refusal
from gateway.identity.claims import CHECKS, ClaimPolicy, check_claims
from gateway.identity.crafting import LEFT_OUT
from gateway.identity.inspection import inspect_token
from gateway.identity.jose import SignedClaims
from gateway.identity.verifier import TokenVerifier
from tests.awaited import at_once
from tests.identity.test_corpus import signer_for
from tests.identity.test_verifier import NOW, trusted

HOUR = 3600
SESSION = ClaimPolicy(session_duration=HOUR, session_claim=True)


def ends(policy: ClaimPolicy, now: float = NOW, **claims: Any) -> float | None:
    """When claims end that are accepted at `now`."""
    return check_claims(SignedClaims({"iat": NOW, "exp": NOW + 2 * HOUR, **claims}, None), policy, now).expires_at


def refused(policy: ClaimPolicy, now: float = NOW, **claims: Any) -> tuple[Code, str | None]:
    """The code and the field of claims that are refused at `now`."""
    with pytest.raises(Refusal) as refusal:
        ends(policy, now, **claims)
    return refusal.value.code, refusal.value.field


def test_the_session_ends_after_its_duration() -> None:
    """It begins with `iat`; leeway holds at its end as at every other, and then it is over."""
    assert ends(SESSION) == NOW + HOUR
    assert ends(SESSION, NOW + HOUR + 59) == NOW + HOUR
    assert refused(SESSION, NOW + HOUR + 60) == (Code.TOKEN_EXPIRED, "session_duration")


def test_exp_is_final() -> None:
    """Facts: Intercom 1.11, complaint 1: no duration, of the issuer or the token, reaches past `exp`."""
    long = ClaimPolicy(session_duration=10 * HOUR, session_claim=True)
    for claims in ({}, {"session_duration": 9 * HOUR * 1000}, {"session_duration": 9e13}):
        assert ends(long, exp=NOW + 600, **claims) == NOW + 600
        assert refused(long, NOW + 660, exp=NOW + 600, **claims) == (Code.TOKEN_EXPIRED, "exp")


@pytest.mark.parametrize(("milliseconds", "seconds"), [(300_000, 300), (300_000.5, 300.0005), (1_800_000, 1800)])
def test_the_token_may_shorten_it(milliseconds: float, seconds: float) -> None:
    """Facts: Intercom 1.4: milliseconds, from five minutes; longer than the issuer's own it changes nothing."""
    assert ends(SESSION, session_duration=milliseconds) == NOW + seconds
    assert ends(SESSION, session_duration=milliseconds * 1000) == NOW + HOUR
    assert refused(SESSION, NOW + seconds + 60, session_duration=milliseconds)[0] is Code.TOKEN_EXPIRED
    alone = ClaimPolicy(session_claim=True)
    assert ends(alone, session_duration=milliseconds) == NOW + seconds


@pytest.mark.parametrize(
    "value",
    [299_999, 3600, 0, -300_000, True, "3600000", None, [], {}, [300_000], 1e300, float("inf"), float("nan"), 10**30],
    ids=repr,
)
def test_a_duration_that_is_none_is_refused(value: object) -> None:
    """Loudly: seconds taken for milliseconds, or a text, must not become a session of another length (facts 6.6)."""
    for policy in (SESSION, ClaimPolicy(session_claim=True)):
        assert refused(policy, session_duration=value) == (Code.CLAIM_TYPE, "session_duration")


def test_without_iat_there_is_no_session() -> None:
    """A session that begins nowhere would never end."""
    claims = {"exp": NOW + HOUR}
    for policy, more in ((SESSION, {}), (ClaimPolicy(session_claim=True), {"session_duration": 300_000})):
        with pytest.raises(Refusal) as refusal:
            check_claims(SignedClaims({**claims, **more}, None), policy, NOW)
        assert (refusal.value.code, refusal.value.field) == (Code.CLAIM_MISSING, "iat")


def test_a_strangers_claim_of_this_name_means_nothing() -> None:
    """Another kind of issuer may mean seconds, or something else: where nobody configured it, it is not looked at."""
    assert ends(ClaimPolicy(), session_duration="whatever") == NOW + 2 * HOUR


def test_the_session_stands_in_for_exp() -> None:
    """Where an issuer's tokens have no `exp`, the session ends them all the same."""
    policy = ClaimPolicy(require_exp=False, max_lifetime=None, session_duration=HOUR)
    verified = check_claims(SignedClaims({"iat": NOW}, None), policy, NOW)
    assert verified.expires_at == NOW + HOUR
    assert policy.longest_life == HOUR


@pytest.mark.parametrize(
    ("bounds", "longest"),
    [
        ({}, None),
        ({"max_lifetime": 300}, None),
        ({"session_duration": 600}, 600),
        ({"max_lifetime": 300, "session_duration": 600}, 300),
        ({"require_exp": False}, None),
        ({"max_lifetime": None}, None),
        ({"require_exp": False, "session_duration": 600}, 600),
    ],
)
def test_how_long_a_token_can_live(bounds: dict[str, Any], longest: int | None) -> None:
    """Without `exp`, a longest lifetime binds nobody; without `iat`, nobody knows when it began."""
    assert ClaimPolicy(**bounds).longest_life == longest


def test_inspection_shows_the_session() -> None:
    """A check of its own, with what it expects and what it found."""
    assert "session_duration" in dict(CHECKS)
    signer = signer_for("HS256")
    verifier = TokenVerifier([trusted(signer, policy=SESSION)], lambda: NOW)
    for claims, code, found in (
        ({"session_duration": 3600}, Code.CLAIM_TYPE, "3600: session_duration is no number"),
        ({"session_duration": LEFT_OUT}, None, "no session_duration"),
    ):
        inspection = at_once(inspect_token(signer.token(claims={"iat": NOW, **claims}), "acme", verifier, NOW))
        check = next(one for one in inspection.checks if one.name == "session_duration")
        assert (inspection.code, check.code) == (code, code)
        assert check.found.startswith(found)
        assert check.expected == "absent, or at least 300000 ms; iat not more than 3600 s ago; leeway 60 s"
