"""The standard attributes of a contact: those that every workspace has, and who may write them (facts: 2.3, 3).

`messenger_writable` marks the two that a client may fill in unsigned. Everything that says who somebody is, how they
are reached or what they may is written by whoever can prove it.
"""

from __future__ import annotations

from msgspec import Struct

from gateway.contacts.attributes import DataType


class StandardAttribute(Struct, frozen=True):
    """One standard attribute, as the listing shows it."""

    name: str
    label: str
    data_type: DataType
    api_writable: bool = True
    messenger_writable: bool = False


_TEXT, _FLAG, _DATE = DataType.STRING, DataType.BOOLEAN, DataType.DATE

STANDARD_ATTRIBUTES = (
    StandardAttribute("id", "ID", _TEXT, api_writable=False),
    StandardAttribute("external_id", "User ID", _TEXT),
    StandardAttribute("role", "Role", _TEXT),
    StandardAttribute("email", "Email", _TEXT),
    StandardAttribute("phone", "Phone", _TEXT),
    StandardAttribute("name", "Name", _TEXT, messenger_writable=True),
    StandardAttribute("avatar", "Avatar", _TEXT),
    StandardAttribute("owner_id", "Owner", _TEXT),
    StandardAttribute("language_override", "Language override", _TEXT, messenger_writable=True),
    StandardAttribute("unsubscribed_from_emails", "Unsubscribed from emails", _FLAG),
    StandardAttribute("signed_up_at", "Signed up", _DATE),
    StandardAttribute("last_seen_at", "Last seen", _DATE),
    StandardAttribute("created_at", "Created", _DATE, api_writable=False),
    StandardAttribute("updated_at", "Updated", _DATE, api_writable=False),
)
STANDARD_NAMES = frozenset(attribute.name for attribute in STANDARD_ATTRIBUTES)
