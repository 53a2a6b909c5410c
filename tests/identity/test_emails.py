"""One spelling of an email, and no address that is another one after folding, trimming or splitting."""

from __future__ import annotations

import traceback

import pytest
from hypothesis import example, given, settings

from gateway.errors import Code, Refusal
from gateway.identity.principal import _validated_email, normalise_email
from tests.identity.values import EMAIL_CODES, EMAILS, JSON, email_of


@given(JSON | EMAILS)
@example("a" * 10_000_000)
@example("@" * 10_000)
@example("\ud800@example.com")
def test_any_json_value_is_an_email_or_a_refusal(value: object) -> None:
    """Design 4, B07: one @, at most 254 bytes, ASCII in lower case, idempotent; else one of two codes."""
    found = email_of(value)
    if found in EMAIL_CODES:
        return
    assert isinstance(value, str)
    assert email_of(found) == found
    assert found.count("@") == 1
    assert len(found.encode()) <= 254
    assert not any(one.isascii() and one.isupper() for one in found)
    # The local part is the one that was signed, but for the case of its ASCII letters.
    local, signed = found.rpartition("@")[0], value.rpartition("@")[0]
    assert len(local) == len(signed)
    assert all(one == two or (two.isascii() and one == two.lower()) for one, two in zip(local, signed, strict=True))


@settings(max_examples=1000)
@given(EMAILS)
@example("a@b.test")
@example("a@b.c-d.com")
@example("a.b.c.d@e.f.g.h.com")
@example("a" * 64 + "@example.com")
@example("a" * 63 + ".b@example.com")
@example("a" * 32 + "." + "b" * 32 + "@example.com")
@example("a@" + "b" * 63 + ".com")
@example("a@" + ".".join("b" * 63 for _ in range(3)) + ".com")
@example("a@" + ".".join(["b" * 61] * 4) + ".co")
@example("A-_+@X-9.ORG")
@example("a@1.2.3.com")
@example("a@xn--a.com")
def test_the_fast_path_finds_what_the_slow_one_finds(address: str) -> None:
    """The plain addresses that skip `email-validator` are those, and only those, that it would take as they are."""
    try:
        slow = _validated_email(address, "email") if len(address) <= 254 else Code.EMAIL_INVALID
    except Refusal as refusal:
        slow = refusal.code
    assert email_of(address) == slow


NO_ADDRESSES = (
    *("a@b@example.com", "attacker@evil.example@company.example", "a@@example.com"),
    *('"a@b"@example.com', "@", "a@", "@b"),
    *("ada", "ada@localhost", "ada@example"),
    *("ada@[127.0.0.1]", "Ada <ada@example.com>", "ada@example.com ", "a b@c.de"),
    *("a@" + "b." * 130 + "com", "\u00e9" * 120 + "@example.com" + "m" * 20, "a\0@example.com"),
    *("ada@\uff45xample.com", "ada@\u017fun.example"),
    *("ada@a\u3002example", "ada@STRA\u1e9eE.de", "ada@M\u00dcNCHEN.de"),
    *("ada\u3164@example.com", "ada@\u212aelvin.example", "a\u200bda@example.com", "ame\u0301lie@example.com"),
)


@pytest.mark.parametrize("address", NO_ADDRESSES, ids=range(len(NO_ADDRESSES)))
def test_b07_what_is_no_address(address: str) -> None:
    """B07: several @, over-long, hidden or folded: refused, not repaired."""
    assert email_of(address) == Code.EMAIL_INVALID


def test_a17_a_refused_address_is_in_no_traceback() -> None:
    """A17: the validator's own error quotes the address; it goes no further."""
    address = "ada@" + "-example.com"
    with pytest.raises(Refusal) as caught:
        normalise_email(address)
    assert address not in "".join(traceback.format_exception(caught.value))
    assert (caught.value.__cause__, caught.value.__suppress_context__) == (None, True)


def test_mike_is_not_dotless_mike() -> None:
    """CVE-2019-19844, and GitHub's of 2016: no case mapping of Unicode makes one address of two."""
    names = ("mike", "m\u0131ke", "m\u0130ke", "\u017fam", "sam")
    assert len({email_of(f"{name}@example.org") for name in names} - EMAIL_CODES) == len(names)
    assert email_of("MIKE@EXAMPLE.ORG") == "mike@example.org"
    assert email_of("M\u0131KE@example.org") == "m\u0131ke@example.org"
    assert email_of("mike@g\u0131thub.example") != email_of("mike@github.example")


def test_an_address_has_one_spelling() -> None:
    """Design 4: compared in lower case; a domain in Punycode is the domain in Unicode."""
    assert email_of("Ada.Lovelace+X@Example.COM") == "ada.lovelace+x@example.com"
    assert email_of("ada@xn--mnchen-3ya.de") == email_of("ada@m\u00fcnchen.de") == "ada@m\u00fcnchen.de"
