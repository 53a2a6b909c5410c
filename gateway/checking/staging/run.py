"""Every check of a gateway, in order. One that cannot be finished fails; none of them keeps the next from running."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import msgspec

from gateway.checking.row import Outcome, Row, failed, not_performed, passed
from gateway.checking.staging.contacts import check_contacts, remove_contacts
from gateway.checking.staging.logins import check_forward_auth, check_logins
from gateway.checking.staging.published import check_discovery, check_key_set
from gateway.checking.staging.reaching import check_certificate, check_clock, check_ready
from gateway.checking.staging.refusals import check_broken_tokens, check_nobody
from gateway.checking.staging.site import Unreachable
from gateway.checking.staging.spoofing import check_spoofing
from gateway.identity.broken import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gateway.checking.staging.subject import Subject

CHECKS = 20 + len(CATALOGUE)
"""About how many rows a run has."""

_SHOWN = 400  # characters of what was found


def check_gateway(subject: Subject) -> Iterator[Row]:
    """Check the gateway, and remove at the end what that has made."""
    with contextlib.ExitStack() as open_sites:
        for site in (subject.site, subject.admin, subject.echo):
            if site is not None:
                open_sites.enter_context(site)
        yield from _timed("certificate", lambda: [check_certificate(subject.site)])
        reachable = next(_timed("reachable", lambda: [_reachable(subject)]))
        yield reachable
        if reachable.outcome is not Outcome.PASSED:
            yield not_performed("all others", "a gateway that answers", reachable.found, "mend that first")
            return
        try:
            yield from _all(subject)
        finally:
            removal = next(_timed("removed", lambda: [remove_contacts(subject)]))
        yield removal


def _all(subject: Subject) -> Iterator[Row]:
    yield from _timed("ready", lambda: [check_ready(subject.site)])
    yield from _timed("clock", lambda: [check_clock(subject.site.ask("GET", "/readyz"), subject.leeway)])
    yield from _timed("discovery", lambda: [check_discovery(subject)])
    yield from _timed("key set", lambda: [check_key_set(subject)])
    yield from _timed("login", lambda: check_logins(subject))
    (forward_auth,) = rows = list(_timed("forward-auth", lambda: [check_forward_auth(subject)]))
    yield from rows
    asked = forward_auth.outcome is not Outcome.NOT_PERFORMED
    yield from _timed("no token", lambda: [check_nobody(subject, forward_auth=asked)])
    yield from _timed("broken", lambda: check_broken_tokens(subject, forward_auth=asked))
    yield from _timed("spoofed", lambda: check_spoofing(subject))
    yield from _timed("contacts", lambda: check_contacts(subject))


def _reachable(subject: Subject) -> Row:
    reply = subject.site.ask("GET", "/readyz")
    location = reply.header("location")
    if location is not None:
        return failed("reachable", "an answer", f"{reply.status} to {location}", "check that URL: none is followed")
    return passed("reachable", "an answer", f"an answer in {1000 * (reply.received - reply.sent):.0f} ms")


def _timed(name: str, check: Callable[[], Iterable[Row]]) -> Iterator[Row]:
    """The rows of a check with the seconds that each took; where no answer comes, a failed row of this name."""
    began = time.monotonic()
    try:
        for row in check():
            ended = time.monotonic()
            yield msgspec.structs.replace(row, found=_shortened(row.found), seconds=ended - began)
            began = ended
    except Unreachable as error:
        yield msgspec.structs.replace(failed(name, "an answer", f"none: {error}"), seconds=time.monotonic() - began)


def _shortened(text: str) -> str:
    """What a server says of itself may be as long as it likes."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
