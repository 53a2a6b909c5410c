"""One cell of a CSV file: the text of a value, and the value of a text.

A spreadsheet takes a cell that begins with `=` and its like for a formula (R41), so such a text is written with an
apostrophe before it. Reading takes it away again: whatever is written is read as it was.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from gateway.contacts.attributes import DataAttribute, DataType
from gateway.identity.claims import LAST_SECOND

_FORMULA = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_GUARD = "'"
_GUARDED = _FORMULA | {_GUARD}

_SECONDS = re.compile(r"-?[0-9]{1,15}", re.ASCII)
_INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?", re.ASCII)
_DAY = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})", re.ASCII)
_TRUE = frozenset({"true", "yes", "1"})
_FALSE = frozenset({"false", "no", "0"})


def guarded(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return _GUARD + text if text[:1] in _GUARDED else text


def unguarded(text: str) -> str:
    """What `guarded` was given."""
    return text[1:] if text[:1] == _GUARD and text[1:2] in _GUARDED else text


def spelled(value: object) -> str:
    """The text of a JSON value, before it is guarded."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def moment(seconds: int | None) -> str:
    """A time in ISO 8601; empty when there is none."""
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_of(text: str) -> int:
    """Unix seconds of DD/MM/YYYY, ISO 8601 or Unix seconds (facts: Intercom 4); UTC where no zone is named.

    `ValueError` for anything else, and for a time that no record can hold.
    """
    if _SECONDS.fullmatch(text):
        seconds = int(text)
        if seconds > LAST_SECOND:
            raise ValueError("too late; are these milliseconds?")
        return seconds
    try:
        if day := _DAY.fullmatch(text):
            found = datetime(int(day[3]), int(day[2]), int(day[1]), tzinfo=UTC)
        else:
            found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be DD/MM/YYYY, ISO 8601 or Unix seconds") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


def flag_of(text: str) -> bool:
    """True or false; `ValueError` for anything else."""
    lowered = text.lower()
    if lowered not in _TRUE | _FALSE:
        raise ValueError("must be true or false")
    return lowered in _TRUE


def attribute_of(text: str, attribute: DataAttribute | None) -> Any:
    """The value of a custom attribute in its declared type; text where none is declared. Raises `ValueError`."""
    if attribute is None:
        return text
    value: object = text
    match attribute.data_type:
        case DataType.INTEGER if _INTEGER.fullmatch(text):
            value = int(text)
        case DataType.FLOAT if _NUMBER.fullmatch(text):
            value = float(text)
        case DataType.BOOLEAN:
            value = flag_of(text)
        case DataType.DATE | DataType.DATETIME:
            value = seconds_of(text)
    return attribute.typed(value)
