"""Broken tokens: each of the catalogue meets its code and its status, at login and at `/auth` alike."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gateway.checking.row import Outcome, Row, failed, not_performed, passed, verdict, warning
from gateway.checking.staging.logins import is_no_store
from gateway.checking.staging.site import Unreachable
from gateway.errors import Code
from gateway.identity.broken import CATALOGUE
from gateway.web.headers import IDENTITY_ERROR
from gateway.web.problems import forward_auth_status, status_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.checking.staging.site import Reply
    from gateway.checking.staging.subject import Subject

_PATIENCE = 3
"""Answers that may fail to come, one after the other, before no more are waited for."""

_HEADER_LIMIT = 4000
"""Bytes of a token that every proxy lets through in a header; a longer one is sent in the body."""


def check_nobody(subject: Subject, *, forward_auth: bool) -> Row:
    """A request without a token is nobody's, at login and, where that can be asked, at `/auth`."""
    name, expected = "no token", f"without a token: 401 {Code.CREDENTIALS_MISSING}, challenged, no-store"
    reply = subject.site.ask("POST", "/messenger/login", body={"app_id": subject.workspace})
    row = _judged(name, expected, reply, Code.CREDENTIALS_MISSING)
    agreement = _Agreement(subject, possible=forward_auth)
    agreement.compare("at /auth", reply, None)
    agreed = agreement.row()
    return failed(name, expected, agreed.found) if agreed.outcome is Outcome.FAILED else row


def check_broken_tokens(subject: Subject, *, forward_auth: bool) -> Iterator[Row]:
    """A row for every broken token, and one for what `/auth` says to all of them when that can be asked."""
    agreement = _Agreement(subject, possible=forward_auth)
    silent = 0
    for slug, broken in CATALOGUE.items():
        signer = subject.signer(time.time())
        name, code = f"broken: {slug}", broken.code_for(signer)
        expected = f"{status_of(code)} {code}"
        why = broken.unsuited(signer)
        if why is not None or silent >= _PATIENCE:
            hint = "--issuer with one that it suits" if why else "mend that first"
            yield not_performed(name, expected, why or "the gateway answers no more", hint)
            continue
        token = broken.make(signer)
        try:
            reply = _presented(subject, token)
        except Unreachable as error:
            silent += 1
            yield failed(name, expected, f"no answer: {error}")
            continue
        silent = 0
        yield _judged(name, expected, reply, code, broken.about)
        if _fits_a_header(token):
            agreement.compare(slug, reply, token.decode())
    yield agreement.row()


class _Agreement:
    """Whether `/auth` gives the verdicts of login, and no identity to anybody whom login gives none."""

    def __init__(self, subject: Subject, *, possible: bool) -> None:
        self._subject = subject
        self._possible = possible
        self._compared = 0
        self._disagreed: list[str] = []

    def compare(self, slug: str, reply: Reply, token: str | None) -> None:
        """Ask `/auth` about a token of which login said this; once it does not answer, no more."""
        if not self._possible:
            return
        self._compared += 1
        try:
            answer = self._subject.forward_auth(token)
        except Unreachable as error:
            self._disagreed.append(f"{slug}: {reply.told} and no answer ({error})")
            self._possible = False
            return
        status = forward_auth_status(reply.status) if reply.status >= 400 else reply.status
        given = [name for name in self._subject.identity_headers if name != IDENTITY_ERROR and answer.header(name)]
        if (answer.status, answer.code) != (status, reply.code):
            self._disagreed.append(f"{slug}: {reply.told} and {answer.told}")
        elif given and reply.member("contact") is None:
            self._disagreed.append(f"{slug}: {reply.told}, and {given[0]} all the same")

    def row(self) -> Row:
        """What it came to."""
        name, expected = "forward-auth agrees", "the verdict of login for every broken token that fits a header"
        if not self._compared:
            return not_performed(name, expected, "nothing to compare", "let /auth through to the gateway")
        more = len(self._disagreed) - 5
        found = "; ".join(self._disagreed[:5]) + (f"; and {more} more" if more > 0 else "")
        good = f"{self._compared} times the same verdict"
        return verdict(name, expected, found or good, good=not self._disagreed)


def _presented(subject: Subject, token: bytes) -> Reply:
    """Login with the token in a header where it fits, else in the body."""
    return subject.login(token.decode()) if _fits_a_header(token) else subject.login_in_body(token.decode("latin-1"))


def _judged(name: str, expected: str, reply: Reply, code: Code, about: str | None = None) -> Row:
    if (reply.status, reply.code, reply.member("verified"), reply.member("contact")) == (200, code, False, None):
        hint = "enforcement is not on, so who is refused passes unverified"
        return warning(name, expected, f"200, unverified: {code}", hint)
    problems = _problems(reply, code)
    return failed(name, expected, "; ".join(problems), about) if problems else passed(name, expected, reply.told)


def _problems(reply: Reply, code: Code) -> list[str]:
    """What is wrong with a refusal."""
    problems = []
    if (reply.status, reply.code) != (status_of(code), code):
        problems.append("200: it is let in" if reply.status == 200 else reply.told)
    elif reply.status == 401 and not (reply.header("www-authenticate") or "").startswith("Bearer"):
        problems.append(f"{reply.told} without a WWW-Authenticate: Bearer")
    if not is_no_store(reply):
        problems.append("no Cache-Control: no-store")
    return problems


def _fits_a_header(token: bytes) -> bool:
    return 0 < len(token) <= _HEADER_LIMIT and all(0x21 <= byte <= 0x7E for byte in token)
