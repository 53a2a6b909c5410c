"""From the tree of a search to SQL. What a client wrote, names of custom attributes included, is only ever bound (R31).

There is no pattern language in the statements either: a part of a text is found by its position, a beginning by a
range, so nothing is to be escaped. The two engines differ in the `Dialect` alone.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from gateway.contacts.database.rows import COLUMNS
from gateway.contacts.search.query import FIELDS
from gateway.contacts.search.tree import FieldType, Filter, Operator, Position, Search, Sort
from gateway.identity.principal import ascii_lower

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.search.tree import Group, Value

_DAY = 86_400


class Dialect(Struct, frozen=True, kw_only=True):
    """The words that an engine has for what the other says differently.

    In `ending`, `{count}` is a number of characters. In the attributes, `{name}` is a custom attribute's name.
    `counts` says whether the engine knows how many records a range of an index holds. SQLite does not; it is told.
    """

    counts: bool
    position: str
    ending: str
    attribute: str
    attribute_text: str
    attribute_number: str
    attribute_boolean: str


def _json_each(value: str, condition: str) -> str:
    return f"(SELECT {value} FROM json_each(custom_attributes) WHERE key = {{name}} AND {condition})"  # noqa: S608 - constants


_JSON = "(custom_attributes::json -> {name}::text)"
_TEXT = "(custom_attributes::json ->> {name}::text)"

SQLITE = Dialect(
    counts=False,
    position="instr",
    ending="substr({text}, -{count})",
    attribute=_json_each("1", "type <> 'null'"),
    attribute_text=_json_each("atom", "type = 'text'"),
    attribute_number=_json_each("CAST(atom AS REAL)", "type IN ('integer', 'real')"),
    attribute_boolean=_json_each("atom", "type IN ('true', 'false')"),
)
POSTGRES = Dialect(
    counts=True,
    position="strpos",
    ending="right({text}, {count}::integer)",
    attribute=f"(CASE WHEN json_typeof{_JSON} <> 'null' THEN 1 END)",
    # What comes out of JSON has the database's collation, which may fold other letters than ASCII.
    attribute_text=f"(CASE WHEN json_typeof{_JSON} = 'string' THEN {_TEXT} END COLLATE \"C\")",
    attribute_number=f"(CASE WHEN json_typeof{_JSON} = 'number' THEN {_TEXT}::double precision END)",
    attribute_boolean=f"(CASE WHEN json_typeof{_JSON} = 'boolean' THEN {_TEXT}::boolean::integer END)",
)

_COLUMNS = {
    name: name
    for name in (
        *("id", "role", "name", "avatar", "owner_id", "email", "phone", "external_id", "language_override"),
        *("created_at", "updated_at", "signed_up_at", "last_seen_at", "unsubscribed_from_emails"),
    )
}
_THE_SAME = {"marked_email_as_spam": "0", "has_hard_bounced": "0"}
"""The fields that are kept, and those that have one value on every record."""

_ALWAYS_THERE = {"id", "role", "created_at", "updated_at", "unsubscribed_from_emails"}
_BEGINNINGS = {"id": "id", "email": "email", "external_id": "lower(external_id)", "phone": "lower(phone)"}
"""The expressions, in lower case, that an index holds in order."""

_OPPOSITES = {
    Operator.NOT_EQUAL: Operator.EQUAL,
    Operator.NOT_IN: Operator.IN,
    Operator.NOT_CONTAINS: Operator.CONTAINS,
}


class Statement(NamedTuple):
    """SQL, and the values of its parameters."""

    sql: str
    arguments: Sequence[Value]


def page_statement(  # noqa: PLR0913 - the parts of a page
    dialect: Dialect, workspace_id: str, search: Search, after: Position | None, limit: int, *, few: bool = True
) -> Statement:
    """The rows of the records after a position, in order: `COLUMNS`, then the value of the sort field.

    `few` says whether the ranges that the search asks for are small. They are read, and sorted, only then: of many
    matches the first are found sooner in the order itself. A sort key that is no column keeps an engine, which may know
    nothing of its table yet, from reading the whole index of the order.
    """
    compiler = _Compiler(dialect, workspace_id, few=few)
    where = compiler.where(search)
    field = search.sort.field
    column = key = compiler.column(field) or "NULL"
    if few and search.where is not None and finds_few(search.where, field, ranges=not dialect.counts):
        # Of an email, the index has the usual order itself.
        by_email = isinstance(search.where, Filter) and search.where.field == "email" and is_look_up(search)
        key = key if by_email else _no_column(key, field)
    direction = " DESC" if search.sort.descending else ""
    nulls = "" if field in _ALWAYS_THERE else " NULLS LAST"  # which would keep PostgreSQL from its index
    order = f"id{direction}" if column == "NULL" else f"{key}{direction}{nulls}, id{direction}"
    if after is not None:
        where += f" AND {compiler.after(search.sort, key, after)}"
    sql = (
        f"SELECT {', '.join(COLUMNS)}, {column} FROM contacts WHERE {where} "  # noqa: S608 - values are bound
        f"ORDER BY {order} LIMIT {compiler.bind(limit)}"
    )
    return Statement(sql, compiler.arguments)


def range_statement(dialect: Dialect, workspace_id: str, asked: Filter, limit: int) -> Statement:
    """How many records a filter alone finds, of which no more than `limit` are counted."""
    compiler = _Compiler(dialect, workspace_id)
    where = compiler.where(Search(where=asked))
    some = f"SELECT 1 FROM contacts WHERE {where} LIMIT {compiler.bind(limit)}"  # noqa: S608 - values are bound
    return Statement(f"SELECT count(*) FROM ({some}) AS some", compiler.arguments)  # noqa: S608 - values are bound


def count_statement(dialect: Dialect, workspace_id: str, search: Search) -> Statement:
    """The number of matches."""
    compiler = _Compiler(dialect, workspace_id)
    where = compiler.where(search)
    return Statement(f"SELECT count(*) FROM contacts WHERE {where}", compiler.arguments)  # noqa: S608 - values are bound


class _Compiler:
    """One statement in the making. Parameters are bound in the order in which they first occur."""

    def __init__(self, dialect: Dialect, workspace_id: str, *, few: bool = True) -> None:
        self._dialect = dialect
        self._few = few
        self.arguments: list[Value] = []
        self._live = f"workspace_id = {self.bind(workspace_id)} AND state = 'live'"

    def bind(self, value: Value) -> str:
        self.arguments.append(value)
        return f"${len(self.arguments)}"

    def where(self, search: Search) -> str:
        """The condition for the live records of the workspace that match."""
        return self._live if search.where is None else f"{self._live} AND {self._node(search.where)}"

    def after(self, sort: Sort, key: str, position: Position) -> str:
        """The condition for what comes later in the order."""
        beyond = "<" if sort.descending else ">"
        if position.value is None:
            nothing = "" if self.column(sort.field) is None else f"{key} IS NULL AND "
            return f"({nothing}id {beyond} {self.bind(position.id)})"
        later = f"({key}, id) {beyond} ({self.bind(position.value)}, {self.bind(position.id)})"
        return later if sort.field in _ALWAYS_THERE else f"({later} OR {key} IS NULL)"

    def column(self, field: str) -> str | None:
        """The expression for a standard field that differs from record to record, else None."""
        if field == "email_domain":
            return f"substr(email, {self._dialect.position}(email, '@') + 1)"
        return _COLUMNS.get(field)

    def _node(self, node: Filter | Group) -> str:
        if isinstance(node, Filter):
            return self._filter(node)
        if self._few and not self._dialect.counts and not node.every and finds_few(node):
            # One index for each alternative. PostgreSQL joins indexes itself; SQLite would read the whole workspace.
            ids = f"SELECT id FROM contacts WHERE {self._live}"  # noqa: S608 - values are bound
            return f"id IN ({' UNION ALL '.join(f'{ids} AND {self._node(member)}' for member in node.members)})"
        word = " AND " if node.every else " OR "
        return f"({word.join(self._node(member) for member in node.members)})"

    def _filter(self, asked: Filter) -> str:
        opposite = _OPPOSITES.get(asked.operator)
        if opposite is not None:
            return f"NOT coalesce({self._positive(asked, opposite)}, FALSE)"
        return f"({self._positive(asked, asked.operator)})"

    def _positive(self, asked: Filter, operator: Operator) -> str:
        """A condition that is not true, whether false or unknown, for a record without a value."""
        if not asked.custom and self._standard(asked) is None:
            return "1 = 1" if asked.value is None else "1 = 0"
        if asked.value is None:
            value = self._named(self._dialect.attribute, asked) if asked.custom else self._standard(asked)
            return f"{value} IS NULL"
        return self._compared(asked, operator, asked.value)

    def _compared(self, asked: Filter, operator: Operator, value: Value | tuple[Value, ...]) -> str:
        if asked.type is FieldType.DAY and isinstance(value, int):
            return self._day(asked, operator, value // _DAY * _DAY)
        if isinstance(value, tuple):
            return self._equal(asked, value)
        if operator is Operator.EQUAL:
            return self._equal(asked, (value,))
        if isinstance(value, str):
            return self._part(asked, operator, value)
        return f"{self._expression(asked)} {operator} {self._bound(asked, value)}"

    def _equal(self, asked: Filter, values: Sequence[Value]) -> str:
        """Equal to one of the values. The index of phones holds them in lower case, which nearly all of them are in."""
        expression, one_of = self._expression(asked), _one_of([self._bound(asked, value) for value in values])
        same = f"{expression} {one_of}"
        if asked.field != "phone" or asked.custom or any(ascii_lower(str(value)) != value for value in values):
            return same
        return f"{same} AND {_BEGINNINGS['phone']} {one_of}"  # bound once: engines count their parameters

    def _part(self, asked: Filter, operator: Operator, value: str) -> str:
        if not value:
            return f"{self._expression(asked)} IS NOT NULL"
        if self._few and operator is Operator.STARTS and asked.field in _BEGINNINGS and not asked.custom:
            return self._begins(asked.field, value)
        text = f"lower({self._expression(asked)})"
        if operator is Operator.ENDS:
            return f"{self._dialect.ending.format(text=text, count=self.bind(len(value)))} = {self.bind(value)}"
        place = "= 1" if operator is Operator.STARTS else "> 0"
        return f"{self._dialect.position}({text}, {self.bind(value)}) {place}"

    def _begins(self, field: str, value: str) -> str:
        """A range of the index. What follows on every text that begins so is the beginning with a later last letter."""
        expression = _BEGINNINGS[field]
        begins = f"{field} IS NOT NULL AND {expression} >= {self.bind(value)}"
        end = _successor(value)
        return begins if end is None else f"{begins} AND {expression} < {self.bind(end)}"

    def _day(self, asked: Filter, operator: Operator, start: int) -> str:
        """A comparison of days in UTC, of which the one asked for begins at `start`."""
        if operator is Operator.EQUAL:
            begun = f"{self._expression(asked)} >= {self._bound(asked, start)}"
            return f"{begun} AND {self._expression(asked)} < {self._bound(asked, start + _DAY)}"
        later = operator in (Operator.GREATER, Operator.AT_MOST)
        word = "<" if operator in (Operator.LESS, Operator.AT_MOST) else ">="
        return f"{self._expression(asked)} {word} {self._bound(asked, start + _DAY if later else start)}"

    def _expression(self, asked: Filter) -> str:
        """The value of a field on a record, NULL where it has none of that type."""
        if not asked.custom:
            return self._standard(asked) or "NULL"
        if asked.type in (FieldType.TEXT, FieldType.TAG):
            return self._named(self._dialect.attribute_text, asked)
        if asked.type is FieldType.BOOLEAN:
            return self._named(self._dialect.attribute_boolean, asked)
        return self._named(self._dialect.attribute_number, asked)

    def _standard(self, asked: Filter) -> str | None:
        return self.column(asked.field) or _THE_SAME.get(asked.field)

    def _named(self, template: str, asked: Filter) -> str:
        return template.format(name=self.bind(asked.field))

    def _bound(self, asked: Filter, value: Value) -> str:
        """The numbers of custom attributes compare as doubles, times among them."""
        number = asked.custom and asked.type in (FieldType.NUMBER, FieldType.TIME, FieldType.DAY)
        return self.bind(float(value) if number else value)


def is_look_up(search: Search) -> bool:
    """Whether it reads a page of one index, in its order, and no more."""
    asked = search.where
    if not isinstance(asked, Filter) or asked.custom or asked.value is None or search.sort != Sort():
        return False
    return asked.operator is Operator.EQUAL and asked.field in {"id", "external_id", "email"}


def finds_few(node: Filter | Group, sort_field: str | None = None, *, ranges: bool = True) -> bool:
    """Whether it picks records by an index, usually few of them, and another one than that of the order.

    Without `ranges`, only what picks them by whole values counts.
    """
    if not isinstance(node, Filter):
        return (any if node.every else all)(finds_few(member, sort_field, ranges=ranges) for member in node.members)
    if node.custom or node.value is None or not (ranges or node.operator in (Operator.EQUAL, Operator.IN)):
        return False
    if node.field in _BEGINNINGS:
        return node.operator in (Operator.EQUAL, Operator.IN, Operator.STARTS)
    return node.field in {"created_at", "updated_at"} - {sort_field} and node.operator is not Operator.NOT_EQUAL


def _no_column(key: str, field: str) -> str:
    """The same values as an expression, of which there is no index."""
    if key == "NULL":
        return key
    return f"({key} || '')" if FIELDS[field] is FieldType.TEXT else f"({key} + 0)"


def _one_of(places: Sequence[str]) -> str:
    return f"= {places[0]}" if len(places) == 1 else f"IN ({', '.join(places)})"


def _successor(text: str) -> str | None:
    """The first text, by its bytes, after all that begin with this one; None when there is none."""
    while text:
        following = ord(text[-1]) + 1
        if following <= sys.maxunicode:
            return text[:-1] + chr(0xE000 if following == 0xD800 else following)  # no half of a surrogate pair
        text = text[:-1]
    return None
