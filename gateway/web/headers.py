"""Identity headers: which they are, how they are written, and how a client's copies are removed.

A client's copy is removed in every spelling that some server would read as the same name: case, `-` for `_` for `.`
and for every other character that is no letter and no digit, duplicates, and whatever `Connection` nominates
(advisories B01, B02; facts: peers 0.9). Values are printable ASCII:
all else, and `%` itself, is percent-encoded as UTF-8, so that decoding is one rule and no two values look alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes

from msgspec import Struct

from gateway.identity.principal import Proof

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.contacts.contact import Contact
    from gateway.contacts.resolver import Identity

IDENTITY_ERROR = "X-Identity-Error"
IDENTITY_ASSERTION = "X-Identity-Assertion"
_SAFE = "".join(chr(byte) for byte in range(0x20, 0x7F) if byte != 0x25)
_ONE_SPELLING = bytes.maketrans(b"!#$%&'*+.^_`|~", b"-" * 14)
"""What some server makes of a name: CGI, and with it WSGI and PHP, know letters, digits and one character for the rest
of what a name may hold (RFC 9110 section 5.6.2; RFC 3875 section 4.1.18)."""


class HeaderNames(Struct, frozen=True):
    """The names under which an identity travels to the upstream."""

    contact_id: str = "X-Contact-Id"
    user_id: str = "X-User-Id"
    user_email: str = "X-User-Email"
    matched_by: str = "X-Identity-Matched-By"
    forwarded_user: str = "X-Forwarded-User"
    forwarded_email: str = "X-Forwarded-Email"


def reserved_names(names: HeaderNames) -> tuple[str, ...]:
    """Every name that no client may write, that of the contact id first: as configured, the defaults, our others."""
    fields = HeaderNames.__struct_fields__
    chosen = [getattr(each, field) for each in (names, HeaderNames()) for field in fields]
    return tuple(dict.fromkeys([*chosen, IDENTITY_ERROR, IDENTITY_ASSERTION]))


class IdentityHeaders:
    """Writes the headers of an identity and removes every foreign copy of them."""

    def __init__(self, names: HeaderNames | None = None) -> None:
        names = names or HeaderNames()
        self._names = {field: getattr(names, field).lower().encode("ascii") for field in HeaderNames.__struct_fields__}
        self._reserved = frozenset(name.lower().encode("ascii") for name in reserved_names(names))

    def of(self, identity: Identity) -> tuple[tuple[bytes, bytes], ...]:
        """The headers of an identity; a value that the contact does not have has no header."""
        email = proven_email(identity.contact)
        values = {
            "contact_id": identity.contact.id,
            "user_id": identity.principal.user_id,
            "user_email": email,
            "matched_by": identity.matched_by.value,
            "forwarded_user": identity.principal.user_id,
            "forwarded_email": email,
        }
        return tuple((self._names[field], encoded(value)) for field, value in values.items() if value)

    def reserves(self, name: bytes) -> bool:
        """Whether a name is a spelling of an identity header."""
        return one_spelling(name) in self._reserved

    def strip(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """The headers without any spelling of an identity header and without what `Connection` nominates."""
        headers = list(headers)
        nominated = {
            token.strip().lower()
            for name, value in headers
            if name.lower() == b"connection"
            for token in value.split(b",")
        } - {b"close", b"keep-alive", b"upgrade", b"te"}
        return [(name, value) for name, value in headers if name.lower() not in nominated and not self.reserves(name)]


def proven_email(contact: Contact) -> str | None:
    """The email that an upstream is told: none that was merely claimed, for it takes it for proven (B19, C06)."""
    return None if contact.email_proof is Proof.CLAIMED else contact.email


def encoded(value: str) -> bytes:
    """A value as a header carries it: printable ASCII, everything else and `%` percent-encoded as UTF-8."""
    return quote_from_bytes(value.encode("utf-8", "replace"), safe=_SAFE).encode("ascii")


def one_spelling(name: bytes) -> bytes:
    """A name as some server would read it: in lower case, and `-` for whatever is no letter and no digit."""
    return name.strip().lower().translate(_ONE_SPELLING)
