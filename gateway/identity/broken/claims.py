"""Tokens that are well signed and stand outside of their issuer's bounds: times, issuer, audience."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.errors import Code
from gateway.identity.broken.entry import (
    BrokenToken,
    audience_checked,
    exp_required,
    issuer_checked,
    issuer_named,
    lifetime_bounded,
    session_known,
)
from gateway.identity.crafting import LEFT_OUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.identity.crafting import Signer

_HOUR = 3600


def _claims(**claims: Any) -> Callable[[Signer], bytes]:
    """Well signed, with these claims."""
    return lambda signer: signer.token(claims=claims)


def _expired(signer: Signer) -> bytes:
    end = int(signer.now) - signer.policy.leeway - _HOUR
    return signer.token(claims={"iat": end - 60, "exp": end})


def _ahead(claim: str) -> Callable[[Signer], bytes]:
    """A time an hour ahead, leeway included."""
    return lambda signer: signer.token(claims={claim: int(signer.now) + signer.policy.leeway + _HOUR})


def _session_over(signer: Signer) -> bytes:
    begin = int(signer.now) - signer.policy.leeway - 600
    return signer.token(claims={"iat": begin, "exp": int(signer.now) + 60, "session_duration": 300_000})


def _session_fits(signer: Signer) -> str | None:
    """Needs, besides, tokens that may be older than a session."""
    longest = signer.policy.max_lifetime
    if longest is not None and longest < signer.policy.leeway + 660:
        return "this issuer's tokens live shorter than the shortest session"
    return session_known(signer)


def _lives_too_long(signer: Signer) -> bytes:
    lifetime = 2 * (signer.policy.max_lifetime or 0) + _HOUR
    return signer.token(claims={"iat": int(signer.now), "exp": int(signer.now) + lifetime})


def _issuer(change: Callable[[str], Any]) -> Callable[[Signer], bytes]:
    """The issuer's `iss`, changed."""
    return lambda signer: signer.token(claims={"iss": change(signer.policy.issuer or "")})


def _audience(change: Callable[[str], Any]) -> Callable[[Signer], bytes]:
    """The issuer's first `aud`, changed."""
    return lambda signer: signer.token(claims={"aud": change(signer.policy.audience[0])})


CLAIMS = (
    BrokenToken(
        "expired",
        Code.TOKEN_EXPIRED,
        "`exp` was an hour ago: a token that leaked must stop working (RFC 7519 section 4.1.4).",
        _expired,
    ),
    BrokenToken(
        "exp-missing",
        Code.CLAIM_MISSING,
        "There is no `exp`: such a token works for ever, also in the hands of a thief.",
        _claims(exp=LEFT_OUT),
        exp_required,
    ),
    BrokenToken(
        "exp-text",
        Code.CLAIM_TYPE,
        "`exp` is text: compared as such, it is never past (RFC 7519 section 2).",
        _claims(exp="9999999999"),
    ),
    BrokenToken(
        "exp-true", Code.CLAIM_TYPE, "`exp` is `true`, which some languages count as the number 1.", _claims(exp=True)
    ),
    BrokenToken(
        "exp-in-milliseconds",
        Code.CLAIM_TYPE,
        "`exp` is in milliseconds, as JavaScript's `Date.now()` has it: in seconds that is 50,000 years.",
        lambda signer: signer.token(claims={"exp": (int(signer.now) + 600) * 1000}),
    ),
    BrokenToken(
        "lifetime-too-long",
        Code.LIFETIME_TOO_LONG,
        "It lives more than twice as long as the issuer may allow: a long life is a long time to leak.",
        _lives_too_long,
        lifetime_bounded,
    ),
    BrokenToken(
        "not-yet-valid",
        Code.TOKEN_NOT_YET_VALID,
        "`nbf` is an hour ahead: it was issued for later, or a clock is wrong (RFC 7519 section 4.1.5).",
        _ahead("nbf"),
    ),
    BrokenToken(
        "nbf-text",
        Code.CLAIM_TYPE,
        "`nbf` is text: a time that cannot be compared must not be skipped (RFC 7519 section 2).",
        _claims(nbf="1970-01-01T00:00:00Z"),
    ),
    BrokenToken(
        "issued-in-future",
        Code.ISSUED_IN_FUTURE,
        "`iat` is an hour ahead: a lifetime that is counted from it could be stretched at will.",
        lambda signer: signer.token(
            claims={
                "iat": int(signer.now) + signer.policy.leeway + _HOUR,
                "exp": int(signer.now) + signer.policy.leeway + _HOUR + 60,
            }
        ),
    ),
    BrokenToken(
        "iat-text",
        Code.CLAIM_TYPE,
        "`iat` is text: neither the lifetime nor a revocation can be reckoned from it (RFC 7519 section 2).",
        _claims(iat="now"),
    ),
    BrokenToken(
        "jti-number",
        Code.CLAIM_TYPE,
        "`jti` is a number: a revocation by id would look for its text and miss it (RFC 7519 section 4.1.7).",
        _claims(jti=1),
    ),
    BrokenToken(
        "session-over",
        Code.TOKEN_EXPIRED,
        "`session_duration`, counted from `iat`, is over, though `exp` is not: the earlier end counts.",
        _session_over,
        _session_fits,
    ),
    BrokenToken(
        "session-in-seconds",
        Code.CLAIM_TYPE,
        "`session_duration` is 3600, an hour in seconds; it is in milliseconds, and that would be under four seconds.",
        _claims(session_duration=3600),
        session_known,
    ),
    BrokenToken(
        "session-without-iat",
        Code.CLAIM_MISSING,
        "It has a `session_duration` and no `iat`: a session that begins nowhere would never end.",
        _claims(session_duration=3_600_000, iat=LEFT_OUT),
        session_known,
    ),
    BrokenToken(
        "issuer-unknown",
        Code.ISSUER_UNKNOWN,
        "`iss` is somebody whom the workspace does not trust (RFC 8725 section 3.8).",
        _issuer(lambda _issuer: "https://nobody.example"),
        issuer_checked,
        Code.ALG_NOT_ALLOWED,
    ),
    BrokenToken(
        "issuer-prefix",
        Code.ISSUER_UNKNOWN,
        "`iss` begins with the trusted one and goes on: a comparison of prefixes takes it (CVE-2024-53861).",
        _issuer(lambda issuer: issuer + ".evil.example"),
        issuer_checked,
        Code.ALG_NOT_ALLOWED,
    ),
    BrokenToken(
        "issuer-trailing-slash",
        Code.ISSUER_UNKNOWN,
        "`iss` with a slash behind: names of issuers are compared letter by letter (RFC 8725 section 3.8).",
        _issuer(lambda issuer: issuer + "/"),
        issuer_checked,
        Code.ALG_NOT_ALLOWED,
    ),
    BrokenToken(
        "issuer-missing",
        Code.ISSUER_UNKNOWN,
        "There is no `iss`, so whose keys to try would be a guess (RFC 8725 section 3.8).",
        _claims(iss=LEFT_OUT),
        issuer_checked,
        Code.ALG_NOT_ALLOWED,
    ),
    BrokenToken(
        "issuer-list",
        Code.CLAIM_TYPE,
        "`iss` is a list with the right name in it: a lenient comparison finds it (CVE-2024-53861).",
        _issuer(lambda issuer: [issuer]),
        issuer_named,
    ),
    BrokenToken(
        "audience-wrong",
        Code.AUDIENCE_MISMATCH,
        "`aud` is another service: a token that was given away there must not open this door (RFC 8725 section 3.9).",
        _audience(lambda _audience: "somebody-else"),
        audience_checked,
    ),
    BrokenToken(
        "audience-prefix",
        Code.AUDIENCE_MISMATCH,
        "`aud` begins with the right one and goes on: it is compared letter by letter (RFC 7519 section 4.1.3).",
        _audience(lambda audience: audience + "-staging"),
        audience_checked,
    ),
    BrokenToken(
        "audience-missing",
        Code.CLAIM_MISSING,
        "There is no `aud`, so the token may have been meant for anybody (RFC 8725 section 3.9).",
        _claims(aud=LEFT_OUT),
        audience_checked,
    ),
    BrokenToken(
        "audience-not-text",
        Code.CLAIM_TYPE,
        "`aud` is an object whose key is the right name: it is text, or a list of texts (RFC 7519 section 4.1.3).",
        _audience(lambda audience: {audience: True}),
        audience_checked,
    ),
)
"""Step 7 of the way of a token, and step 3."""
