"""Explaining a token: every check of the way of a token, in order, with what it expects and what it found.

The checks are the verifier's own functions, run one by one, so an explanation cannot differ from production. Unlike the
verifier it goes on where it can: the claims of a token whose signature fails are checked all the same, and each of them
is, so that one wrong claim hides no other (facts: peers 1.5). The code is that of the first check that failed, which is
the one that a client would meet. Nothing here holds a token; the values of claims are for the operator who holds it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self, TypeGuard

from msgspec import Struct

from gateway.errors import Code, Outage, Refusal
from gateway.identity.claims import CHECKS, LAST_SECOND, SHORTEST_SESSION, ClaimPolicy, VerifiedClaims, check_claims
from gateway.identity.jose import SignedClaims, verify_signature
from gateway.identity.platforms import Platform, is_enabled
from gateway.identity.principal import EMAIL_LIMIT, USER_ID_LIMIT, Principal, Proof, principal_of
from gateway.identity.unverified import TOKEN_LIMIT, parse_token
from gateway.identity.verifier import check_algorithm, choose_issuer, choose_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gateway.identity.issuer import TrustedIssuer
    from gateway.identity.unverified import UnverifiedToken
    from gateway.identity.verifier import TokenVerifier

_SHOWN = 200  # characters of a value
_TIMES = frozenset({"exp", "nbf", "iat"})
_PLAN = (
    *((2, "form"), (3, "issuer"), (4, "algorithm"), (5, "key"), (6, "signature")),
    *((7, name) for name, _ in CHECKS),
    *((8, "user_id"), (8, "email")),
)
"""Every check by its step of the way of a request (design section 3) and its name, in order."""


class Outcome(StrEnum):
    """How a check ended; `not_performed` where what it needs was not there."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_PERFORMED = "not_performed"


class Check(Struct, frozen=True):
    """One check: its step and name, how it ended, what it expects and what it found; the code where it failed."""

    step: int
    name: str
    outcome: Outcome
    expected: str = ""
    found: str = ""
    code: Code | None = None


class Inspection(Struct, frozen=True):
    """All checks of a token in order, and its principal when every one of them passed."""

    checks: tuple[Check, ...]
    principal: Principal | None

    @property
    def code(self) -> Code | None:
        """The code that a client meets; None for a token that is accepted."""
        return next((check.code for check in self.checks if check.code is not None), None)


async def inspect_token(
    token: bytes, workspace: str, verifier: TokenVerifier, now: float, platform: Platform | None = None
) -> Inspection:
    """Explain a token as presented to a workspace, from a platform, at `now` (seconds).

    Raises `Refusal` when there is no such workspace.
    """
    issuers = verifier.issuers(workspace)
    report = _Report()
    unverified = issuer = None
    with report.check(2, "form", _FORM, f"{len(token)} bytes"):
        unverified = parse_token(token)
    if unverified is not None:
        expected = _one_of(by.issuer or ("any other, or none" if by.ignores_iss else "none") for by in issuers)
        with report.check(3, "issuer", expected, _shown(unverified.unverified_claims, "iss")) as checking:
            issuer = choose_issuer(unverified, issuers)
            checking.found += f": the issuer {issuer.name}"
    if unverified is None or issuer is None:
        return report.finished(None)
    signed = await _check_signature(unverified, issuer, platform, report)
    for name, check in CHECKS:
        claims, policy = unverified.unverified_claims, issuer.policy
        with report.check(7, name, _EXPECTED[name](policy), _found(name, claims, now)):
            check(claims, policy, now)
    if signed is None or report.failed:
        return report.finished(None)
    return report.finished(_check_identity(check_claims(signed, issuer.policy, now), issuer, report))


async def _check_signature(
    token: UnverifiedToken, issuer: TrustedIssuer, platform: Platform | None, report: _Report
) -> SignedClaims | None:
    """Steps 4 to 6."""
    allowed, keys = False, None
    with report.check(4, "algorithm", _one_of(issuer.algorithms), _quoted(token.algorithm)):
        check_algorithm(token, issuer)
        allowed = True
    if allowed:
        named = "no kid, so each key is tried" if token.key_id is None else _quoted(token.key_id)
        with report.check(5, "key", "", named) as checking:
            try:
                keys = await choose_keys(token, issuer, platform)
            finally:  # only now is at hand what the issuer publishes
                enabled = [key for key in issuer.keys.keys if is_enabled(key, platform)]
                checking.expected = _one_of(key.kid or "a key without kid" for key in enabled)
    if keys is not None:
        with report.check(6, "signature", f"made with a key of {issuer.name}") as checking:
            signed = verify_signature(token, keys)
            checking.found = f"verified with {signed.key_id or 'the key without kid'}"
            return signed
    return None


def _check_identity(verified: VerifiedClaims, issuer: TrustedIssuer, report: _Report) -> Principal | None:
    """Step 8. The principal is made whole or not at all, so a refusal is noted at the field that it names."""
    claims = verified.claims
    try:
        principal = principal_of(verified, issuer)
    except Refusal as refusal:
        field = refusal.field or issuer.user_id_claim
        name = "user_id" if field == issuer.user_id_claim else "email"
        report.add(8, name, _IDENTITY[name], _shown(claims, field), refusal)
        return None
    how = "an integer, as its decimal text" if isinstance(claims.get(issuer.user_id_claim), int) else "kept as it is"
    how = "the email stands in for it" if principal.by_email else how
    report.add(8, "user_id", _IDENTITY["user_id"], f"{_quoted(principal.user_id)}: {how}")
    email = "absent"
    if principal.email is not None:
        how = "kept as it is" if principal.email == claims["email"] else "in its compared spelling"
        proof = "proven" if principal.email_proof is Proof.SIGNED else "claimed, so it links nothing"
        email = f"{_quoted(principal.email)}: {how}; {proof}"
    report.add(8, "email", _IDENTITY["email"], email)
    return principal


class _Checking:
    """A check under way, as a block: it passed, or failed with the `Refusal` or `Outage` that the block raises."""

    def __init__(self, report: _Report, step: int, name: str, expected: str, found: str) -> None:
        self.expected = expected
        self.found = found
        self._report = report
        self._place = step, name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if error is not None and not isinstance(error, Refusal | Outage):
            return False
        self._report.add(*self._place, self.expected, self.found, error)
        return error is not None


class _Report:
    """The checks so far."""

    def __init__(self) -> None:
        self._checks: dict[tuple[int, str], Check] = {}

    @property
    def failed(self) -> bool:
        """Whether a check has failed."""
        return any(check.code is not None for check in self._checks.values())

    def check(self, step: int, name: str, expected: str, found: str = "") -> _Checking:
        """The check that the block performs; the block may say more of what it expects and found."""
        return _Checking(self, step, name, expected, found)

    def add(self, step: int, name: str, expected: str, found: str, error: Refusal | Outage | None = None) -> None:
        """Note how a check ended."""
        if error is None:
            self._checks[step, name] = Check(step, name, Outcome.PASSED, expected, found)
        else:
            found = f"{found}: {error.reason}" if found else error.reason
            self._checks[step, name] = Check(step, name, Outcome.FAILED, expected, found, error.code)

    def finished(self, principal: Principal | None) -> Inspection:
        """The checks in order; what was not noted was not performed."""
        checks = (self._checks.get(place) or Check(*place, Outcome.NOT_PERFORMED) for place in _PLAN)
        return Inspection(tuple(checks), principal)


def _found(name: str, claims: Mapping[str, Any], now: float) -> str:
    """What a claim check looks at; a time also as a date and as its distance from now."""
    if name != "lifetime":
        return _shown(claims, name) + (_moment(claims[name], now) if name in _TIMES and name in claims else "")
    begin, end = claims.get("iat", now), claims.get("exp")
    return f"{end - begin:.0f} s" if _is_number(begin) and _is_number(end) else "no time to measure"


def _moment(value: object, now: float) -> str:
    if not _is_number(value) or not 0 <= value <= LAST_SECOND:
        return ""
    distance = f"{abs(value - now):.0f} s {'ahead' if value > now else 'ago'}"
    return f" ({datetime.fromtimestamp(value, UTC).isoformat(timespec='seconds')}, {distance})"


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(claims: Mapping[str, Any], name: str) -> str:
    return _quoted(claims[name]) if name in claims else f"no {name}"


def _quoted(value: object) -> str:
    """A value as JSON, its end cut off where it is long."""
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _one_of(names: Iterable[str]) -> str:
    return "one of: " + (", ".join(dict.fromkeys(names)) or "none at hand")


def _session(policy: ClaimPolicy) -> str:
    """What a token's session may be."""
    own = f"absent, or at least {SHORTEST_SESSION * 1000} ms" if policy.session_claim else "any"
    ends = "" if policy.session_duration is None else f"; iat not more than {policy.session_duration} s ago"
    return f"{own}{ends}; leeway {policy.leeway} s" if ends else own


_FORM = f"three segments of canonical base64url, strict JSON, at most {TOKEN_LIMIT} bytes, no header extension"
_IDENTITY = {
    "user_id": f"1 to {USER_ID_LIMIT} plain characters, no placeholder; or a proven email in its place",
    "email": f"absent, or one valid address of at most {EMAIL_LIMIT} bytes; equal to a user_id that is an email",
}
_EXPECTED: dict[str, Callable[[ClaimPolicy], str]] = {
    "exp": lambda policy: f"{'' if policy.require_exp else 'absent, or '}not past; leeway {policy.leeway} s",
    "nbf": lambda policy: f"absent, or not in the future; leeway {policy.leeway} s",
    "iat": lambda policy: f"absent, or not in the future; leeway {policy.leeway} s",
    "lifetime": lambda policy: "any" if policy.max_lifetime is None else f"at most {policy.max_lifetime} s to exp",
    "session_duration": _session,
    "iss": lambda policy: "any" if policy.issuer is None else f"exactly {_quoted(policy.issuer)}",
    "aud": lambda policy: _one_of(policy.audience) if policy.audience else "any",
    "jti": lambda _: "absent, or text",
}
