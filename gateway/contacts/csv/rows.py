"""The rows of a CSV file (RFC 4180), each with the line on which it begins.

A file is looked at whole before the first of its rows is used: one that ends within a quoted field, holds a NUL, bytes
of another encoding or a row of another width is refused with its place, and nothing is half done. Memory holds a line.
"""

from __future__ import annotations

import codecs
import csv
import io
from typing import TYPE_CHECKING

from gateway.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

LINE_LIMIT = 512 * 1024
"""How many bytes a line takes at most; a field that is longer was not meant for any record."""

ENCODINGS = ("utf-8", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "windows-1252")
DELIMITERS = (",", ";", "\t", "|")

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_TOLD_EVERY = 4096  # rows


class CsvProblem(GatewayError):
    """A file that cannot be used: a code, the line (from 1; None when it is the file itself), and words."""

    def __init__(self, code: str, message: str, *, line: int | None = None) -> None:
        super().__init__(message if line is None else f"line {line}: {message}")
        self.code = code
        self.line = line


class CsvFile:
    """A regular file with a header. Without an `encoding` it is UTF-8, or what its byte order mark says.

    Without a `delimiter` it is the one that makes the most `known` columns of the header. Raises `CsvProblem`.
    """

    def __init__(
        self,
        path: Path,
        known: Callable[[str], bool],
        *,
        encoding: str | None = None,
        delimiter: str | None = None,
    ) -> None:
        if not path.is_file():
            raise CsvProblem("file_missing", f"{path} is not a file that can be read twice")
        self._path = path
        self._mark, self._encoding = _encoding_of(path, encoding)
        self._known = known
        self.delimiter = delimiter or max(DELIMITERS, key=self._fits)
        self.header: Sequence[str] = self._header(self.delimiter)
        if not any(map(known, self.header)):
            text = "this is no header: it names none of the columns, such as user_id or email"
            raise CsvProblem("header_missing", text, line=1)

    def check(self, progress: Callable[[int], None] = lambda _rows: None) -> int:
        """Read all rows and return how many there are; `progress` hears of it now and then."""
        count = 0
        for _ in self.rows():
            count += 1
            if count % _TOLD_EVERY == 0:
                progress(count)
        return count

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Each row after the header, with its first line; empty lines are none."""
        rows = self._read(self.delimiter)
        _, header = next(rows)
        width = len(header)
        for line, row in rows:
            if len(row) != width:
                text = f"{len(row)} fields, where the header has {width}"
                raise CsvProblem("column_count", text, line=line)
            yield line, row

    def _fits(self, delimiter: str) -> int:
        """How many known columns a delimiter makes of the header; -1 when it makes none of it."""
        try:
            return sum(map(self._known, self._header(delimiter)))
        except CsvProblem:
            return -1

    def _header(self, delimiter: str) -> list[str]:
        for _, row in self._read(delimiter):
            return [name.strip() for name in row]
        raise CsvProblem("file_empty", f"{self._path} is empty: a header is the least")

    def _read(self, delimiter: str) -> Iterator[tuple[int, list[str]]]:
        reader = csv.reader(self._lines(), delimiter=delimiter, strict=True)
        line = 1
        try:
            for row in reader:
                if row:
                    yield line, row
                line = reader.line_num + 1
        except csv.Error as error:
            raise _problem_of(error, line, reader.line_num) from error

    def _lines(self) -> Iterator[str]:
        """The lines as text, each with its end. Decoded one by one, so that a wrong byte has its place."""
        with self._path.open("rb") as file:
            file.seek(len(self._mark))
            if self._encoding.startswith("utf-16"):
                yield from _wide_lines(file, self._encoding)
                return
            for number, raw in enumerate(_lines_of(file), start=1):
                try:
                    text = raw.decode(self._encoding)
                except UnicodeDecodeError as error:
                    byte = error.start + 1 + (len(self._mark) if number == 1 else 0)
                    text = f"byte {byte} is not {self._encoding}; --encoding says what it is, such as latin-1"
                    raise CsvProblem("encoding", text, line=number) from None
                yield _without_nul(text, number)


def _encoding_of(path: Path, encoding: str | None) -> tuple[bytes, str]:
    """The byte order mark, and the encoding that it or the caller names."""
    with path.open("rb") as file:
        start = file.read(4)
    for mark, named in _MARKS:
        if start.startswith(mark) and encoding in (None, named, named[:6]):
            return mark, named
    return b"", encoding or "utf-8"


def _lines_of(file: io.BufferedReader) -> Iterator[bytes]:
    number = 0
    while raw := file.readline(LINE_LIMIT + 1):
        number += 1
        if len(raw) > LINE_LIMIT:
            raise _too_long(number)
        yield raw


def _wide_lines(file: io.BufferedReader, encoding: str) -> Iterator[str]:
    text = io.TextIOWrapper(file, encoding=encoding, newline="\n")
    number = 0
    try:
        while line := text.readline(LINE_LIMIT + 1):
            number += 1
            if len(line) > LINE_LIMIT:
                raise _too_long(number)
            yield _without_nul(line, number)
    except UnicodeDecodeError:
        raise CsvProblem("encoding", f"bytes that are not {encoding}, here or soon after", line=number + 1) from None
    finally:
        text.detach()


def _without_nul(text: str, line: int) -> str:
    if "\0" in text:
        raise CsvProblem("nul", "a NUL; is the file UTF-16, or damaged?", line=line)
    return text


def _too_long(line: int) -> CsvProblem:
    return CsvProblem("field_too_long", f"longer than {LINE_LIMIT:,} bytes", line=line)


def _problem_of(error: csv.Error, first: int, last: int) -> CsvProblem:
    """What the parser means, in words for whoever made the file; the row began on line `first`."""
    text = str(error)
    if "unexpected end of data" in text:
        return CsvProblem("quote_open", "the file ends within the quoted field that began here", line=first)
    if "field limit" in text:
        message = f"a field of more than {csv.field_size_limit():,} characters; is a quote missing?"
        return CsvProblem("field_too_long", message, line=first)
    if "new-line character" in text:
        return CsvProblem("line_end", "a carriage return without a line feed", line=last)
    return CsvProblem("quote_misplaced", "text after the quote that closes a field", line=last)
