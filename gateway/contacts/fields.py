"""What the fields of a contact take: one reader a field, whatever the way in (facts: Intercom 2.4).

The API, a file and a command hand over values as JSON has them; here they become the fields of a `Contact`. What an
operator writes is proven as `imported`: less than a signed token, more than somebody's claim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.contacts.contact import Role
from gateway.errors import ChangeProblem, ChangeRefused
from gateway.identity.claims import LAST_SECOND
from gateway.identity.principal import IdRules, Proof, is_storable, normalise_email, normalise_user_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TEXT_LIMIT = 255


def written_fields(values: Mapping[str, Any], rules: IdRules) -> dict[str, Any]:
    """The fields of a `Contact` that the values write; what is no field is ignored, `id` among them (S2).

    Null and the empty text clear a field. Raises `ChangeRefused` for a wrong type and `Refusal` for an identifier that
    cannot be kept; both name the field.
    """
    fields: dict[str, Any] = {name: read(name, values[name]) for name, read in _READERS.items() if name in values}
    if values.get("role") in list(Role):
        fields["role"] = Role(values["role"])
    if "external_id" in values:
        external_id = values["external_id"]
        cleared = external_id is None or external_id == ""
        fields["external_id"] = None if cleared else normalise_user_id(external_id, rules, field="external_id")
    if "email" in values:
        email = values["email"]
        fields["email"] = None if email is None or email == "" else normalise_email(email)
        fields["email_proof"] = None if fields["email"] is None else _proof(values)
    elif "email_verified" in values:
        raise _invalid("email_verified", "needs email beside it")
    if "custom_attributes" in values:
        fields["custom_attributes"] = _custom_attributes(values["custom_attributes"])
    return fields


def _invalid(field: str, message: str) -> ChangeRefused:
    return ChangeRefused(ChangeProblem.VALUE_INVALID, message, field=field)


def _proof(values: Mapping[str, Any]) -> Proof:
    verified = values.get("email_verified", True)
    if not isinstance(verified, bool):
        raise _invalid("email_verified", "must be true or false")
    return Proof.IMPORTED if verified else Proof.CLAIMED


def _text(name: str, value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > TEXT_LIMIT or not is_storable(value):
        raise _invalid(name, f"must be text of at most {TEXT_LIMIT} characters")
    return value


def _owner(name: str, value: object) -> str | None:
    return _text(name, str(value) if isinstance(value, int) and not isinstance(value, bool) else value)


def _seconds(name: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LAST_SECOND:
        raise _invalid(name, "must be Unix time in seconds")
    return int(value)


def _flag(name: str, value: object) -> bool:
    if value is None:
        return False
    if not isinstance(value, bool):
        raise _invalid(name, "must be true or false")
    return value


def _custom_attributes(value: object) -> dict[str, Any]:
    """A flat object of text, numbers, booleans and null; which of them there are is the editor's to say."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _invalid("custom_attributes", "must be a flat object")
    attributes = {}
    for name, one in value.items():
        field = f"custom_attributes.{name}"[:300]
        if not name or len(name) > TEXT_LIMIT or not is_storable(name):
            raise _invalid("custom_attributes", "a name has 1 to 255 characters")
        attributes[name] = one if isinstance(one, bool | int | float) else _text(field, one)
    return attributes


_READERS: dict[str, Callable[[str, object], Any]] = {
    "phone": _text,
    "name": _text,
    "avatar": _text,
    "language_override": _text,
    "owner_id": _owner,
    "signed_up_at": _seconds,
    "last_seen_at": _seconds,
    "unsubscribed_from_emails": _flag,
}
