"""A search for contacts, as a validated tree (facts: Intercom 2.8, 2.9), and what a store promises about it.

What matches, on both engines alike:

* Text compares byte by byte. `~`, `^` and `$` (and `!~`) do not mind the case of ASCII letters, and of these alone;
  no character is a wildcard. An email is brought to the spelling in which it is kept, so its case never matters.
* Only a record with a value can match, except for `!=`, `NIN` and `!~`: they match whatever `=`, `IN` and `~` do not,
  records without a value included. `= null` finds the records without a value, `!= null` those with one.
* Times are whole seconds UTC and compare exactly. That is the rule of Intercom's Preview; 2.16 compares calendar days
  of the workspace's time zone, but its clients' SDKs name no version, and seconds can express days. A custom
  attribute that is declared as `date` does compare by its day, in UTC.
* Numbers compare as IEEE 754 doubles. A number, a time and a boolean may be written as text (`"1306054154"`), and a
  whole number where text is expected (`owner_id`).
* A custom attribute has the type that it is declared with, or else that of the value it is compared with; a value of
  another type on a record counts as none.
* A field of Intercom's that no record here has, such as `browser`, is a field without a value on every record.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from gateway.contacts.contact import Contact

if TYPE_CHECKING:
    from collections.abc import Sequence

Value = str | int | float


class FieldType(StrEnum):
    """What a field holds, as data attributes call it; `tag` is Intercom's type with two operators."""

    TEXT = "string"
    NUMBER = "float"
    BOOLEAN = "boolean"
    TIME = "datetime"
    DAY = "date"
    TAG = "tag"


class Operator(StrEnum):
    """How a field is compared with a value."""

    EQUAL = "="
    NOT_EQUAL = "!="
    IN = "IN"
    NOT_IN = "NIN"
    CONTAINS = "~"
    NOT_CONTAINS = "!~"
    STARTS = "^"
    ENDS = "$"
    LESS = "<"
    GREATER = ">"
    AT_MOST = "<="
    AT_LEAST = ">="


class Filter(Struct, frozen=True, kw_only=True):
    """One comparison. A `value` of None asks for records without one; lists of values belong to IN and NIN.

    `field` is the name of a standard field, or of a custom attribute where `custom` says so.
    """

    field: str
    custom: bool = False
    type: FieldType
    operator: Operator
    value: Value | tuple[Value, ...] | None


class Group(Struct, frozen=True, kw_only=True):
    """Members of which every one must match, or any."""

    every: bool
    members: tuple[Filter | Group, ...]


class Sort(Struct, frozen=True, kw_only=True):
    """The order of the answer: by a standard field and then by id, records without a value last in either order."""

    field: str = "created_at"
    descending: bool = True


class Search(Struct, frozen=True, kw_only=True):
    """What is asked for; no `where` means all live contacts."""

    where: Filter | Group | None = None
    sort: Sort = Sort()


class Position(Struct, frozen=True, kw_only=True):
    """Where a record stands in an order: its value of the sort field, and its id."""

    value: str | int | None
    id: str


class Hit(Struct, frozen=True, kw_only=True):
    """A contact that was found, and where it stands."""

    contact: Contact
    position: Position


class ContactSearch(Protocol):
    """What a store promises about searches. They see live contacts alone, and every write acknowledged before them."""

    async def search(
        self, workspace_id: str, search: Search, *, after: Position | None = None, limit: int, seconds: float
    ) -> Sequence[Hit]:
        """The first `limit` matches after a position; `SearchRefused` when it takes longer than `seconds`.

        From page to page, a record that stands unchanged is met exactly once, whatever happens to others.
        """

    async def count(self, workspace_id: str, search: Search, *, seconds: float) -> int:
        """How many match; `SearchRefused` when it takes longer than `seconds`."""

    async def cursor_key(self) -> bytes:
        """The store's own random key for the digests of cursors, the same in every process and for ever."""
