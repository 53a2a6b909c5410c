"""Identity headers: written once, and no client's copy survives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contacts.contact import Contact, Role
from gateway.contacts.resolver import Identity, MatchedBy
from gateway.identity.principal import Principal, Proof
from gateway.web.headers import HeaderNames, IdentityHeaders, encoded

NAMES = [getattr(HeaderNames(), field).lower() for field in HeaderNames.__struct_fields__]


@st.composite
def spellings(draw: st.DrawFn) -> bytes:
    """Some spelling of some identity header: any case, any character for a dash that a name may hold."""
    name = draw(st.sampled_from([*NAMES, "x-identity-assertion", "x-identity-error"]))
    characters = [draw(st.sampled_from("-_.!#$%&'*+^`|~")) if character == "-" else character for character in name]
    cased = [draw(st.sampled_from([character.lower(), character.upper()])) for character in characters]
    return "".join(cased).encode()


@given(st.lists(spellings(), min_size=1, max_size=10))
def test_b01_every_spelling_is_removed(names: list[bytes]) -> None:
    """Case, duplicates, and every alias of the dash: nothing of the identity namespace passes (Traefik's aliases)."""
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


@pytest.mark.parametrize(("proof", "told"), [(Proof.SIGNED, True), (Proof.IMPORTED, True), (Proof.CLAIMED, False)])
def test_b19_an_upstream_is_told_no_claimed_email(proof: Proof, told: bool) -> None:
    """Whoever claims somebody's address, `email_verified: false`, is not sent upstream under it."""
    contact = Contact(
        workspace_id="acme",
        id="6a1f0c2e9b3d5f7081a2b3c4",
        external_id="user-1",
        role=Role.USER,
        email="ada@example.com",
        email_proof=proof,
        created_at=0,
        updated_at=0,
    )
    principal = Principal(
        workspace="acme",
        issuer="login",
        user_id="user-1",
        by_email=False,
        email="ada@example.com",
        email_proof=proof,
        attributes={},
        custom_attributes={},
        token_id=None,
        issued_at=None,
        expires_at=None,
    )
    written = dict(IdentityHeaders().of(Identity(principal, contact, MatchedBy.EXTERNAL_ID)))
    assert {name for name in (b"x-user-email", b"x-forwarded-email") if name in written} == (
        {b"x-user-email", b"x-forwarded-email"} if told else set()
    )
