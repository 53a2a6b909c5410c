"""Tokens that are well signed, in time, and say nobody, or what cannot be told from somebody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.errors import Code
from gateway.identity.broken.entry import BrokenToken, free_ids, placeholder
from gateway.identity.crafting import LEFT_OUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.identity.crafting import Signer

_EMAIL = "ada@example.com"


def _user_id(value: Any, **claims: Any) -> Callable[[Signer], bytes]:
    """Well signed, with this id and these claims."""
    return lambda signer: signer.token(claims={signer.user_id_claim: value, **claims})


def _email(value: Any, **claims: Any) -> Callable[[Signer], bytes]:
    """Well signed, with this email and these claims."""
    return lambda signer: signer.token(claims={"email": value, **claims})


def _placeholder(slug: str, value: str | int, about: str) -> BrokenToken:
    return BrokenToken(slug, Code.USER_ID_PLACEHOLDER, about, _user_id(value), placeholder(str(value)))


def _invalid_id(slug: str, value: str, about: str) -> BrokenToken:
    return BrokenToken(slug, Code.USER_ID_INVALID, about, _user_id(value), free_ids)


def _mistyped_id(slug: str, value: Any, about: str) -> BrokenToken:
    return BrokenToken(slug, Code.CLAIM_TYPE, about, _user_id(value), free_ids)


PEOPLE = (
    _placeholder(
        "placeholder-undefined",
        "undefined",
        "The user id is `undefined`, as JavaScript writes what is not there: all who send it would be one person.",
    ),
    _placeholder(
        "placeholder-null", "null", "The user id is the text `null`: everybody who sends it would be one person."
    ),
    _placeholder("placeholder-quoted", '"null"', "The user id is `null` in quotes, as encoding it twice gives."),
    _placeholder("placeholder-zero", 0, "The user id is the number 0, as many languages have it for nobody."),
    _placeholder("placeholder-template", "{{user_id}}", "The user id is a template that nobody filled in."),
    _placeholder(
        "placeholder-full-width",
        "\uff4e\uff55\uff4c\uff4c",
        "The user id is `null` in full-width letters, which folding makes the same word.",
    ),
    _placeholder(
        "placeholder-nil-uuid",
        "00000000-0000-0000-0000-000000000000",
        "The user id is the nil UUID, the default of an id that was never set (RFC 9562 section 5.9).",
    ),
    _placeholder(
        "placeholder-repeated",
        "xxxxxxxx",
        "The user id is one letter again and again, as somebody types who has to type something.",
    ),
    _mistyped_id("user-id-null", None, "The user id is null: that nobody is logged in must not look like somebody."),
    _mistyped_id(
        "user-id-true",
        True,  # noqa: FBT003 - a value, not a switch
        "The user id is `true`: it is text or a whole number, and nothing is guessed.",
    ),
    _mistyped_id("user-id-fraction", 1.0, "The user id is 1.0, which is `1` to one program and `1.0` to the next."),
    _mistyped_id("user-id-list", ["user-1"], "The user id is a list: a query made of it could mean several people."),
    BrokenToken(
        "user-id-missing",
        Code.USER_ID_MISSING,
        "There is neither a user id nor an email: a good signature under nobody.",
        lambda signer: signer.token(claims={signer.user_id_claim: LEFT_OUT, "email": LEFT_OUT}),
    ),
    BrokenToken(
        "email-unverified-only",
        Code.USER_ID_MISSING,
        "Only an email, and `email_verified` is false: whoever types an address would become its owner.",
        lambda signer: signer.token(claims={signer.user_id_claim: LEFT_OUT, "email": _EMAIL, "email_verified": False}),
        free_ids,
    ),
    _invalid_id(
        "user-id-zero-width",
        "user\u200b-1",
        "The user id holds a zero-width space: it looks like another one and is not.",
    ),
    _invalid_id(
        "user-id-bidi", "user\u202e1-", "The user id turns the direction of writing: an operator reads another one."
    ),
    _invalid_id(
        "user-id-blank-behind", "user-1 ", "The user id ends in a blank, which one system trims and the next keeps."
    ),
    _invalid_id(
        "user-id-newline",
        "user-1\r\nX-User-Id: admin",
        "The user id holds a line break and a header: it would be sent on to your application.",
    ),
    _invalid_id(
        "user-id-not-nfc",
        "ame\u0301lie",
        "The user id spells an accent apart (NFD): it looks like the composed spelling, and is another id.",
    ),
    _invalid_id(
        "user-id-too-long",
        "ab" * 128,
        "The user id has 256 characters; two that differ behind the limit must not become one.",
    ),
    BrokenToken(
        "email-not-an-address",
        Code.EMAIL_INVALID,
        "The email has no @: what is no address proves nothing.",
        _email("ada.example.com"),
    ),
    BrokenToken(
        "email-two-ats",
        Code.EMAIL_INVALID,
        "The email has two @, and which domain counts depends on the reader (CVE-2026-40574).",
        _email("attacker@evil.example@company.example"),
    ),
    BrokenToken(
        "email-header-injection",
        Code.EMAIL_INVALID,
        "The email holds a line break: it would become another line of a mail's header.",
        _email("ada@example.com\r\nBcc: eve@example.com"),
    ),
    BrokenToken("email-number", Code.CLAIM_TYPE, "The email is a number.", _email(1)),
    BrokenToken(
        "email-verified-text",
        Code.CLAIM_TYPE,
        '`email_verified` is the text "false", which many languages take for true.',
        _email(_EMAIL, email_verified="false"),
    ),
    BrokenToken(
        "email-mismatch",
        Code.EMAIL_MISMATCH,
        "The user id is an email and the email is another one: one of them is somebody else's.",
        _user_id("eve@example.com", email=_EMAIL),
        free_ids,
    ),
)
"""Step 8 of the way of a token."""
