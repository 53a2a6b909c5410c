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

LAST_SECOND = 253_402_300_799
"""The last second of the year 9999: what a date can hold."""


class ClaimPolicy(Struct, frozen=True):
    """An issuer's bounds. Seconds; `max_lifetime` None sets no bound; an empty `audience` asks for none."""

    require_exp: bool = True
    leeway: int = 60
    max_lifetime: int | None = 86_400
    issuer: str | None = None
    audience: tuple[str, ...] = ()


class VerifiedClaims(Struct, frozen=True):
    """Claims that are signed and within their issuer's bounds. Built in `check_claims` and nowhere else."""

    claims: dict[str, Any]
    expires_at: float | None
    issued_at: float | None
    token_id: str | None


def check_claims(signed: SignedClaims, policy: ClaimPolicy, now: float) -> VerifiedClaims:
    """The claims, if every check passes; raises the `Refusal` of the first that does not."""
    claims = signed.claims
    for _, check in CHECKS:
        check(claims, policy, now)
    return VerifiedClaims(claims, claims.get("exp"), claims.get("iat"), claims.get("jti"))


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
    ("iss", check_iss),
    ("aud", check_aud),
    ("jti", check_jti),
)
"""Every claim check, in order; inspection runs the very same table."""
