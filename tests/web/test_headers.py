"""Identity headers: written once, and no client's copy survives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.web.headers import HeaderNames, IdentityHeaders, encoded

NAMES = [getattr(HeaderNames(), field).lower() for field in HeaderNames.__struct_fields__]


@st.composite
def spellings(draw: st.DrawFn) -> bytes:
    """Some spelling of some identity header: any case, any of `-`, `_` and `.` for a dash."""
    name = draw(st.sampled_from([*NAMES, "x-identity-assertion", "x-identity-error"]))
    characters = [draw(st.sampled_from("-_.")) if character == "-" else character for character in name]
    cased = [draw(st.sampled_from([character.lower(), character.upper()])) for character in characters]
    return "".join(cased).encode()


@given(st.lists(spellings(), min_size=1, max_size=10))
def test_b01_every_spelling_is_removed(names: list[bytes]) -> None:
    """Case, dash, underscore, dot, duplicates: nothing of the identity namespace passes."""
    headers = [(b"host", b"gateway"), *((name, b"spoofed") for name in names), (b"x-other", b"kept")]
    assert IdentityHeaders().strip(headers) == [(b"host", b"gateway"), (b"x-other", b"kept")]


def test_b02_what_connection_nominates_is_dropped() -> None:
    """Hop-by-hop headers that a client nominates end here, before ours are written."""
    headers = [(b"Connection", b"close, X-Contact-ID, x-other"), (b"x-other", b"1"), (b"host", b"gateway")]
    assert IdentityHeaders().strip(headers) == [headers[0], headers[2]]


def test_configured_names_are_protected_beside_the_default_ones() -> None:
    """Renaming a header opens no gap: both its old and its new name are removed."""
    renamed = IdentityHeaders(HeaderNames(contact_id="X-Person"))
    assert renamed.strip([(b"x_person", b"1"), (b"x-contact-id", b"1")]) == []


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_encoded_values_are_printable_and_never_meet(one: str, other: str) -> None:
    """Whatever a value holds, its header is printable ASCII, and two values never share one."""
    assert all(0x20 <= byte < 0x7F for byte in encoded(one))
    assert (encoded(one) == encoded(other)) == (one == other)
