"""Is the configuration good, and does it fit this machine?"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from gateway.checking.row import Row, failed, passed, warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.settings import Settings


def check_valid(settings: Settings | None, problems: Sequence[str], source: str) -> Row:
    """The configuration makes sense."""
    name, expected = "configuration", "no problem"
    if settings is not None:
        return passed(name, expected, f"good: {source}")
    more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
    return failed(name, expected, "; ".join(problems[:3]) + more, "`gateway config check` names every problem")


def check_choices(settings: Settings, cores: int) -> Iterator[Row]:
    """What is allowed and may not be meant."""
    admin = settings.admin.bind
    hint = "bind it to 127.0.0.1 or to a private network: it is never for the world"
    expected = "the admin listener on loopback or in a private network"
    yield (
        passed("admin listener", expected, admin)
        if _is_private(admin)
        else failed("admin listener", expected, admin, hint)
    )
    found = f"{settings.workers} for {cores} core{'s' if cores != 1 else ''}"
    hint = "workers beyond the cores take turns"
    expected = "no more than there are cores"
    few = settings.workers <= cores
    yield passed("workers", expected, found) if few else warning("workers", expected, found, hint)
    clear = len(settings.workspaces) == 1 or settings.public.default_workspace is not None
    expected = "requests without an app_id belong to somebody"
    found = settings.public.default_workspace or next(iter(settings.workspaces))
    hint = "public.default_workspace names one; without it such requests are refused"
    several = f"{len(settings.workspaces)} workspaces, and no default"
    yield (
        passed("default workspace", expected, found) if clear else warning("default workspace", expected, several, hint)
    )
    name, expected, level = "log level", "not debug", settings.log_level
    quiet = level != "debug"
    yield passed(name, expected, level) if quiet else warning(name, expected, level, 'log_level = "info"')


def _is_private(bind: str) -> bool:
    """Whether an address is one that the world cannot reach; `0.0.0.0` is every address of the machine."""
    host = bind.rpartition(":")[0].strip("[]")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return not address.is_unspecified and (address.is_loopback or address.is_private)
