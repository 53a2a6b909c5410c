"""How fast a CSV file goes in, and how much memory that takes: the command itself, into an empty SQLite store."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from msgspec import Struct

from tests.benchmarks.servers import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.material import Material


class Imported(Struct, frozen=True):
    """One run of the command: rows a second, the program's start included, and the most memory that it held."""

    per_second: float
    resident_mib: float


def run(made: Material, rows: int, *arguments: str) -> Imported:
    """Import `rows` new people into the store `imported.db`, or do again what `arguments` say."""
    file = made.folder / "people.csv"
    if not file.exists():
        _write(file, rows)
    config = made.config("imported", f"sqlite:///{made.folder / 'imported.db'}", free_port(), free_port())
    gateway = [sys.executable, "-m", "gateway"]
    subprocess.run([*gateway, "db", "migrate", "--config", config], check=True, capture_output=True)
    command = [*gateway, "contacts", "import", str(file), "--match", "external_id", "--config", str(config), *arguments]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the import ended with exit code {process.returncode}")
    return Imported(rows / seconds, usage.ru_maxrss / 1024)


def _write(file: Path, rows: int) -> None:
    with file.open("w") as lines:
        lines.write("user_id,email,name,signed_up_at\n")
        lines.writelines(f"user-{n},user-{n}@example.com,Name {n},2024-01-31\n" for n in range(rows))
