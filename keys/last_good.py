"""The last good set of an issuer on disk, so that a start while the issuer is down can verify (facts: peers 3.6).

A file for each set, named by a hash of what it is the set of, for its owner alone (0600, replaced whole). What is read
is checked as strictly as what is fetched; a file that somebody else may have written is not read.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from keys.errors import KeyMaterialError
from keys.files import make_private_folder, write_private
from keys.jwks import DOCUMENT_LIMIT, PublishedSet, published_set, strict_json

if TYPE_CHECKING:
    from collections.abc import Sequence

_FORWARD = 300
"""Seconds that a file may be from the future, for clocks that were put right."""


class LastGoodSet(Struct, frozen=True):
    """The file of one set, which says of which one by `of`: a file that was renamed is nobody's."""

    path: Path
    of: str

    def read(self, now: float) -> tuple[PublishedSet, float] | None:
        """The set and how many seconds ago its publisher had it; None without a file, `KeyMaterialError` for a bad one.

        `now` is the wall clock: seconds since 1970.
        """
        try:
            content = _read_own(self.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise KeyMaterialError(f"the saved set cannot be read ({error.strerror})") from error
        saved = strict_json(content)
        if not isinstance(saved, dict) or saved.get("of") != self.of:
            raise KeyMaterialError("the saved set is not the one of this issuer")
        saved_at = saved.get("saved_at")
        if type(saved_at) is not int or not 0 <= saved_at <= now + _FORWARD:
            raise KeyMaterialError("the saved set does not say when it was saved, or it was in the future")
        return published_set(json.dumps({"keys": saved.get("keys")}).encode()), max(now - saved_at, 0)

    def write(self, published: PublishedSet, now: float) -> None:
        """Keep a set; raises `OSError`. Only public members are kept, whatever was published."""
        make_private_folder(self.path.parent)
        content = {"of": self.of, "saved_at": int(now), "keys": published.jwks}
        write_private(self.path, json.dumps(content, indent=1).encode() + b"\n")


def last_good_set(folder: Path, *names: str) -> LastGoodSet:
    """The file of the set with these names: the workspace, the issuer, where it is published."""
    digest = _digest(names)
    return LastGoodSet(folder / f"remote-{digest[:32]}.json", digest)


def _read_own(path: Path) -> bytes:
    """The bytes of a regular file that nobody else can have written: neither through a link, nor into a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o022 or found.st_uid not in {0, os.geteuid()}:
            raise KeyMaterialError("the saved set is no file of ours alone")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(2 * DOCUMENT_LIMIT)
    finally:
        os.close(descriptor)


def _digest(parts: Sequence[str]) -> str:
    encoded = [part.encode() for part in parts]
    return hashlib.sha256(b"".join(len(part).to_bytes(4) + part for part in encoded)).hexdigest()
