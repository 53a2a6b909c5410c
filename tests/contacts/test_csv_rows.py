"""Reading CSV: dialects, encodings, exact places, and files that are refused whole."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contacts.attributes import Catalogue
from gateway.contacts.csv.cells import guarded, moment, seconds_of, unguarded
from gateway.contacts.csv.first_lines import FirstLines
from gateway.contacts.csv.layout import COLUMN_LIMIT, COLUMNS, Layout, is_known
from gateway.contacts.csv.rows import ENCODINGS, LINE_LIMIT, CsvFile, CsvProblem
from gateway.identity.principal import IdRules

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "people.csv"


def rows_of(file: Path, data: bytes, **choices: str) -> list[tuple[int, list[str]]]:
    file.write_bytes(data)
    read = CsvFile(file, is_known, **choices)
    rows = list(read.rows())
    assert read.check() == len(rows)
    return rows


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_in_the_header(file: Path, delimiter: str) -> None:
    """By the names of columns that it makes; a name may hold the others."""
    text = f'user_id{delimiter}email{delimiter}"custom_attributes.a,b;c"\nu1{delimiter}a@example.com{delimiter}x\n'
    assert rows_of(file, text.encode()) == [(2, ["u1", "a@example.com", "x"])]


def test_the_delimiter_is_found_between_quotes(file: Path) -> None:
    """Where every name is quoted, a wrong delimiter does not even parse."""
    assert rows_of(file, b'"user_id";"email"\n"u1";"a@example.com"\n') == [(2, ["u1", "a@example.com"])]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_encoding_is_named(file: Path, encoding: str) -> None:
    """Each of them reads what it wrote."""
    data = "user_id,name\nu1,Zoë\n".encode(encoding)
    assert rows_of(file, data, encoding=encoding) == [(2, ["u1", "Zoë"])]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_names_the_encoding(file: Path, encoding: str) -> None:
    """What spreadsheets save as UTF-8 or Unicode text is read without being told, also when it is told."""
    data = "user_id,name\r\nu1,Zoë\r\n".encode(encoding)
    assert rows_of(file, data) == [(2, ["u1", "Zoë"])]
    assert rows_of(file, data, encoding=encoding[:6].rstrip("-")) == [(2, ["u1", "Zoë"])]


def test_a_row_has_the_line_on_which_it_begins(file: Path) -> None:
    """Behind fields of several lines and empty lines, too; carriage returns within quotes stay."""
    data = b'user_id,name\n"u1","a\nb\r\nc"\n\n\nu2,"d\re"\nu3,f'
    assert rows_of(file, data) == [(2, ["u1", "a\nb\r\nc"]), (7, ["u2", "d\re"]), (8, ["u3", "f"])]


@pytest.mark.parametrize(
    ("data", "code", "line", "words"),
    [
        (b"", "file_empty", None, "empty"),
        (b"\n\n", "file_empty", None, "empty"),
        (b"u1,a@example.com\nu2,b@example.com\n", "header_missing", 1, "no header"),
        (b"user_id,name\nu1,Zo\xeb\n", "encoding", 2, "byte 6 is not utf-8"),
        (b"\xef\xbb\xbfuser_id,\xff\n", "encoding", 1, "byte 12 is not utf-8"),
        (b"user_id,name\nu1,a\0b\n", "nul", 2, "NUL"),
        ("user_id,name\nu1,a\n".encode("utf-16-le"), "nul", 1, "UTF-16"),
        (b"\xff\xfeu\0s\0e\0r\0_\0i\0d\0\n\0\0\xd8", "encoding", 2, "not utf-16-le"),
        (b"user_id,name\nu1,a,b\n", "column_count", 2, "3 fields, where the header has 2"),
        (b"user_id,name\nu1\n", "column_count", 2, "1 fields, where the header has 2"),
        (b'user_id,name\nu1,"a\nu2,b\nu3,c\n', "quote_open", 2, "ends within the quoted field"),
        (b'user_id,name\nu1,"a"b\n', "quote_misplaced", 2, "after the quote"),
        (b"user_id,name\ru1,a\r", "line_end", 1, "carriage return"),
        (b"user_id,name\nu1," + b"x" * 1024 * 1024 + b"\n", "field_too_long", 2, "longer than"),
        (b'user_id,name\nu1,"' + b"x\n" * 512 * 1024 + b'"\n', "field_too_long", 2, "a field of more than"),
        (b"user_id,name\n" + b"x" * (LINE_LIMIT + 1), "field_too_long", 2, "longer than"),
    ],
)
def test_a_broken_file_has_a_place(file: Path, data: bytes, code: str, line: int | None, words: str) -> None:
    """Each problem has a code, the line, and words for whoever made the file."""
    with pytest.raises(CsvProblem, match=words) as problem:
        rows_of(file, data)
    assert (problem.value.code, problem.value.line) == (code, line)


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (["user_id", "email", "user_id"], "duplicate_column"),
        (["user_id", *(f"custom_attributes.a{n}" for n in range(300))], "too_many_columns"),
        (["user_id", "User_ID"], "unknown_column"),
        (["user_id", "custom_attributes.plan"], "unknown_column"),
        (["user_id", ""], "unknown_column"),
    ],
)
def test_a_header_that_means_nothing(header: list[str], code: str) -> None:
    """Named twice, too many, unknown: the header is refused, and says what it may name."""
    with pytest.raises(CsvProblem) as problem:
        Layout(header, IdRules(), Catalogue([]))
    assert (problem.value.code, problem.value.line) == (code, 1)


def test_every_column_fits() -> None:
    """All columns and the most custom attributes of a contact are fewer than a file may have."""
    assert len(COLUMNS) + 250 + 5 <= COLUMN_LIMIT


def test_a_file_that_cannot_be_read_twice(tmp_path: Path) -> None:
    """A folder, or nothing at all."""
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(CsvProblem, match="not a file"):
            CsvFile(path, is_known)


@given(st.text())
def test_r41_no_cell_is_a_formula(text: str) -> None:
    """What is written begins with nothing that a spreadsheet obeys, and is read as it was."""
    written = guarded(text)
    assert written[:1] not in {*"=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"} - {""}
    assert unguarded(written) == text


@pytest.mark.parametrize("cell", ["'", "'tis", "'1", "a=1", "1-2", ""])
def test_an_apostrophe_of_somebodys_own_stays(cell: str) -> None:
    """Only before what it guards does it mean nothing."""
    assert unguarded(cell) == cell


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("31/12/2024", 1735603200),
        ("1/2/2024", 1706745600),
        ("2024-12-31", 1735603200),
        ("2024-12-31T01:00:00+01:00", 1735603200),
        ("2024-12-31T00:00:00Z", 1735603200),
        ("2024-12-31 00:00:00", 1735603200),
        ("1735603200", 1735603200),
        ("0", 0),
    ],
)
def test_dates(text: str, seconds: int) -> None:
    """DD/MM/YYYY, ISO 8601 and Unix seconds; UTC where no zone is named (facts: Intercom 4)."""
    assert seconds_of(text) == seconds
    assert seconds_of(moment(seconds)) == seconds


@pytest.mark.parametrize("text", ["12/31/2024", "31-12-2024", "soon", "1735603200000000", "2024-13-01", "٣", "1e9"])
def test_what_is_no_date(text: str) -> None:
    """The month stands second; what is no date is never guessed at."""
    with pytest.raises(ValueError, match=r"must be|too late"):
        seconds_of(text)


@given(st.lists(st.text(max_size=3)))
def test_the_first_line_of_a_key(keys: list[str]) -> None:
    """The table says what a dictionary says, while it grows."""
    lines, first = FirstLines(), dict[str, int]()
    for line, key in enumerate(keys, start=2):
        assert lines.line_of(key) == first.get(key)
        assert lines.first(key, line) == first.get(key)
        first.setdefault(key, line)


def test_the_table_of_keys_grows() -> None:
    """Many keys, each found with its line."""
    lines = FirstLines()
    for line in range(20_000):
        assert lines.first(("user_id", f"u{line}"), line + 1) is None
    assert all(lines.line_of(("user_id", f"u{line}")) == line + 1 for line in range(20_000))
    assert lines.line_of(("email", "u1")) is None


@given(st.lists(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), min_size=2, max_size=2)))
def test_whatever_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]) -> None:
    """Any cells that the csv module writes come out as they were."""
    text = io.StringIO()
    csv.writer(text).writerows([["user_id", "name"], *rows])
    file = tmp_path_factory.getbasetemp() / "any.csv"
    assert [row for _, row in rows_of(file, text.getvalue().encode())] == rows
