"""Identity headers that a client writes do not reach the upstream (advisories B01, B02; R23).

The upstream has to say what it received: an echo route, behind the gateway or the proxy that asks it. Every spoofed
header has a value of its own, which must not come back anywhere in the answer.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gateway.checking.row import Row, failed, not_performed, verdict
from gateway.checking.staging.logins import NO_CONTACT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.checking.staging.site import Reply, Site
    from gateway.checking.staging.subject import Subject

_CONTROL = "X-Gateway-Check"
_SIGNED_IN = "spoofed, signed in"
_ANONYMOUS = "spoofed, anonymous"
_NOMINATED = "nominated away"
_HINT = "--echo URL: a route behind the proxy that answers with the headers that it received"


def check_spoofing(subject: Subject) -> Iterator[Row]:
    """Signed in, the upstream gets our headers and no other; anonymous, it gets none, or is not asked at all."""
    expected = {
        _SIGNED_IN: "the upstream gets the contact of login, and no header that the client wrote, in any spelling",
        _ANONYMOUS: "without a token the request is refused, or arrives without any identity header",
        _NOMINATED: "identity headers that Connection names arrive all the same, or the request is refused",
    }
    echo, why = subject.echo, None
    if echo is None:
        why, hint = "no echo route was given", _HINT
    elif subject.contact_id is None:
        why, hint = "there is no contact", NO_CONTACT
    else:
        control = _marker()
        reply = echo.ask("GET", "", token=subject.token(), headers=[(_CONTROL, control)])
        if control not in reply.body.decode("latin-1"):
            why, hint = f"{reply.told}, and no echo of a header that is nobody's identity", _HINT
    if echo is None or subject.contact_id is None or why is not None:
        for name, what in expected.items():
            yield not_performed(name, what, why or "", hint)
        return
    yield _signed_in(subject, echo, subject.contact_id, expected[_SIGNED_IN])
    yield _anonymous(subject, echo, expected[_ANONYMOUS])
    yield _nominated(subject, echo, subject.contact_id, expected[_NOMINATED])


def _signed_in(subject: Subject, echo: Site, contact_id: str, expected: str) -> Row:
    survived: list[str] = []
    for spelled in _spellings(subject.identity_headers):
        reply, arrived = _spoof(echo, spelled, subject.token())
        survived += arrived
        if reply.status != 200 or contact_id not in reply.body.decode("latin-1"):
            return failed(_SIGNED_IN, expected, f"{reply.told}, and not the contact of login in the echo")
    return _told(_SIGNED_IN, expected, survived, "the contact, and nothing else")


def _anonymous(subject: Subject, echo: Site, expected: str) -> Row:
    survived: list[str] = []
    statuses = set()
    for spelled in _spellings(subject.identity_headers):
        reply, arrived = _spoof(echo, spelled, None)
        survived += arrived
        statuses.add(reply.told)
    return _told(_ANONYMOUS, expected, survived, f"{', '.join(sorted(statuses))}, nothing spoofed")


def _nominated(subject: Subject, echo: Site, contact_id: str, expected: str) -> Row:
    """B02: what `Connection` names is removed by whoever forwards; it must not be what the gateway has added."""
    nominated = ("Connection", ", ".join(["close", *subject.identity_headers]))
    spelled = [(name, _marker()) for name in subject.identity_headers]
    reply, survived = _spoof(echo, [*spelled, nominated], subject.token())
    if reply.status == 200 and contact_id not in reply.body.decode("latin-1"):
        return failed(_NOMINATED, expected, "the request arrives, and the identity does not")
    return _told(_NOMINATED, expected, survived, f"{reply.told}, nothing removed")


def _told(name: str, expected: str, survived: Sequence[str], good: str) -> Row:
    arrived = ", ".join(dict.fromkeys(survived))
    hint = "the proxy has to set or to empty every identity header, in every spelling that the upstream reads"
    return verdict(name, expected, f"these arrive: {arrived}" if survived else good, good=not survived, hint=hint)


def _spoof(echo: Site, headers: Sequence[tuple[str, str]], token: str | None) -> tuple[Reply, list[str]]:
    """Send spoofed headers; the answer, and the names of those whose value came back."""
    reply = echo.ask("GET", "", token=token, headers=headers)
    everything = reply.body.decode("latin-1") + "".join(value for _, value in reply.headers)
    return reply, [name for name, value in headers if value in everything and name != "Connection"]


def _spellings(names: Sequence[str]) -> Iterator[list[tuple[str, str]]]:
    """One request's headers each: every name in one spelling, and at last each of them twice."""
    for spell in (str, str.lower, str.upper, _underscored, _dotted, _mixed, _aliased):
        yield [(spell(name), _marker()) for name in names]
    yield [(name, _marker()) for name in names for _ in range(2)]


def _underscored(name: str) -> str:
    return name.replace("-", "_")


def _dotted(name: str) -> str:
    return name.replace("-", ".")


def _aliased(name: str) -> str:
    return name.replace("-", "~")  # as good as any of those that CGI reads as an underscore


def _mixed(name: str) -> str:
    return name.swapcase().replace("-", "_", 1)


def _marker() -> str:
    return f"spoofed-{os.urandom(8).hex()}"
