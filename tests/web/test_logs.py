"""One line of the log: JSON, ASCII, and nothing that was secret (A25, R12)."""

from __future__ import annotations

import json
import logging

import pytest

from gateway.errors import Code, Outage
from gateway.logs import JsonLines


def line_of(message: str, *arguments: object, error: BaseException | None = None, **extra: object) -> str:
    record = logging.getLogger("test").makeRecord(
        "test",
        logging.INFO,
        "file",
        1,
        message,
        arguments,
        (type(error), error, error.__traceback__) if error else None,
    )
    vars(record).update(extra)
    return JsonLines().format(record)


@pytest.mark.parametrize("value", ["\r\n", "\x1b[31m", "\0", "\u2028", "\x9b", "\u202e", "\ud800", '"', "\u00e9"])
def test_a25_nothing_breaks_out_of_a_line(value: str) -> None:
    """Line ends, escapes, C1 controls, bidi marks, half a surrogate pair: escaped, wherever they stand."""
    line = line_of("said %s", value, field=value)
    assert line.isascii()
    assert line.isprintable()
    said = json.loads(line)
    assert (said["level"], said["logger"]) == ("info", "test")
    assert (said["event"], said["field"]) == (f"said {value}".strip(), value)


def raised(error: Exception) -> BaseException:
    """The exception with a traceback."""
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def test_r12_a_foreign_exception_says_where_and_not_what() -> None:
    """Its type and its frames; its words may hold a token or a claim. Ours are promised to hold neither."""
    foreign = json.loads(line_of("failed", error=raised(KeyError("eyJhbGciOi"))))
    assert foreign["exception"][-1] == "KeyError"
    assert "test_logs.py" in foreign["exception"][0]
    assert "eyJhbGciOi" not in json.dumps(foreign)
    ours = json.loads(line_of("failed", error=raised(Outage(Code.STORE_UNAVAILABLE, "the disk is full"))))
    assert ours["exception"][-1] == "Outage: store_unavailable: the disk is full"
