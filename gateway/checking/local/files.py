"""Who can read and change the files of an installation."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from gateway.checking.row import Row, failed, not_performed, passed, warning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_GROUP = 0o070
_OTHERS = 0o007
_WRITABLE = 0o022


def check_folder(path: Path | None) -> Row:
    """The data folder is its owner's alone: who can write there can exchange the store."""
    name, expected = "data folder", "it stands, and nobody else can enter it (0700)"
    if path is None:
        return not_performed(name, expected, "the store is no file", "the server of the database guards its own")
    try:
        status = path.stat()
    except OSError as error:
        return failed(name, expected, f"{path}: {error.strerror}", "`gateway db migrate` makes it")
    mode = stat.S_IMODE(status.st_mode)
    found, hint = f"{path}: {mode:04o}", f"chmod 700 {path}"
    if mode & _WRITABLE:
        return failed(name, expected, f"{found}: others can write in it", hint)
    if mode & (_GROUP | _OTHERS):
        return warning(name, expected, f"{found}: others can enter it", hint)
    if not os.access(path, os.W_OK | os.X_OK):
        return failed(name, expected, f"{found}: it cannot be written by this user", "run as the gateway's user")
    return passed(name, expected, found)


def check_private(name: str, paths: Iterable[Path]) -> Row:
    """Files that hold secrets, or people's data, are readable by their owner alone."""
    expected = "readable by this user, and by nobody else (0600)"
    bad, doubtful, good = _sorted_out(paths, _private)
    if bad or doubtful:
        files = " ".join(str(path) for path, _ in bad + doubtful)
        make = failed if bad else warning
        return make(name, expected, "; ".join(why for _, why in bad + doubtful), f"chmod 600 {files}")
    if not good:
        return not_performed(name, expected, "there is none", "nothing to look at, and nothing to do")
    return passed(name, expected, f"{good} file{'s' if good > 1 else ''}")


def standing(paths: Iterable[Path]) -> list[Path]:
    """Those that are there, and those of which this user cannot know."""
    return [path for path in paths if not _is_missing(path)]


def check_configuration_file(path: Path | None, *, holds_secrets: bool) -> Row:
    """Who can write the configuration decides who is trusted."""
    name, expected = "configuration file", "nobody else can write it, nor read it when it holds a secret"
    if path is None:
        return not_performed(name, expected, "there is none", "development mode and the environment need none")
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        return failed(name, expected, f"{path}: {error.strerror}")
    if mode & _WRITABLE:
        return failed(name, expected, f"{path}: {mode:04o}, others can write it", f"chmod go-w {path}")
    if holds_secrets and mode & (_GROUP | _OTHERS):
        hint = f"chmod 600 {path}, or keep the secrets in files of their own (secret_file, url_file)"
        return failed(name, expected, f"{path}: {mode:04o}, and it holds a secret", hint)
    return passed(name, expected, f"{path}: {mode:04o}")


def _sorted_out(
    paths: Iterable[Path], judge: Callable[[Path], tuple[str, bool] | None]
) -> tuple[list[tuple[Path, str]], list[tuple[Path, str]], int]:
    """The bad files and the doubtful ones with the reason, and how many good ones there are."""
    bad: list[tuple[Path, str]] = []
    doubtful: list[tuple[Path, str]] = []
    good = 0
    for path in dict.fromkeys(paths):
        judged = judge(path)
        if judged is None:
            good += 1
        else:
            (bad if judged[1] else doubtful).append((path, judged[0]))
    return bad, doubtful, good


def _private(path: Path) -> tuple[str, bool] | None:
    """What is wrong with a private file, and whether that is bad; None when nothing is."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        return f"{path}: {error.strerror}", True
    if mode & (_OTHERS | 0o020):
        return f"{path}: {mode:04o}, others can {'read' if mode & 0o004 else 'change'} it", True
    if mode & _GROUP:
        return f"{path}: {mode:04o}, its group can read it", False
    return None if os.access(path, os.R_OK) else (f"{path}: {mode:04o}, this user cannot read it", True)


def _is_missing(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # whoever looks into it will say so
        return False
    return False
