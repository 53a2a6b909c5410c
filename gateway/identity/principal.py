"""Step 8: who a verified token says it is. One place brings ids to their one spelling, for every way in.

Ids are compared byte by byte and never repaired: what could be mistaken for another id is refused instead, so that two
signed ids are never one contact, and one id is never two (R20, design section 4).
"""

from __future__ import annotations

import math
import re
import unicodedata
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from email_validator import validate_email
from msgspec import Struct

from gateway.errors import Code, Refusal
from gateway.identity.claims import LAST_SECOND
from gateway.identity.placeholders import is_placeholder, placeholder_spelling

if TYPE_CHECKING:
    from gateway.identity.claims import VerifiedClaims
    from gateway.identity.issuer import TrustedIssuer

USER_ID_LIMIT = 255
EMAIL_LIMIT = 254
_TEXT_LIMIT = 255

_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@:|+-]*")
_PLAIN_EMAIL = re.compile(
    r"[A-Za-z0-9_+-]{1,63}(?:\.[A-Za-z0-9_+-]{1,63}){0,3}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,4}[A-Za-z]{2,24}"
)
_SPECIAL_DOMAINS = frozenset({"arpa", "invalid", "local", "localhost", "onion", "test"})
# Cc control, Cf format (zero-width, bidi), Cs surrogate, Co private use, Cn unassigned, Zl and Zp line breaks.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# What Unicode counts among letters, marks and symbols, and no font draws: joiners, fillers, the blank of Braille.
_UNDRAWN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")


class Proof(StrEnum):
    """How an identity or an email was proven: by a signed token, a `user_hash`, an operator's import, or by nobody.

    The stronger stands first. `HASHED` identifies its one value and never links: it says nothing of the time, or of
    anything beside that value.
    """

    SIGNED = "signed"
    HASHED = "hashed"
    IMPORTED = "imported"
    CLAIMED = "claimed"


class IdRules(Struct, frozen=True):
    """A workspace's rules for ids: placeholders beside the list, exemptions from it, and the email fallback."""

    extra_placeholders: frozenset[str] = frozenset()
    exempt_placeholders: frozenset[str] = frozenset()
    email_fallback: bool = True


class Principal(Struct, frozen=True):
    """What a verified token, or `user_hash`, says who it is. Times in seconds.

    `by_email` says that the email stands in for a user_id; `proof` tells a token from a `user_hash`.
    """

    workspace: str
    issuer: str
    user_id: str
    by_email: bool
    email: str | None
    email_proof: Proof | None
    attributes: dict[str, Any]
    custom_attributes: dict[str, str | int | float | bool]
    token_id: str | None
    issued_at: float | None
    expires_at: float | None
    proof: Proof = Proof.SIGNED


def principal_of(verified: VerifiedClaims, issuer: TrustedIssuer) -> Principal:
    """Normalise the identity in verified claims.

    Raises `Refusal`: claim_type, user_id_missing, user_id_invalid, user_id_placeholder, email_invalid, email_mismatch.
    """
    claims = verified.claims
    # Back ends send a person without an address as null.
    email = normalise_email(claims["email"]) if claims.get("email") is not None else None
    proof = None if email is None else _email_proof(claims, issuer)
    # An issuer whose ids are emails is held to what holds for the fallback: proven, and in the one spelling.
    by_email = issuer.user_id_claim == "email" or issuer.user_id_claim not in claims
    if by_email:
        proven = email if proof is Proof.SIGNED else None
        user_id = fallback_user_id(proven, issuer.rules, field=issuer.user_id_claim)
    else:
        user_id = named_user_id(claims[issuer.user_id_claim], email, issuer.rules, field=issuer.user_id_claim)
    return Principal(
        issuer.workspace,
        issuer.name,
        user_id,
        by_email,
        email,
        proof,
        _attributes(claims),
        _custom_attributes(claims, issuer.custom_attributes),
        verified.token_id,
        verified.issued_at,
        verified.expires_at,
    )


def fallback_user_id(proven_email: str | None, rules: IdRules, *, field: str) -> str:
    """The user_id of somebody who has none: the proven email, in its compared spelling.

    Raises `Refusal`: user_id_missing naming the field where there is no such email, or the workspace takes none in its
    place; user_id_placeholder.
    """
    if proven_email is None or not rules.email_fallback:
        raise Refusal(Code.USER_ID_MISSING, "no user_id, and no proven email to stand in for it", field=field)
    # A workspace's own placeholders may be addresses, such as the one of a demonstration account.
    return normalise_user_id(proven_email, rules, field="email")


def named_user_id(value: object, email: str | None, rules: IdRules, *, field: str) -> str:
    """The one spelling of an id, which agrees with the email (compared spelling) beside it where it is one itself.

    Raises `Refusal`: as `normalise_user_id`, and email_mismatch.
    """
    user_id = normalise_user_id(value, rules, field=field)
    if email is not None and "@" in user_id and _is_other_email(user_id, email):
        raise Refusal(
            Code.EMAIL_MISMATCH, "the user_id is an email and differs from the email beside it", field="email"
        )
    return user_id


def normalise_user_id(value: object, rules: IdRules, *, field: str = "user_id") -> str:
    """The one spelling of an id: text as it is, an integer in decimal.

    Raises `Refusal` naming the field: claim_type, user_id_invalid, user_id_placeholder.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) >= 10**USER_ID_LIMIT:
            raise Refusal(Code.USER_ID_INVALID, "longer than 255 characters", field=field)
        value = str(value)
    if not isinstance(value, str):
        raise Refusal(Code.CLAIM_TYPE, "neither text nor an integer", field=field)
    if len(value) > USER_ID_LIMIT:
        raise Refusal(Code.USER_ID_INVALID, "longer than 255 characters", field=field)
    if not _PLAIN_ID.fullmatch(value):
        _check_spelling(value, field)
    _check_placeholder(value, rules, field)
    return value


def normalise_email(value: object, *, field: str = "email") -> str:
    """The compared spelling of an email: as `email-validator` has it, in lower case.

    Exactly one `@` (advisory B07), at most 254 bytes. A spelling that Unicode would fold into another address is
    refused, not folded; a domain in Punycode comes out in Unicode. Raises `Refusal` naming the field: claim_type,
    email_invalid.
    """
    if not isinstance(value, str):
        raise Refusal(Code.CLAIM_TYPE, "not text", field=field)
    if len(value) > EMAIL_LIMIT:
        raise Refusal(Code.EMAIL_INVALID, "longer than 254 bytes", field=field)
    if _PLAIN_EMAIL.fullmatch(value):
        local, _, domain = value.lower().rpartition("@")
        if domain.rpartition(".")[2] not in _SPECIAL_DOMAINS and "--" not in domain:
            return f"{local}@{domain}"
    return _validated_email(value, field)


def _validated_email(value: str, field: str) -> str:
    if value.count("@") != 1 or not unicodedata.is_normalized("NFC", value):
        raise Refusal(Code.EMAIL_INVALID, "not exactly one @, or not in NFC", field=field)
    if _holds_unseen(value):
        raise Refusal(Code.EMAIL_INVALID, "control or invisible characters", field=field)
    try:
        checked = validate_email(value, check_deliverability=False, test_environment=True)
    except ValueError:
        # `EmailNotValidError` is one; the cause would quote the address.
        raise Refusal(Code.EMAIL_INVALID, "not a valid address", field=field) from None
    # Only ASCII letters change case: Unicode's own mapping would make one address of two (the attack by which
    # m\u0131ke becomes mike, and the full-width domain the plain one).
    email = ascii_lower(checked.normalized)
    domain_spelled = value.rpartition("@")[2]
    if email != ascii_lower(value) and not domain_spelled.isascii():
        raise Refusal(Code.EMAIL_INVALID, "a domain that Unicode folds into another spelling", field=field)
    if len(email.encode()) > EMAIL_LIMIT:
        raise Refusal(Code.EMAIL_INVALID, "longer than 254 bytes", field=field)
    return email


def ascii_lower(text: str) -> str:
    """A text with its ASCII letters, and these alone, in lower case."""
    return "".join(character.lower() if character.isascii() else character for character in text)


def _check_spelling(value: str, field: str) -> None:
    if value != value.strip():
        raise Refusal(Code.USER_ID_INVALID, "white space around it", field=field)
    if not value:
        raise Refusal(Code.USER_ID_PLACEHOLDER, "empty", field=field)
    if _holds_unseen(value) or all(unicodedata.category(character)[0] in "MZ" for character in value):
        raise Refusal(Code.USER_ID_INVALID, "control, invisible or unassigned characters", field=field)
    if not unicodedata.is_normalized("NFC", value):
        raise Refusal(Code.USER_ID_INVALID, "not in Unicode's composed form (NFC)", field=field)


def _holds_unseen(text: str) -> bool:
    return any(unicodedata.category(character) in _REFUSED_CATEGORIES or character in _UNDRAWN for character in text)


def _check_placeholder(value: str, rules: IdRules, field: str) -> None:
    if rules.exempt_placeholders and value in rules.exempt_placeholders:
        return
    extra = rules.extra_placeholders
    if is_placeholder(value) or (extra and placeholder_spelling(value) in extra):
        raise Refusal(Code.USER_ID_PLACEHOLDER, "a placeholder, not a person's id", field=field)


def _email_proof(claims: dict[str, Any], issuer: TrustedIssuer) -> Proof:
    """`email_verified` decides; where it is absent, an authoritative issuer proves what it signs (advisory C06)."""
    verified = claims.get("email_verified", issuer.email_authoritative)
    if not isinstance(verified, bool):
        raise Refusal(Code.CLAIM_TYPE, "email_verified is not a boolean", field="email_verified")
    return Proof.SIGNED if verified else Proof.CLAIMED


def _is_other_email(user_id: str, email: str) -> bool:
    try:
        return normalise_email(user_id) != email
    except Refusal:
        return False


def _attributes(claims: dict[str, Any]) -> dict[str, Any]:
    """The signed standard attributes. One that no record could hold is left out: it must not cost anybody the login."""
    return {name: claims[name] for name, fits in _ATTRIBUTES.items() if name in claims and fits(claims[name])}


def _custom_attributes(claims: dict[str, Any], names: tuple[str, ...]) -> dict[str, str | int | float | bool]:
    return {name: claims[name] for name in names if name in claims and _is_flat(claims[name])}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _TEXT_LIMIT and is_storable(value)


def _is_boolean(value: object) -> bool:
    return isinstance(value, bool)


def _is_time(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LAST_SECOND


def _is_flat(value: object) -> bool:
    return _is_text(value) or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value))


def is_storable(text: str) -> bool:
    """Whether every engine can keep a text: no NUL, no half of a surrogate pair."""
    return "\0" not in text and (text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text))


_ATTRIBUTES = {
    "name": _is_text,
    "phone": _is_text,
    "avatar": _is_text,
    "language_override": _is_text,
    "signed_up_at": _is_time,
    "unsubscribed_from_emails": _is_boolean,
}
