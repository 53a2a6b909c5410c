"""Logs: one JSON object a line, times in RFC 3339 UTC, in ASCII: no control character breaks out of a line (A25)."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gateway.errors import GatewayError

if TYPE_CHECKING:
    from types import TracebackType

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class JsonLines(logging.Formatter):
    """Formats a record as `{time, level, logger, event, ...}`; what was given as `extra` follows."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage().strip(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _OWN and value is not None}
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = _described(record.exc_info[1], record.exc_info[2])
        return json.dumps(line, default=str)


def configure_logging(level: str) -> None:
    """Send everything at or above `level` to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


def _described(error: BaseException, where: TracebackType | None) -> list[str]:
    """Where an exception came from, and what it is. A foreign one's words are left out: they may hold a value (R12)."""
    said = f": {error}" if isinstance(error, GatewayError) else ""
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(where)]
    cause = error.__cause__
    causes = [] if cause is None else _described(cause, cause.__traceback__)
    return [*causes, *frames, f"{type(error).__name__}{said}"]
