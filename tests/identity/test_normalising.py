"""One spelling of an id: whatever is signed, ends as exactly one of them or as a refusal."""

from __future__ import annotations

import string
import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import Code
from gateway.identity.placeholders import placeholder_spelling
from gateway.identity.principal import IdRules
from tests.identity.values import ID_CODES, JSON, TEXTS, deep, email_of, id_of

if TYPE_CHECKING:
    from collections.abc import Callable


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
