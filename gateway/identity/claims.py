"""Step 7: what signed claims must say. One function a claim, in a fixed table; each bound can be set per issuer.

Times are JSON numbers (RFC 7519 section 2, NumericDate), finite and within four-digit years: neither text nor booleans
(R13, facts: peers 0.5). `iss` and `aud` are compared exactly, as strings (RFC 8725 sections 3.8 and 3.9, A14).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from msgspec import Struct

from gateway.errors import Code, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.identity.jose import SignedClaims

SHORTEST_SESSION = 300
"""Seconds; a shorter session would end while somebody types (facts: Intercom 1.4)."""

LAST_SECOND = 253_402_300_799
"""The last second of the year 9999: what a date can hold."""


class ClaimPolicy(Struct, frozen=True):
    """An issuer's bounds. Seconds; `max_lifetime` None sets no bound; an empty `audience` asks for none.

    `session_duration` ends an identity that long after its token was issued, however late its `exp` is; where
    `session_claim` is set, the token's own `session_duration` may end it earlier.
    """

    require_exp: bool = True
    leeway: int = 60
    max_lifetime: int | None = 86_400
    issuer: str | None = None
    audience: tuple[str, ...] = ()
    session_duration: int | None = None
    session_claim: bool = False

    @property
    def longest_life(self) -> int | None:
        """Within how many seconds of its issue every token is dead, leeway aside; None where nothing sets a bound.

        `max_lifetime` alone sets none: of a token without `iat` it counts from now, so one with a far `exp` is refused
        at first and taken in the end. A session asks for `iat`.
        """
        if self.session_duration is None:
            return None
        lifetime = self.max_lifetime if self.require_exp else None
        return self.session_duration if lifetime is None else min(lifetime, self.session_duration)


class VerifiedClaims(Struct, frozen=True):
    """Claims that are signed and within their issuer's bounds. Built in `check_claims` and nowhere else.

    `expires_at` is the earlier of `exp` and the end of the session; nothing extends it.
    """

    claims: dict[str, Any]
    expires_at: float | None
    issued_at: float | None
    token_id: str | None


def check_claims(signed: SignedClaims, policy: ClaimPolicy, now: float) -> VerifiedClaims:
    """The claims, if every check passes; raises the `Refusal` of the first that does not."""
    claims = signed.claims
    for _, check in CHECKS:
        check(claims, policy, now)
    return VerifiedClaims(claims, ends_at(claims, policy), claims.get("iat"), claims.get("jti"))


def ends_at(claims: dict[str, Any], policy: ClaimPolicy) -> float | None:
    """When checked claims end, leeway aside: at `exp` or with the session, whichever is earlier; None for never."""
    exp: float | None = claims.get("exp")
    end = session_end(claims, policy)
    return exp if end is None else end if exp is None else min(exp, end)


def check_exp(claims: dict[str, Any], policy: ClaimPolicy, now: float) -> None:
    """`exp`: required unless the issuer says otherwise, and not past (RFC 7519 section 4.1.4)."""
    if "exp" not in claims:
        if policy.require_exp:
            raise Refusal(Code.CLAIM_MISSING, "exp is required", field="exp")
        return
    if numeric_date(claims, "exp") <= now - policy.leeway:
        raise Refusal(Code.TOKEN_EXPIRED, "exp is past, leeway included", field="exp")


def check_nbf(claims: dict[str, Any], policy: ClaimPolicy, now: float) -> None:
    """`nbf`: not in the future (RFC 7519 section 4.1.5)."""
    if "nbf" in claims and numeric_date(claims, "nbf") > now + policy.leeway:
        raise Refusal(Code.TOKEN_NOT_YET_VALID, "nbf is in the future, leeway included", field="nbf")


def check_iat(claims: dict[str, Any], policy: ClaimPolicy, now: float) -> None:
    """`iat`: not in the future (RFC 7519 section 4.1.6)."""
    if "iat" in claims and numeric_date(claims, "iat") > now + policy.leeway:
        raise Refusal(Code.ISSUED_IN_FUTURE, "iat is in the future, leeway included", field="iat")


def check_lifetime(claims: dict[str, Any], policy: ClaimPolicy, now: float) -> None:
    """From `iat`, else from now, to `exp`: no longer than the issuer may allow."""
    if policy.max_lifetime is None or "exp" not in claims:
        return
    begin = numeric_date(claims, "iat") if "iat" in claims else now
    if numeric_date(claims, "exp") - begin > policy.max_lifetime:
        raise Refusal(Code.LIFETIME_TOO_LONG, f"the token lives longer than {policy.max_lifetime} s", field="exp")


def check_session(claims: dict[str, Any], policy: ClaimPolicy, now: float) -> None:
    """The session, where there is one, is not over."""
    end = session_end(claims, policy)
    if end is not None and end <= now - policy.leeway:
        raise Refusal(Code.TOKEN_EXPIRED, "the session is over, leeway included", field="session_duration")


def session_end(claims: dict[str, Any], policy: ClaimPolicy) -> float | None:
    """When the session ends: `iat` and the issuer's duration, or the token's own, which is in milliseconds and shorter.

    None where there is no session. Raises `Refusal`: claim_type, claim_missing.
    """
    duration: float | None = policy.session_duration
    if policy.session_claim and "session_duration" in claims:
        milliseconds = claims["session_duration"]
        # As `numeric_date`: no boolean, nothing that is not finite.
        if type(milliseconds) not in {int, float} or not SHORTEST_SESSION * 1000 <= milliseconds <= LAST_SECOND * 1000:
            raise Refusal(
                Code.CLAIM_TYPE, "session_duration is no number of milliseconds from 300000", field="session_duration"
            )
        duration = milliseconds / 1000 if duration is None else min(duration, milliseconds / 1000)
    if duration is None:
        return None
    if "iat" not in claims:
        raise Refusal(Code.CLAIM_MISSING, "iat is required, for the session begins with it", field="iat")
    return numeric_date(claims, "iat") + duration


def check_iss(claims: dict[str, Any], policy: ClaimPolicy, now: float) -> None:  # noqa: ARG001 - one shape for all
    """`iss`: exactly the configured one (advisory A14)."""
    if policy.issuer is None:
        return
    if "iss" not in claims:
        raise Refusal(Code.CLAIM_MISSING, "iss is required", field="iss")
    if not isinstance(claims["iss"], str):
        raise Refusal(Code.CLAIM_TYPE, "iss is not a string", field="iss")
    if claims["iss"] != policy.issuer:
        raise Refusal(Code.ISSUER_UNKNOWN, "iss is not the configured issuer", field="iss")


def check_aud(claims: dict[str, Any], policy: ClaimPolicy, now: float) -> None:  # noqa: ARG001 - one shape for all
    """`aud`: a string or a list of strings with one of ours in it (RFC 7519 section 4.1.3)."""
    if not policy.audience:
        return
    if "aud" not in claims:
        raise Refusal(Code.CLAIM_MISSING, "aud is required", field="aud")
    found = claims["aud"]
    audiences = [found] if isinstance(found, str) else found
    if not isinstance(audiences, list) or not all(isinstance(one, str) for one in audiences):
        raise Refusal(Code.CLAIM_TYPE, "aud is neither a string nor a list of strings", field="aud")
    if not set(audiences) & set(policy.audience):
        raise Refusal(Code.AUDIENCE_MISMATCH, "aud names none of the configured audiences", field="aud")


def check_jti(claims: dict[str, Any], policy: ClaimPolicy, now: float) -> None:  # noqa: ARG001 - one shape for all
    """`jti`: text, when there is one (RFC 7519 section 4.1.7)."""
    if not isinstance(claims.get("jti", ""), str):
        raise Refusal(Code.CLAIM_TYPE, "jti is not a string", field="jti")


def numeric_date(claims: dict[str, Any], name: str) -> float:
    """A time claim in seconds; `Refusal(claim_type)` unless it is a finite JSON number of a four-digit year."""
    value = claims[name]
    # `type` and not `isinstance`: a boolean is no number. NaN and the infinities lie within no bounds.
    if type(value) in {int, float} and 0 <= value <= LAST_SECOND:
        return cast("float", value)
    raise Refusal(Code.CLAIM_TYPE, f"{name} is not a time in seconds", field=name)


CHECKS: tuple[tuple[str, Callable[[dict[str, Any], ClaimPolicy, float], None]], ...] = (
    ("exp", check_exp),
    ("nbf", check_nbf),
    ("iat", check_iat),
    ("lifetime", check_lifetime),
    ("session_duration", check_session),
    ("iss", check_iss),
    ("aud", check_aud),
    ("jti", check_jti),
)
"""Every claim check, in order; inspection runs the very same table."""
