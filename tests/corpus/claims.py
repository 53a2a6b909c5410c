"""Tokens that are well signed and say what must not be believed: times, issuers, audiences, ids, emails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.errors import Code
from gateway.identity.crafting import LEFT_OUT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.identity.crafting import Signer
    from tests.corpus.signer import Cases

DAY = 86_400
# What is no NumericDate (RFC 7519 section 2), nor within four-digit years.
_NO_TIMES: Mapping[str, object] = {
    "text": "9999999999",
    "text of a number with an exponent": "1e10",
    "empty text": "",
    "date as text": "2099-01-01T00:00:00Z",
    "true": True,
    "false": False,
    "null": None,
    "list": [9999999999],
    "object": {"value": 9999999999},
    "negative": -1,
    "negative fraction": -0.5,
    "milliseconds of a far year": 1e15,
    "18 digits": 10**18,
    "beyond 64 bits": 2**64,
    "1e308": 1e308,
    "one after the year 9999": 253_402_300_800,
}


def claim_cases(signer: Signer) -> Cases:
    """R13, R14: exp, nbf and iat are numbers, and stand where they may stand."""
    now = int(signer.now)
    for claim in ("exp", "nbf", "iat"):
        for name, value in _NO_TIMES.items():
            yield f"{claim} {name}", signer.token(claims={claim: value}), Code.CLAIM_TYPE
    for name, value in {"0": 0, "0.5": 0.5, "a day ago": now - DAY, "ten minutes ago": now - 600}.items():
        yield f"exp {name}", signer.token(claims={"exp": value, "iat": LEFT_OUT}), Code.TOKEN_EXPIRED
    late = {"iat": now - 7200, "exp": now - 3600, "aud": "nobody", "user_id": "null"}
    yield "exp past, and more is wrong", signer.token(claims=late), Code.TOKEN_EXPIRED
    for name, value in {"in ten minutes": now + 600, "next year": now + 365 * DAY}.items():
        yield f"nbf {name}", signer.token(claims={"nbf": value}), Code.TOKEN_NOT_YET_VALID
        yield f"iat {name}", signer.token(claims={"iat": value}), Code.ISSUED_IN_FUTURE
    for claim in ("exp", "nbf", "iat"):
        yield f"{claim} in milliseconds", signer.token(claims={claim: now * 1000}), Code.CLAIM_TYPE
    wrong_ids: dict[str, object] = {"list": ["a"], "object": {}, "null": None, "true": True}
    for shown, jti in wrong_ids.items():
        yield f"jti {shown}", signer.token(claims={"jti": jti}), Code.CLAIM_TYPE
    if signer.policy.max_lifetime is None:
        return
    long: dict[str, dict[str, object]] = {
        "two days": {"exp": now + 2 * DAY},
        "a minute over a day": {"exp": now + DAY + 60, "iat": now},
        "two days, without iat": {"exp": now + 2 * DAY, "iat": LEFT_OUT},
        "old, and not yet past": {"exp": now + 600, "iat": now - DAY},
        "iat 0": {"iat": 0},
        "the year 9999": {"exp": 253_402_300_799},
    }
    for name, claims in long.items():
        yield f"lifetime: {name}", signer.token(claims=claims), Code.LIFETIME_TOO_LONG


def issuer_cases(signer: Signer) -> Cases:
    """R15, A14: iss and aud are ours byte for byte."""
    issuer, audience = signer.claims["iss"], signer.claims["aud"]
    unknown = Code.ALG_NOT_ALLOWED if signer.beside_secrets else Code.ISSUER_UNKNOWN
    for name, value in _near_misses(issuer).items():
        yield f"iss {name}", signer.token(claims={"iss": value}), unknown
    wrong_types: dict[str, object] = {
        "number": 1,
        "true": True,
        "object": {"iss": issuer},
        "null": None,
    }
    for name, wrong in wrong_types.items():
        yield f"iss {name}", signer.token(claims={"iss": wrong}), Code.CLAIM_TYPE
    for name, value in _near_misses(audience).items():
        yield f"aud {name}", signer.token(claims={"aud": value}), Code.AUDIENCE_MISMATCH
        yield f"aud list of one {name}", signer.token(claims={"aud": [value]}), Code.AUDIENCE_MISMATCH
    yield "aud empty list", signer.token(claims={"aud": []}), Code.AUDIENCE_MISMATCH
    wrong_types = {"number": 1, "true": True, "null": None}
    wrong_types |= {"list with a number": [audience, 1], "list with a list": [[audience]]}
    wrong_types |= {"list with null": [None, audience]}
    for name, wrong in wrong_types.items():
        yield f"aud {name}", signer.token(claims={"aud": wrong}), Code.CLAIM_TYPE


def _near_misses(text: str) -> dict[str, str]:
    return {
        "empty": "",
        "in capitals": text.upper(),
        "cut": text[:-1],
        "with a blank behind": text + " ",
        "with a blank before": " " + text,
        "with NUL behind": text + "\0",
        "with a newline behind": text + "\n",
        "first letter only": text[0],
        "with a zero-width space": text + "\u200b",
        "full-width": chr(ord(text[0]) + 0xFEE0) + text[1:],
        "star": "*",
    }


def user_id_cases(signer: Signer) -> Cases:
    """R18, C09: an id is text or an integer, and means somebody."""
    types: dict[str, object] = {
        "false": False,
        "fraction": 1.5,
        "empty list": [],
        "object": {"id": "user-1"},
        "empty object": {},
    }
    for name, value in types.items():
        yield f"user_id {name}", signer.token(claims={"user_id": value}), Code.CLAIM_TYPE
    for text in _PLACEHOLDERS:
        yield f"placeholder {text!r}", signer.token(claims={"user_id": text}), Code.USER_ID_PLACEHOLDER
    yield "placeholder number -1", signer.token(claims={"user_id": -1}), Code.USER_ID_PLACEHOLDER
    for name, text in _INVALID_IDS.items():
        yield f"user_id {name}", signer.token(claims={"user_id": text}), Code.USER_ID_INVALID
    # No store and no header carries half of a surrogate pair: the whole token is no text.
    for name, text in {
        "high": "a\ud800",
        "low": "\udc00b",
        "exchanged pair": "\udc00\ud800",
        "in CESU": "\ud800x\udc00",
    }.items():
        yield f"user_id surrogate, {name}", signer.token(claims={"user_id": text}), Code.TOKEN_MALFORMED
        yield f"name surrogate, {name}", signer.token(claims={"name": text}), Code.TOKEN_MALFORMED
        yield f"member name surrogate, {name}", signer.token(claims={text: 1}), Code.TOKEN_MALFORMED
    nobody: dict[str, dict[str, Any]] = {
        "another spelling": {"User_Id": "user-1", "userId": "user-1", "user_id ": "user-1", "email": LEFT_OUT},
    }
    for name, claims in nobody.items():
        yield f"user_id left out, {name}", signer.token(claims={"user_id": LEFT_OUT, **claims}), Code.USER_ID_MISSING


_PLACEHOLDERS = (
    *("", "none", "nil", "nan", "n/a", "na", "unknown", "anonymous", "guest", "test", "user"),
    *("user_id", "userid", "id", "email", "default", "true", "false", "not_authenticated", "distinct_id"),
    *("[object object]", "[object Object]", "0", "-1", "NULL", "Undefined", "NaN", "GUEST", "None"),
    *(
        "'undefined'",
        '""',
        "''",
        "`null`",
        "\u201cnull\u201d",
        "\uff2e\uff35\uff2c\uff2c",
        "nUll",
    ),
    *("000", "00-00", "-", "aaaa", "1111", "...."),
    *("{{ user.id }}", "${user_id}", "%user_id%", "<user_id>", ":user_id", "<%= user.id %>"),
)

_INVALID_IDS = {
    "of 300 characters": "ab" * 150,
    "of 300 letters beyond ASCII": "張三" * 150,
    "of 5,000 characters": "ab" * 2500,
    "NUL": "\0",
    "NUL within": "user\0-1",
    "NUL behind": "user-1\0",
    "blank": " ",
    "tab": "\t",
    "blank before": " user-1",
    "newline behind": "user-1\n",
    "no-break space behind": "user-1\u00a0",
    "ideographic space before": "\u3000user-1",
    "newline within": "user\n1",
    "CRLF within": "user\r\nX-User-Id: admin",
    "escape": "user\x1b[31m1",
    "DEL": "user\x7f1",
    "next line": "user\x851",
    "zero-width joiner": "user\u200d-1",
    "word joiner": "user\u2060-1",
    "byte order mark": "\ufeffuser-1",
    "soft hyphen": "us\u00ader-1",
    "bidi isolate": "user\u20661",
    "line separator": "user\u20281",
    "tag character": "user\U000e0041",
    "Angstrom sign": "\u212bngstrom",
    "Kelvin sign": "\u212aelvin",
    "private use": "user\ue000",
    "Hangul filler": "\u3164",
    "half-width Hangul filler within": "user\uffa01",
    "blank of Braille behind": "user-1\u2800",
    "grapheme joiner": "us\u034fer-1",
    "variation selector alone": "\ufe0f",
    "no character": "user\uffff",
}


def email_cases(signer: Signer) -> Cases:
    """B07, C06: one address, in one spelling, and proven by nothing but true."""
    for name, text in _INVALID_EMAILS.items():
        yield f"email {name}", signer.token(claims={"email": text}), Code.EMAIL_INVALID
    for name, wrong in {"true": True, "false": False, "list": ["a@b.example"], "object": {}}.items():
        yield f"email {name}", signer.token(claims={"email": wrong}), Code.CLAIM_TYPE
    for shown, flag in {"'true'": "true", "1": 1, "0": 0, "null": None, "list": [True]}.items():
        yield f"email_verified {shown}", signer.token(claims={"email_verified": flag}), Code.CLAIM_TYPE
    for user_id in ("ADA@example.org", "ada@example.com.evil.example"):
        yield f"user_id {user_id} beside another email", signer.token(claims={"user_id": user_id}), Code.EMAIL_MISMATCH


_INVALID_EMAILS = {
    "empty": "",
    "blank": " ",
    "only @": "@",
    "no local part": "@example.com",
    "no domain": "ada@",
    "two @, joined": "ada@@example.com",
    "three @": "a@b@c@example.com",
    "two addresses": "ada@example.com,eve@example.com",
    "two addresses with a blank": "ada@example.com eve@example.com",
    "quoted @": '"ada@company.example"@evil.example',
    "quoted local part": '"ada"@example.com',
    "comment": "ada(comment)@example.com",
    "display name": "Ada <ada@example.com>",
    "mailto": "mailto:ada@example.com@example.com",
    "blank before": " ada@example.com",
    "blank behind": "ada@example.com ",
    "newline behind": "ada@example.com\n",
    "NUL": "ada\0@example.com",
    "dots in a row": "ada..l@example.com",
    "dot before": ".ada@example.com",
    "dot behind": "ada.@example.com",
    "dots in the domain": "ada@example..com",
    "domain with a dot behind": "ada@example.com.",
    "domain with a hyphen before": "ada@-example.com",
    "domain with an underscore": "ada@exa_mple.com",
    "one label": "ada@example",
    "localhost": "ada@localhost",
    "address literal": "ada@[127.0.0.1]",
    "IP address": "ada@127.0.0.1",
    "300 characters": "ada@" + "a.b" * 97 + ".example.com",
    "label of 64": "ada@" + "a" * 64 + ".com",
    "zero-width space": "ada\u200b@example.com",
    "bidi override": "ada\u202e@example.com",
    "not in NFC": "ame\u0301lie@example.com",
    "Kelvin sign in the domain": "ada@\u212aelvin.example",
    "full-width @": "ada\uff20example.com",
    "full-width letter in the domain": "ada@\uff45xample.com",
    "long s in the domain": "ada@\u017fun.example",
    "capital sharp s in the domain": "ada@stra\u1e9ee.example",
    "ideographic full stop in the domain": "ada@example\u3002com",
    "Hangul filler": "ada\u3164@example.com",
    "template": "{{email}}",
    "placeholder": "undefined",
}
