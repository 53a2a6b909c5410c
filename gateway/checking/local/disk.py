"""Is there room for what will be written?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.checking.row import Row, failed, not_performed, passed, warning

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from pathlib import Path

_MIB = 1024 * 1024
LEAST = 100 * _MIB
FEW = 1024 * _MIB
LEAST_INODES = 1000


def check_space(folder: Path | None, statvfs: Callable[[Path], os.statvfs_result]) -> Row:
    """Bytes that this user may still write where the store lies."""
    name, expected = "disk space", f"{FEW // _MIB} MiB or more are free"
    found = _asked(folder, statvfs)
    if not isinstance(found, tuple):
        return not_performed(name, expected, *_unknown(found))
    system, where = found
    free = system.f_bavail * system.f_frsize
    told, hint = (
        f"{free // _MIB:,} MiB free at {where}",
        "a full disk stops every write, logins of newcomers among them",
    )
    if free < LEAST:
        return failed(name, expected, told, hint)
    return warning(name, expected, told, hint) if free < FEW else passed(name, expected, told)


def check_inodes(folder: Path | None, statvfs: Callable[[Path], os.statvfs_result]) -> Row:
    """Files that may still be made there."""
    name, expected = "inodes", f"{LEAST_INODES:,} or more are free"
    found = _asked(folder, statvfs)
    if not isinstance(found, tuple):
        return not_performed(name, expected, *_unknown(found))
    system, where = found
    if not system.f_files:
        return not_performed(name, expected, "this file system counts none", "nothing to do")
    told = f"{system.f_favail:,} free at {where}"
    return passed(name, expected, told) if system.f_favail >= LEAST_INODES else failed(name, expected, told)


def _asked(
    folder: Path | None, statvfs: Callable[[Path], os.statvfs_result]
) -> tuple[os.statvfs_result, Path] | OSError | None:
    """What the file system says of a folder, or of the nearest one above it that stands."""
    if folder is None:
        return None
    try:
        where = next((path for path in (folder, *folder.absolute().parents) if path.is_dir()), folder)
        return statvfs(where), where
    except OSError as error:
        return error


def _unknown(found: OSError | None) -> tuple[str, str]:
    if found is None:
        return "the store is no file", "look at the disk of the database server"
    return f"{found.strerror}", "run as the gateway's user"
