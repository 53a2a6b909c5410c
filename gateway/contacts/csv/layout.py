"""What the columns of a CSV file mean, and the fields that one of its rows writes (facts: Intercom 4).

An empty cell leaves a field as it is. Columns named `error_...` are those that the file of rejected rows adds; they are
passed over, so that the file can be mended and imported again.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from gateway.contacts.attributes import is_attribute_name
from gateway.contacts.contact import Role, is_contact_id
from gateway.contacts.csv.cells import attribute_of, flag_of, seconds_of, unguarded
from gateway.contacts.csv.rows import CsvProblem
from gateway.contacts.fields import written_fields
from gateway.errors import ChangeRefused, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.contacts.attributes import Catalogue, DataAttribute
    from gateway.identity.principal import IdRules

COLUMNS = (
    "id",
    "user_id",
    "email",
    "name",
    "phone",
    "role",
    "signed_up_at",
    "owner_id",
    "language_override",
    "unsubscribed_from_emails",
)
ERROR_COLUMNS = ("error_line", "error_code", "error_field", "error_message", "error_contact_id")
CUSTOM = "custom_attributes."
COLUMN_LIMIT = 270

_SHOWN = 10


class RowProblem(StrEnum):
    """Why a row is rejected, beside the gateway's own codes for a `user_id` and an email."""

    MISSING_IDENTIFIER = "missing_identifier"
    DUPLICATE_IN_FILE = "duplicate_in_file"
    CONFLICT_EMAIL = "conflict_email"
    CONFLICT_USER_ID = "conflict_user_id"
    AMBIGUOUS_EMAIL = "ambiguous_email"
    ID_MISMATCH = "id_mismatch"
    CONTACT_UNKNOWN = "contact_unknown"
    CONTACT_MERGED = "contact_merged"
    CONTACT_BLOCKED = "contact_blocked"
    INVALID_DATE = "invalid_date"
    INVALID_VALUE = "invalid_value"


class RowRejected(Exception):
    """One row cannot be kept: code, column, words, and the other record where there is one."""

    def __init__(self, code: str, message: str, *, field: str | None = None, other_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.other_id = other_id


class Unknown(StrEnum):
    """What to do with columns that mean nothing here, and custom attributes that nobody declared."""

    REFUSE = "refuse"
    IGNORE = "ignore"
    CREATE = "create"


class Values(Struct, frozen=True):
    """What a row says: the contact id that it names, and the fields of a `Contact` that it writes."""

    contact_id: str | None
    fields: dict[str, Any]


def is_known(column: str) -> bool:
    """Whether a name is that of a column, so that a header is known for one."""
    return column in COLUMNS or column.startswith(CUSTOM)


class Layout:
    """The columns of one file, in a workspace with its `rules` for ids and its `catalogue` of data attributes.

    `undeclared` are the custom attributes that are to be declared, as text, before a row is written. Raises
    `CsvProblem` for a header that cannot be used.
    """

    def __init__(
        self,
        header: Sequence[str],
        rules: IdRules,
        catalogue: Catalogue,
        unknown: Unknown = Unknown.REFUSE,
    ) -> None:
        self._rules = rules
        self._standard: list[tuple[int, str, Callable[[str], Any]]] = []
        self._custom: list[tuple[int, str, DataAttribute | None]] = []
        self._contact_id: int | None = None
        self.undeclared: list[str] = []
        self.header = tuple(header)
        self.kept = tuple(index for index, name in enumerate(header) if name not in ERROR_COLUMNS)
        if len(header) > COLUMN_LIMIT:
            raise CsvProblem("too_many_columns", f"{len(header)} columns; a file has at most {COLUMN_LIMIT}", line=1)
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            raise CsvProblem("duplicate_column", f"the header names {_listed(twice)} more than once", line=1)
        strangers = [name for index, name in enumerate(header) if not self._place(index, name, catalogue, unknown)]
        if strangers and unknown is not Unknown.IGNORE:
            text = f"unknown columns: {_listed(strangers)}; the columns are {', '.join(COLUMNS)}, {CUSTOM}<name>"
            raise CsvProblem("unknown_column", text, line=1)

    def values(self, cells: Sequence[str]) -> Values:
        """What a row writes; raises `RowRejected`."""
        written: dict[str, Any] = {}
        for index, name, read in self._standard:
            if cell := cells[index]:
                try:
                    written[name] = read(unguarded(cell))
                except ValueError as error:
                    code = RowProblem.INVALID_DATE if read is seconds_of else RowProblem.INVALID_VALUE
                    raise RowRejected(code, str(error), field=name) from None
        if self._custom:
            written["custom_attributes"] = self._attributes(cells)
        contact_id = unguarded(cells[self._contact_id]) if self._contact_id is not None else ""
        if contact_id and not is_contact_id(contact_id):
            raise RowRejected(RowProblem.CONTACT_UNKNOWN, "not the id of a contact: 24 hex digits", field="id")
        try:
            return Values(contact_id or None, written_fields(written, self._rules))
        except (ChangeRefused, Refusal) as error:
            raise rejected(error) from None

    def _place(self, index: int, name: str, catalogue: Catalogue, unknown: Unknown) -> bool:
        """Take a column in; False when it means nothing here."""
        if name == "id":
            self._contact_id = index
        elif name in COLUMNS:
            self._standard.append((index, "external_id" if name == "user_id" else name, _READERS.get(name, str)))
        elif name.startswith(CUSTOM) and (attribute := catalogue.get(name.removeprefix(CUSTOM))):
            self._custom.append((index, attribute.name, attribute))
        elif name.startswith(CUSTOM) and unknown is Unknown.CREATE and is_attribute_name(name.removeprefix(CUSTOM)):
            self.undeclared.append(name.removeprefix(CUSTOM))
            self._custom.append((index, name.removeprefix(CUSTOM), None))
        else:
            return name in ERROR_COLUMNS
        return True

    def _attributes(self, cells: Sequence[str]) -> dict[str, Any]:
        attributes = {}
        for index, name, attribute in self._custom:
            if cell := cells[index]:
                try:
                    attributes[name] = attribute_of(unguarded(cell), attribute)
                except ValueError as error:
                    raise RowRejected(RowProblem.INVALID_VALUE, str(error), field=CUSTOM + name) from None
        return attributes


def rejected(error: ChangeRefused | Refusal) -> RowRejected:
    """A refusal of a value or a change, as the rejection of a row."""
    field = "user_id" if error.field == "external_id" else error.field
    if isinstance(error, Refusal):
        return RowRejected(error.code, error.reason, field=field)
    code = RowProblem.INVALID_DATE if field == "signed_up_at" else RowProblem.INVALID_VALUE
    return RowRejected(code, error.message, field=field)


def _role(text: str) -> str:
    if text not in list(Role):
        raise ValueError("must be user or lead")
    return text


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name[:100]}'" for name in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


_READERS: dict[str, Callable[[str], Any]] = {
    "role": _role,
    "signed_up_at": seconds_of,
    "unsubscribed_from_emails": flag_of,
}
