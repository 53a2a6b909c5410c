"""Changing a keyring on disk: one writer at a time, the whole file or none of it, and never over somebody's change."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from typing import TYPE_CHECKING

from keys.errors import KeyMaterialError
from keys.files import make_private_folder, write_private
from keys.keyring import Keyring, encode_keyring, load_keyring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class KeyringChanged(KeyMaterialError):
    """Somebody else changed the keyring first; nothing was written."""


def change_keyring(path: Path, change: Callable[[Keyring], Keyring], *, expect: int | None = None) -> Keyring:
    """Compare and swap: apply a change to the keyring whose version is `expect` (None: whichever stands), write it.

    A file that is not there yet is a keyring of version 0. Its folder is made, for its owner alone. What changes
    nothing writes nothing. Returns what stands then; raises `KeyringChanged`, or whatever `change` raises, and leaves
    the file as it was.
    """
    make_private_folder(path.parent)
    path = path.resolve()  # a link stays one
    owner = _owner_to_be(path)
    with _alone(path, owner):
        before = load_keyring(path) if path.exists() else Keyring()
        if expect is not None and before.version != expect:
            raise KeyringChanged(
                f"{path}: somebody else changed it meanwhile (it has version {before.version}, not {expect}); "
                "nothing was done"
            )
        after = change(before)
        if after == before:
            return before
        for unfinished in path.parent.iterdir():  # of a writer who died: nobody else writes now
            if re.fullmatch(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}", unfinished.name):
                unfinished.unlink()
        write_private(path, encode_keyring(after), owner)
        return after


def _owner_to_be(path: Path) -> tuple[int, int] | None:
    """Whose file it shall be: the administrator, who may act for the gateway's user, must not lock that user out."""
    if os.geteuid() != 0:
        return None
    status = (path if path.exists() else path.parent).stat()
    return status.st_uid, status.st_gid


@contextlib.contextmanager
def _alone(path: Path, owner: tuple[int, int] | None) -> Iterator[None]:
    """Hold the lock that stands beside the file, for the file itself is replaced; it is free again when we die."""
    lock = path.with_name(f"{path.name}.lock")
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW  # a link there could make the administrator give a file away
    try:
        descriptor = os.open(lock, flags | os.O_CREAT | os.O_EXCL, 0o600)
        if owner is not None:
            os.fchown(descriptor, *owner)
    except FileExistsError:
        descriptor = os.open(lock, flags)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
