"""Is everything that the gateway stands on as new as it has to be?"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from typing import TYPE_CHECKING

from gateway.checking.row import Row, passed, verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_PACKAGE = "identity-gateway"
_FLOOR = re.compile(r"([A-Za-z0-9._-]+)\s*>=\s*([0-9.]+)")
_OLDEST_PYTHON = (3, 11)


def floors() -> list[tuple[str, str]]:
    """What this package requires of others: names and oldest versions, as it was installed."""
    wanted = [one for one in metadata.requires(_PACKAGE) or () if "extra ==" not in one]
    return [(found[1], found[2]) for one in wanted if (found := _FLOOR.match(one)) is not None]


def check_versions(
    wanted: Sequence[tuple[str, str]],
    installed: Callable[[str], str] = metadata.version,
    python: tuple[int, ...] = sys.version_info[:3],
) -> Iterator[Row]:
    """Python, then a row for all packages, or one for each that is too old or missing."""
    oldest = ".".join(map(str, _OLDEST_PYTHON))
    hint = "`make serve` sets up what is pinned"
    found = ".".join(map(str, python))
    yield verdict("python", f"{oldest} or newer", found, good=python >= _OLDEST_PYTHON, hint=hint)
    bad = False
    for name, floor in wanted:
        try:
            version = installed(name)
        except metadata.PackageNotFoundError:
            version = "none"
        if version == "none" or _numbers(version) < _numbers(floor):
            bad = True
            yield verdict(f"version: {name}", f"{floor} or newer", version, good=False, hint=hint)
    if not bad:
        named = ("apsw", "cryptography", "pyjwt")
        yield passed("versions", "all as new as required", ", ".join(f"{name} {installed(name)}" for name in named))


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version, those of a pre-release left out; apsw's first three are those of its SQLite."""
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[a-z+-]", version)[0]))
