"""The contacts API finds the test contact, and takes it away again."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from gateway.checking.row import Row, not_performed, verdict
from gateway.checking.staging.logins import NO_CONTACT
from gateway.checking.staging.site import Unreachable
from gateway.checking.staging.subject import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.checking.staging.site import Site
    from gateway.checking.staging.subject import Subject

_HINT = "--admin URL, and an access token with contacts:read and contacts:write (--access-token-file)"


def check_contacts(subject: Subject) -> Iterator[Row]:
    """The test contact stands under its id and under its external_id."""
    paths = {
        "contacts: by id": f"/contacts/{subject.contact_id}",
        "contacts: by external_id": f"/contacts/find_by_external_id/{quote(subject.user_id, safe='')}",
    }
    for name, path in paths.items():
        expected = "the contact of login"
        if subject.admin is None or subject.access_token is None:
            yield not_performed(name, expected, "no access to the admin listener", _HINT)
        elif subject.contact_id is None:
            yield not_performed(name, expected, "there is no contact", NO_CONTACT)
        else:
            reply = subject.admin.ask("GET", path, token=subject.access_token)
            given = (reply.member("id"), reply.member("external_id"))
            same = reply.status == 200 and given == (subject.contact_id, subject.user_id)
            found = "found" if same else "another contact" if reply.status == 200 else str(reply.status)
            yield verdict(name, expected, found, good=same)


def remove_contacts(subject: Subject) -> Row:
    """Remove what this run has made: contacts whose external_id has our prefix, and no others."""
    name, expected = "removed", "nothing of this run is left"
    if not subject.made:
        return not_performed(name, expected, "no contact was made", NO_CONTACT)
    if subject.admin is None or subject.access_token is None:
        return not_performed(name, expected, f"left: {', '.join(subject.made)}", _HINT)
    left = [one for one in subject.made if not _removed(subject.admin, subject.access_token, one)]
    found = f"left: {', '.join(left)}" if left else f"{len(subject.made)} removed"
    return verdict(name, expected, found, good=not left, hint="delete them: DELETE /contacts/{id}")


def _removed(admin: Site, access_token: str, contact_id: str) -> bool:
    """Delete a contact that is ours beyond doubt, whatever the gateway under test said of it."""
    try:
        external_id = admin.ask("GET", f"/contacts/{contact_id}", token=access_token).member("external_id")
        if not isinstance(external_id, str) or not external_id.startswith(PREFIX):
            return False
        return admin.ask("DELETE", f"/contacts/{contact_id}", token=access_token).status == 200
    except Unreachable:
        return False
