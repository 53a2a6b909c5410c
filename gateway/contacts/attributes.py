"""Data attributes: what a workspace declares of its custom attributes, and what their values may be (facts: 3).

Names are unique in a workspace over contacts and companies, a type and a name never change, nothing is ever deleted:
archiving hides an attribute and takes no new values, and what stands in the records stays there, to be read and
searched. A `Catalogue` is all that a workspace declared, at hand for checking many values.
"""

from __future__ import annotations

import math
import re
import unicodedata
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from gateway.errors import ChangeProblem, ChangeRefused
from gateway.identity.claims import LAST_SECOND
from gateway.identity.principal import is_storable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TEXT_LIMIT = 255
FIRST_SECOND = -62_135_596_800
"""0001-01-01T00:00:00Z: a date of birth is earlier than the Unix epoch often enough."""

# `\w` is letters, digits and `_` in any script; the rest of what is refused means something in a path or a header.
_NOT_IN_A_NAME = re.compile(r"[^\w \-$\u00a2-\u00a5\u20a0-\u20c0]")


class Model(StrEnum):
    """What an attribute is an attribute of. Companies are declared for completeness; the gateway keeps none."""

    CONTACT = "contact"
    COMPANY = "company"


class DataType(StrEnum):
    """What values an attribute takes; `options` are the texts of a list."""

    STRING = "string"
    INTEGER = "integer"
    FLOAT = "float"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"
    OPTIONS = "options"


class DataAttribute(Struct, frozen=True, kw_only=True):
    """One declared custom attribute. `id` counts from 1 in its workspace; times are whole seconds UTC.

    `messenger_writable` lets what a client sends unsigned (`user_data` of a login) write it.
    """

    workspace_id: str
    id: int
    model: Model
    name: str
    data_type: DataType
    description: str | None = None
    options: tuple[str, ...] = ()
    messenger_writable: bool = False
    archived: bool = False
    created_at: int
    updated_at: int

    def typed(self, value: object) -> str | int | float | bool:
        """The value as the declared type keeps it; `ValueError` with words for what it must be."""
        match self.data_type:
            case DataType.STRING:
                return checked_text(value)
            case DataType.OPTIONS:
                if value not in self.options:
                    raise ValueError("must be one of the attribute's options")
                return checked_text(value)
            case DataType.BOOLEAN:
                if isinstance(value, bool):
                    return value
                raise ValueError("must be true or false")
            case DataType.FLOAT:
                return _float(value)
            case DataType.INTEGER:
                return _integer(value, -(2**63), 2**63 - 1, "must be an integer of 64 bits")
            case DataType.DATE | DataType.DATETIME:
                return _integer(value, FIRST_SECOND, LAST_SECOND, "must be Unix time in seconds")


def spelled_name(name: str) -> str:
    """A name with `_` for each character that no name may hold, as the Messenger writes them (facts: 1.7)."""
    return _NOT_IN_A_NAME.sub("_", name)


def is_attribute_name(name: str) -> bool:
    """Whether a name can be declared: 1 to 255 letters, digits, `_`, `-`, currency signs and blanks within, in NFC."""
    sound = 0 < len(name) <= TEXT_LIMIT and spelled_name(name) == name == name.strip()
    return sound and unicodedata.is_normalized("NFC", name)


class Catalogue:
    """What a workspace declared for its contacts, archived ones too."""

    def __init__(self, attributes: Iterable[DataAttribute]) -> None:
        self._by_name = {attribute.name: attribute for attribute in attributes if attribute.model is Model.CONTACT}

    def get(self, name: str) -> DataAttribute | None:
        """The contact's attribute with this name, archived or not."""
        return self._by_name.get(name)

    def checked(self, values: Mapping[str, Any], standing: Mapping[str, Any]) -> dict[str, Any]:
        """What an operator writes, value by value in its type; null clears. `standing` is what the contact holds.

        Raises `ChangeRefused` naming the attribute: undeclared, archived, or a value of another type. What stands can
        be cleared, declared or not.
        """
        checked: dict[str, Any] = {}
        for name, value in values.items():
            if value is None and name in standing:
                checked[name] = None
                continue
            attribute = self._by_name.get(name)
            if attribute is None or attribute.archived:
                is_not = "is archived" if attribute else "is not declared: create it with POST /data_attributes"
                text = f"the custom attribute '{name[:TEXT_LIMIT]}' {is_not}"
                raise ChangeRefused(ChangeProblem.ATTRIBUTE_UNKNOWN, text, field=field_of(name))
            try:
                checked[name] = None if value is None else attribute.typed(value)
            except ValueError as error:
                raise ChangeRefused(ChangeProblem.VALUE_INVALID, str(error), field=field_of(name)) from error
        return checked

    def fitting(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What a token signs, without the values that contradict a declared type; undeclared ones stay as they are."""
        fitting = {}
        for name, value in values.items():
            attribute = self._by_name.get(name)
            try:
                fitting[name] = value if attribute is None else attribute.typed(value)
            except ValueError:
                continue  # it must not cost anybody the login
        return fitting


def field_of(name: str) -> str:
    """How a refusal names a custom attribute."""
    return f"custom_attributes.{name}"[:300]


class AttributeReader(Protocol):
    """The look-ups."""

    async def data_attributes(self, workspace_id: str) -> Sequence[DataAttribute]:
        """All custom attributes that a workspace declared, archived ones too, oldest first."""

    async def count_without_external_id(self, workspace_id: str, name: str) -> int:
        """How many live contacts hold a value in a custom attribute and have no external_id. It may read them all."""


class AttributeTransaction(AttributeReader, Protocol):
    """What a transaction does with them; `lock` the workspace's `data_attributes` first."""

    async def insert_data_attribute(self, attribute: DataAttribute) -> bool:
        """Add one; False when its name or its id is taken."""

    async def update_data_attribute(self, attribute: DataAttribute) -> bool:
        """Write description, options, messenger_writable, archived and updated_at; False when there is none."""


def checked_text(value: object) -> str:
    """A text as an attribute holds it, 1 to 255 characters; `ValueError` for anything else."""
    if not isinstance(value, str) or not 0 < len(value) <= TEXT_LIMIT or not is_storable(value):
        raise ValueError(f"must be text of at most {TEXT_LIMIT} characters")
    return value


def _float(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            if math.isfinite(value):
                return float(value)
        except OverflowError:
            pass
    raise ValueError("must be a number")


def _integer(value: object, least: int, most: int, otherwise: str) -> int:
    """To JSON 5.0 is an integer, too."""
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or not least <= value <= most:  # type: ignore[operator]  # a number by now
        raise ValueError(otherwise)
    return int(value)  # type: ignore[call-overload, no-any-return]  # a number by now
