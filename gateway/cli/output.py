"""What commands print: plain lines, tables, JSON, and errors of one line and a hint.

Texts from tokens and records may hold anything. Nothing that a terminal would obey is printed raw (R42): control,
bidirectional and invisible characters appear as escapes.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gateway.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DONE = 0
FOUND_WANTING = 1
WRONG_USE = 2

_OBEYED = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_WIDE = 200


class CommandFailed(GatewayError):
    """A command ends without its result: one line, a hint, an exit code."""

    def __init__(self, message: str, *, hint: str | None = None, exit_code: int = FOUND_WANTING) -> None:
        super().__init__(message)
        self.hint = hint
        self.exit_code = exit_code


def checked_text(text: str) -> str:
    """A text that can be stored and signed; an argument that is not UTF-8 arrives as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise CommandFailed("an argument is not text in UTF-8", exit_code=WRONG_USE) from None
    return text


def printable(text: object) -> str:
    """A text on one line, with every character that a terminal would obey as an escape."""
    line = str(text)
    if line.isascii() and line.isprintable():
        return line
    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character) in _OBEYED else character
        for character in line
    )


def encodable(text: str, stream: Any) -> str:
    """A text without the letters that a stream cannot write: they appear as escapes."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def say(*lines: object) -> None:
    """Print lines to standard output."""
    _write(sys.stdout, lines)


def complain(*lines: object) -> None:
    """Print lines to standard error."""
    _write(sys.stderr, lines)


def say_json(value: Any) -> None:
    """Print a value as JSON that holds nothing but ASCII."""
    text = json.dumps(value, indent=2, ensure_ascii=True, default=str).replace("\x7f", "\\u007f")
    _write(sys.stdout, text.split("\n"))


def say_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table."""
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - most commands print no table
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable("" if cell is None else cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False).print(table)


def moment(seconds: float | None) -> str:
    """A time in RFC 3339 UTC; empty when there is none, the number itself when no calendar reaches it."""
    if seconds is None:
        return ""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def _write(stream: Any, lines: Iterable[object]) -> None:
    for line in lines:
        stream.write(encodable(printable(line), stream) + "\n")
    stream.flush()
