"""A good token: login gives a contact, and every way in leads to the same one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.checking.row import Row, failed, not_performed, verdict
from gateway.contacts.contact import is_contact_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.checking.staging.site import Reply
    from gateway.checking.staging.subject import Subject

NO_CONTACT = "mend the login first"
_HINTS = {
    "signature_invalid": "is the configuration that signs here the one of that gateway? --config, --issuer",
    "issuer_unknown": "is the configuration that signs here the one of that gateway? --config, --issuer",
    "kid_unknown": "is the configuration that signs here the one of that gateway? --config, --issuer",
    "request_invalid": "does that gateway have this workspace? --workspace",
    "contact_unknown": 'first_sight = "reject" lets no newcomer in, so no test contact either',
}


def check_logins(subject: Subject) -> Iterator[Row]:
    """A newcomer gets a contact of his own; another token of his leads to the same one, and so does `me`."""
    expected = "200 and a contact with the user_id of the token, no-store"
    first = subject.login(subject.token())
    yield (row := _newcomer(subject, first, expected))
    again_expected = "another token of the same user_id: the same contact"
    met_expected = "first_sight and created, then external_id and not created"
    me_expected = "GET /messenger/me: the same contact"
    if first.status != 200 or subject.contact_id is None:
        for name, what in (("same contact", again_expected), ("matched by", met_expected), ("me", me_expected)):
            yield not_performed(name, what, f"login: {row.outcome.value}", NO_CONTACT)
        return
    again = subject.login(subject.token(shorter=1))
    yield _same("same contact", again_expected, again, subject)
    met = [(one.member("identity", "matched_by"), one.member("identity", "created")) for one in (first, again)]
    found = ", then ".join(f"{how} and {'created' if created else 'not created'}" for how, created in met)
    good = met == [("first_sight", True), ("external_id", False)]
    yield verdict("matched by", met_expected, found, good=good)
    me = subject.site.ask("GET", f"/messenger/me?app_id={subject.workspace}", token=subject.token())
    yield _same("me", me_expected, me, subject)


def check_forward_auth(subject: Subject) -> Row:
    """`/auth` gives the contact of login, in the identity headers."""
    expected = f"GET /auth/{subject.workspace}: 200 and the contact of login in {subject.identity_headers[0]}"
    if subject.contact_id is None:
        return not_performed("forward-auth", expected, "there is no contact", NO_CONTACT)
    reply = subject.forward_auth(subject.token())
    if reply.status == 404:
        hint = "let /auth through to the gateway, or check it directly"
        return not_performed("forward-auth", expected, "404", hint)
    given = reply.header(subject.identity_headers[0])
    if reply.status != 200 or given is None:
        return failed("forward-auth", expected, f"{reply.told}, {'no' if given is None else 'a'} contact")
    same = given == subject.contact_id
    return verdict("forward-auth", expected, "the same contact" if same else "another contact", good=same)


def _newcomer(subject: Subject, reply: Reply, expected: str) -> Row:
    contact_id = reply.member("contact", "id")
    if reply.status != 200:
        return failed("login", expected, reply.told, _HINTS.get(reply.code or ""))
    if reply.member("verified") is False:
        hint = "the token is refused, and enforcement lets it pass unverified"
        return failed("login", expected, f"{reply.told}, unverified", hint)
    if not isinstance(contact_id, str) or not is_contact_id(contact_id):
        return failed("login", expected, "200 without a contact id")
    subject.contact_id = contact_id
    if reply.member("contact", "external_id") != subject.user_id:
        return failed("login", expected, "200 and a contact with another user_id")
    stored = not is_no_store(reply)
    return verdict(
        "login", expected, f"200 and a contact{', which caches may store' if stored else ''}", good=not stored
    )


def _same(name: str, expected: str, reply: Reply, subject: Subject) -> Row:
    same = reply.status == 200 and reply.member("contact", "id") == subject.contact_id
    found = "the same" if same else "another contact" if reply.status == 200 else reply.told
    return verdict(name, expected, found, good=same)


def is_no_store(reply: Reply) -> bool:
    """Whether caches are told to keep nothing of an answer (R28)."""
    return "no-store" in (reply.header("cache-control") or "")
