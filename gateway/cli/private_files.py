"""Files with people's data in them: readable by their owner alone."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def written_at_once(path: Path) -> Iterator[TextIO]:
    """A file that takes its name only when it is whole; one that stood there is replaced then."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with opened(unfinished) as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def opened(path: Path) -> TextIO:
    """A file to write from its beginning, mode 0600; CSV brings its own line ends."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    return os.fdopen(descriptor, "w", encoding="utf-8", newline="")
