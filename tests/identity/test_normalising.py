"""One spelling of an id, one of an email: whatever is signed, ends as exactly one of them or as a refusal."""

from __future__ import annotations

import string
import traceback
import unicodedata
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.errors import Code, Refusal
from gateway.identity.claims import ClaimPolicy, VerifiedClaims
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.placeholders import placeholder_spelling
from gateway.identity.principal import (
    IdRules,
    Principal,
    Proof,
    _validated_email,
    normalise_email,
    normalise_user_id,
    principal_of,
)
from keys.keyset import KeySet

if TYPE_CHECKING:
    from collections.abc import Callable

RULES = IdRules()
ID_CODES = {Code.CLAIM_TYPE, Code.USER_ID_INVALID, Code.USER_ID_PLACEHOLDER}
EMAIL_CODES = {Code.CLAIM_TYPE, Code.EMAIL_INVALID}
CODES = ID_CODES | EMAIL_CODES | {Code.USER_ID_MISSING, Code.EMAIL_MISMATCH}


def id_of(value: object, rules: IdRules = RULES) -> str:
    """The normalised id, or the code of its refusal."""
    try:
        return normalise_user_id(value, rules)
    except Refusal as refusal:
        assert refusal.field == "user_id"  # noqa: PT017 - a refusal is one of two right outcomes
        return refusal.code


def email_of(value: object) -> str:
    """The normalised email, or the code of its refusal."""
    try:
        return normalise_email(value)
    except Refusal as refusal:
        assert refusal.field == "email"  # noqa: PT017 - a refusal is one of two right outcomes
        return refusal.code


def issuer_with(rules: IdRules = RULES, *, authoritative: bool = True, **more: Any) -> TrustedIssuer:
    return TrustedIssuer(
        name="login",
        workspace="acme",
        algorithms=("ES256",),
        keys=KeySet([]),
        policy=ClaimPolicy(),
        email_authoritative=authoritative,
        rules=rules,
        **more,
    )


ISSUER = issuer_with()


def principal(claims: dict[str, Any], issuer: TrustedIssuer = ISSUER) -> Principal:
    return principal_of(VerifiedClaims(claims, None, None, None), issuer)


def outcome(claims: dict[str, Any], issuer: TrustedIssuer = ISSUER) -> str:
    """`user_id` of the principal, or the code of the refusal."""
    try:
        return principal(claims, issuer).user_id
    except Refusal as refusal:
        return refusal.code


# Every character that Python can hold, halves of surrogate pairs among them, and those that spell trouble more often.
_TROUBLE = (
    "\0\t\n\r \u00a0\u00ad\u0130\u0131\u017f\u0301\u200b\u200d\u202e\u2060\u212a\u3000\u3164\ufe0f\ufeff"
    "\uff20\ud800\udfff\"'@.-0"
)
CHARACTERS = st.characters(codec=None, categories=None) | st.sampled_from(_TROUBLE)
TEXTS = st.text(CHARACTERS, max_size=12) | st.text(string.ascii_letters + string.digits + "@._-", max_size=12)
NUMBERS = st.integers() | st.integers(-(10**400), 10**400) | st.floats()
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def deep(depth: int) -> Any:
    """A list within a list, as deep as asked."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


@given(JSON)
@example(10**5000)
@example(-(10**255))
@example("\ud800")
@example("a" * 10_000_000)
def test_any_json_value_is_an_id_or_a_refusal(value: object) -> None:
    """Design 4: never anything but an id or one of three codes; never a 500 for any JSON value."""
    found = id_of(value)
    if found in ID_CODES:
        return
    assert isinstance(value, str | int)
    assert not isinstance(value, bool)
    assert found == (value if isinstance(value, str) else str(value))


def test_a12_a_deep_list_is_refused_as_any_other() -> None:
    """A12: 100,000 deep, where an id or an email belongs."""
    assert (id_of(deep(100_000)), email_of(deep(100_000))) == (Code.CLAIM_TYPE, Code.CLAIM_TYPE)


@given(TEXTS)
def test_r20_an_accepted_id_is_the_id_that_was_signed(text: str) -> None:
    """R20: never repaired, so two accepted ids that differ stay different, and one is never two; idempotent."""
    found = id_of(text)
    if found in ID_CODES:
        return
    assert found == text
    assert id_of(found) == text
    assert 1 <= len(found) <= 255
    assert found == found.strip() == unicodedata.normalize("NFC", found)
    assert found.encode().decode() == found
    assert not any(unicodedata.category(one) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for one in found)


@given(TEXTS, TEXTS)
def test_r20_what_unicode_calls_the_same_is_never_two_ids(left: str, right: str) -> None:
    """R20: of all texts that look one and the same (canonical equivalence, blanks around), one at most is an id."""
    for one in (left, right, left + right):
        forms = {one, one.strip(), *(unicodedata.normalize(form, one) for form in ("NFC", "NFD"))}
        accepted = [form for form in forms if id_of(form) not in ID_CODES]
        stripped = {unicodedata.normalize("NFC", form.strip()) for form in accepted}
        assert len(accepted) == len(stripped)


@given(st.integers(-(10**256), 10**256))
@example(10**255 - 1)
@example(10**255)
@example(-(10**254 - 1))
@example(2**64)
def test_r17_an_integer_and_its_decimal_text_are_one_id(number: int) -> None:
    """R17: never two contacts for 42 and "42"; one too long is refused in both."""
    assert id_of(number) == id_of(str(number))


@pytest.mark.parametrize(
    "value", [True, False, 1.0, 1e300, float("nan"), None, [], ["a"], {}, {"id": "a"}, [[]]], ids=repr
)
def test_other_types_are_refused(value: object) -> None:
    """Design 4: boolean, float, array, object and null are no ids."""
    assert id_of(value) == Code.CLAIM_TYPE


# Design section 4, the list as it stands there.
PLACEHOLDERS = (
    *("", "undefined", "null", "none", "nil", "nan", "n/a", "na", "unknown", "anonymous", "guest", "test", "user"),
    *("user_id", "userid", "id", "email", "default", "true", "false", "not_authenticated", "distinct_id"),
    *("[object object]", "0", "-1", "000", "0-0", "-", "----", "00000000-0000-0000-0000-000000000000"),
    *("aaaa", "1111", "zzzzzzzzzz", "____", "{{x}}", "${x}", "%x%", "<x>", ":x"),
    *("{{ user.id }}", "${user.id}", "%USER_ID%", "<user id>", ":user_id", "<%= user.id %>"),
)
FULL_WIDTH = {ord(one): ord(one) + 0xFEE0 for one in map(chr, range(0x21, 0x7F))} | {0x20: 0x3000}
DISGUISES: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "upper case": str.upper,
    "title case": str.title,
    "swapped case": lambda text: "".join(one.upper() if place % 2 else one for place, one in enumerate(text)),
    "in double quotes": lambda text: f'"{text}"',
    "in single quotes": lambda text: f"'{text}'",
    "in backquotes": lambda text: f"`{text}`",
    "in curly quotes": lambda text: f"\u201c{text}\u201d",
    "in German quotes": lambda text: f"\u201e{text}\u201c",
    "in guillemets": lambda text: f"\u00ab{text}\u00bb",
    "in quotes twice": lambda text: f"\"'{text}'\"",
    "one quote": lambda text: f"{text}'",
    "blanks in quotes": lambda text: f'" {text} "',
    "full-width": lambda text: text.translate(FULL_WIDTH),
    "full-width capitals": lambda text: text.upper().translate(FULL_WIDTH),
    "full-width quotes": lambda text: f"\uff02{text}\uff02",
    "mathematical bold": lambda text: "".join(
        chr(0x1D41A + ord(one) - 97) if one in string.ascii_lowercase else one for one in text
    ),
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_r18_c09_placeholders_are_refused_in_every_disguise(disguise: str) -> None:
    """R18, C09: after NFKC, case folding and removal of quotes; a capital of a template is still a template."""
    dressed = {text: DISGUISES[disguise](text) for text in PLACEHOLDERS}
    wrong = {text: id_of(shown) for text, shown in dressed.items() if id_of(shown) != Code.USER_ID_PLACEHOLDER}
    # An ideographic blank first of all is white space around, which is refused too.
    assert {code for text, code in wrong.items() if not dressed[text].startswith("\u3000")} == set()


BLANKS = (
    *("\t", "\n", "\v", "\f", "\r", "\x1c", "\x1d"),
    *("\x1e", "\x1f", " ", "\x85", "\u00a0", "\u1680", "\u2000", "\u2003"),
    *("\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\u200b", "\u200c", "\u200d", "\u2060"),
    *("\ufeff", "\u00ad", "\u180e", "\u3164", "\uffa0", "\u115f", "\u1160", "\u2800", "\u034f", "\u17b4", "\U000e0020"),
)


@pytest.mark.parametrize("blank", BLANKS, ids=lambda blank: f"U+{ord(blank):04X}")
def test_r18_blank_and_invisible_ids_are_refused(blank: str) -> None:
    """R18: what nobody sees is no id, alone or repeated, and stands neither before nor behind one."""
    assert {id_of(blank * times) for times in (1, 2, 5)} <= ID_CODES
    for text in (f"{blank}user-1", f"user-1{blank}", f"{blank}null", f"null{blank}"):
        assert id_of(text) in ID_CODES


@pytest.mark.parametrize("text", ["\ufe0f", "\u0301", "\u0301\u0302", "\u20dd", "\U000e0100"])
def test_an_id_of_marks_alone_is_refused(text: str) -> None:
    """R18: combining marks and variation selectors with nothing to stand on."""
    assert id_of(text) == Code.USER_ID_INVALID


ODD_IDS = (
    *("Jennifer Null", "Null Island", "0x1F600", "\u5f35"),
    *("\U0001f600", "\u2764\ufe0f", "\U0001f469\U0001f3fd", "nullable"),
    *("https://example.com/u/1?x=y#z"),
    *("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "auth0|5f7c8ec7c33c6c004bbafe82"),
    *("007", "00a", "-5", "+1", "1e5", "0.5", "1", "42", "-0x1", "00000000-0000-0000-0000-000000000001", "aaa", "000a"),
    *("O'Brien", "d'Arc", "'tis", '"quoted" name', "a b", "a  b"),
    *("a/../b", "../etc", "C:\\x", "%41", "a%20b", "100%", "{}"),
    *("{x", "<b", "a<b>", "x:y", ":", ":1", "=1+1", "@handle", "#1", "$x", "~", "!", "null@example.org", "undefined-1"),
    *("guest-1", "testuser", "user1", "users", "userid7"),
    *("id-1", "test@example.com", "nulls", "True North", "none-such"),
    *("\u03a9", "\u00df", "\u1e9e", "\u0130", "\u0131", "m\u0131ke", "mike", "Mike", "MIKE", "stra\u00dfe", "strasse"),
    *("\u05e9\u05dc\u05d5\u05dd", "\u0928\u092e\u0938\u094d\u0924\u0947", "\u0623\u062d\u0645\u062f", "\ud55c\uae00"),
    *("\ufb01x", "\uff21b", "\u2460a", "\u00b2x", "x" + "y" * 254, "\u5f35\u4e09" * 127 + "\u5f35"),
)


@pytest.mark.parametrize("text", ODD_IDS, ids=range(len(ODD_IDS)))
def test_r19_odd_but_real_ids_work(text: str) -> None:
    """R19, R20: taken as they are; each of the look-alikes above is an id of its own."""
    assert id_of(text) == text


def test_a_workspace_adds_placeholders_and_exempts_from_them() -> None:
    """Design 4: an addition is compared like the list, an exemption byte by byte."""
    rules = IdRules(
        extra_placeholders=frozenset(map(placeholder_spelling, ("Demo-User", "noreply@example.com"))),
        exempt_placeholders=frozenset({"test", "0", "demo-user"}),
    )
    assert [id_of(text, rules) for text in ("test", "0", 0, "demo-user")] == ["test", "0", "0", "demo-user"]
    for text in ("Test", '"test"', "00", "DEMO-USER", "Demo-User", "'demo-user'", "null", "noreply@example.com"):
        assert id_of(text, rules) == Code.USER_ID_PLACEHOLDER
    assert id_of("", IdRules(exempt_placeholders=frozenset({""}))) == Code.USER_ID_PLACEHOLDER
    assert id_of(" ", IdRules(exempt_placeholders=frozenset({" "}))) == Code.USER_ID_INVALID


EMAILS = st.builds(
    "{}@{}".format,
    st.text(string.ascii_letters + string.digits + "._+-" + "\u00e9\u0131'=!", min_size=1, max_size=70),
    st.lists(
        st.text(string.ascii_letters + string.digits + "-\u00fc\uff4f", min_size=1, max_size=65)
        | st.sampled_from(
            ["example", "com", "test", "local", "localhost", "arpa", "xn--mnchen-3ya", "invalid", "onion", "a--b"]
        ),
        min_size=1,
        max_size=6,
    ).map(".".join),
)


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


CLAIMS = st.sampled_from(["user_id", "email", "email_verified", "name", "plan", "signed_up_at"])


@given(st.dictionaries(CLAIMS, JSON | EMAILS))
def test_any_claims_are_a_principal_or_a_refusal(claims: dict[str, Any]) -> None:
    """Design 4: whatever an issuer signs, in any member; and what comes out passes the same function again."""
    issuer = issuer_with(custom_attributes=("plan", "name"))
    try:
        found = principal(claims, issuer)
    except Refusal as refusal:
        assert refusal.code in CODES  # noqa: PT017 - a refusal is one of two right outcomes
        assert refusal.field in {"user_id", "email", "email_verified"}  # noqa: PT017 - the same
        return
    assert id_of(found.user_id) == found.user_id
    assert found.email is None or email_of(found.email) == found.email
    assert (found.email is None) == (found.email_proof is None)
    assert found.by_email == ("user_id" not in claims)
    if found.by_email:
        assert found.user_id == found.email


ADA = "ada@example.com"


def test_the_fallback_needs_a_proven_email_and_permission() -> None:
    """Design 4: no user_id, but an email: it stands in, in its one spelling; a workspace can forbid it."""
    found = principal({"email": "Ada@Example.com"})
    assert (found.user_id, found.by_email, found.email, found.email_proof) == (ADA, True, ADA, Proof.SIGNED)
    assert outcome({}) == outcome({"email": None}) == Code.USER_ID_MISSING
    assert outcome({"email": ADA}, issuer_with(IdRules(email_fallback=False))) == Code.USER_ID_MISSING
    assert outcome({"email": ADA, "email_verified": False}) == Code.USER_ID_MISSING
    assert outcome({"email": ADA}, issuer_with(authoritative=False)) == Code.USER_ID_MISSING
    assert outcome({"email": ADA, "email_verified": True}, issuer_with(authoritative=False)) == ADA


def test_a_user_id_that_is_there_is_never_fallen_through() -> None:
    """Design 5: a user_id that is bad is refused, however good the email beside it."""
    for value, code in ((None, Code.CLAIM_TYPE), ("", Code.USER_ID_PLACEHOLDER), ("\0", Code.USER_ID_INVALID)):
        assert outcome({"user_id": value, "email": ADA}) == code


def test_the_fallback_passes_the_placeholders_of_the_workspace() -> None:
    """Threat T3: the address of a demonstration account, signed for everybody, makes nobody of them."""
    rules = IdRules(extra_placeholders=frozenset({"demo@example.com"}))
    assert outcome({"email": "Demo@example.com"}, issuer_with(rules)) == Code.USER_ID_PLACEHOLDER
    assert outcome({"user_id": "user-1", "email": "demo@example.com"}, issuer_with(rules)) == "user-1"


@pytest.mark.parametrize("flag", ["true", "false", "", 1, 0, None, [True], {}, 1.0])
def test_c06_email_verified_is_a_boolean(flag: object) -> None:
    """C06: "true" as text is not true, and nothing is guessed from it."""
    assert outcome({"user_id": "user-1", "email": ADA, "email_verified": flag}) == Code.CLAIM_TYPE
    assert outcome({"email": ADA, "email_verified": flag}) == Code.CLAIM_TYPE


def test_c06_what_is_not_proven_is_claimed() -> None:
    """C06: absent is not true unless the issuer's word is worth it; false is false for every issuer."""
    proofs = {
        (authoritative, str(more)): principal(
            {"user_id": "user-1", "email": ADA, **more}, issuer_with(authoritative=authoritative)
        ).email_proof
        for authoritative in (True, False)
        for more in ({}, {"email_verified": True}, {"email_verified": False})
    }
    assert list(proofs.values()) == [
        *(Proof.SIGNED, Proof.SIGNED, Proof.CLAIMED),
        *(Proof.CLAIMED, Proof.SIGNED, Proof.CLAIMED),
    ]


def test_a_user_id_that_is_an_email_is_the_email() -> None:
    """Design 4: when both are sent they are one address; the id stays as it was signed."""
    assert outcome({"user_id": ADA, "email": "ADA@example.com"}) == ADA
    assert outcome({"user_id": "Ada@Example.com", "email": ADA}) == "Ada@Example.com"
    assert outcome({"user_id": ADA}) == ADA
    for user_id in ("eve@example.com", "ada@example.co", "ada@example.com.evil.example", "m\u0131ke@example.com"):
        assert outcome({"user_id": user_id, "email": ADA}) == Code.EMAIL_MISMATCH
    assert outcome({"user_id": "eve@example.com", "email": ADA, "email_verified": False}) == Code.EMAIL_MISMATCH
    assert outcome({"user_id": "@handle", "email": ADA}) == "@handle"


def test_an_issuer_whose_ids_are_emails_is_held_to_the_fallback() -> None:
    """C06: `user_id_claim = "email"` takes no unproven address and no second spelling for an id."""
    issuer = issuer_with(user_id_claim="email", authoritative=False)
    assert outcome({"email": "Ada@Example.com", "email_verified": True}, issuer) == ADA
    assert outcome({"email": ADA}, issuer) == outcome({"email": ADA, "email_verified": False}, issuer)
    assert outcome({"email": ADA}, issuer) == outcome({"sub": "user-1"}, issuer) == Code.USER_ID_MISSING


def test_r16_claims_set_no_more_than_they_may() -> None:
    """R16: an attribute that no record could hold, or that nobody named, is left out and costs nobody the login."""
    claims: dict[str, Any] = {"user_id": "user-1", "id": "x", "role": "admin", "external_id": "x", "workspace_id": "x"}
    claims |= {"name": "Ada", "phone": 7, "avatar": "", "signed_up_at": True, "unsubscribed_from_emails": "no"}
    claims |= {"plan": "pro", "seats": 3, "rate": 0.5, "tags": ["a"], "raw": "a\0", "age": None}
    found = principal(claims, issuer_with(custom_attributes=("plan", "seats", "rate", "tags", "raw", "age", "none")))
    assert found.attributes == {"name": "Ada"}
    assert found.custom_attributes == {"plan": "pro", "seats": 3, "rate": 0.5}
    assert (found.user_id, found.workspace) == ("user-1", "acme")
