"""Many logins at once, in one process and in several, for any store: each back end's test inherits this."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.contacts.resolver import EmailConflict, Identity
from gateway.errors import ContactConflict
from tests.contacts.conformance_concurrency import go, line_of
from tests.contacts.people import person, principal, resolver_of
from tests.contacts.records import WORKSPACE, insert

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from gateway.contacts.store import ContactStore


class LoginsConformance:
    """Races between logins, and between a login and somebody who writes."""

    async def test_200_parallel_first_logins_make_one_contact(self, store: ContactStore, other: ContactStore) -> None:
        """However many first logins of one user_id run at once, through two doors: one contact, equal answers (R35)."""
        doors = [resolver_of(store), resolver_of(other)]
        who = principal("u-1", "a@example.com", attributes={"name": "Ada"})
        identities = await asyncio.gather(*(doors[n % 2].resolve(who) for n in range(200)))
        assert all(identity.contact == identities[0].contact for identity in identities)
        assert sum(identity.created for identity in identities) == 1
        assert await store.find_by_email(WORKSPACE, "a@example.com", limit=10) == [identities[0].contact]

    async def test_first_logins_in_several_processes_make_one_contact(
        self, store: ContactStore, start: Callable[..., subprocess.Popen[str]]
    ) -> None:
        """Two other processes and this one, 200 first logins of one user_id each: one contact, made once."""
        programs = [start("login", "u-1", "a@example.com", "200") for _ in range(2)]
        for program in programs:
            assert await line_of(program) == "ready"
        for program in programs:
            go(program)
        resolver, who = resolver_of(store), principal("u-1", "a@example.com")
        mine = await asyncio.gather(*(resolver.resolve(who) for _ in range(200)))
        theirs = [line for program in programs for line in [await line_of(program) for _ in range(200)]]
        answers = [f"{identity.contact.id} {identity.created}" for identity in mine] + theirs
        contact_id = mine[0].contact.id
        assert sorted(answers) == [f"{contact_id} False"] * 599 + [f"{contact_id} True"]
        assert await store.check() == []

    async def test_parallel_first_logins_with_one_email_respect_reject(self, store: ContactStore) -> None:
        """Under `reject`, different user_ids that arrive at once with one email: exactly one is made (S6)."""
        resolver = resolver_of(store, email_conflict=EmailConflict.REJECT)
        logins = [resolver.resolve(principal(f"u-{n}", "a@example.com")) for n in range(20)]
        outcomes = await asyncio.gather(*logins, return_exceptions=True)
        assert sum(isinstance(outcome, Identity) for outcome in outcomes) == 1
        assert len(await store.find_by_email(WORKSPACE, "a@example.com", limit=10)) == 1

    async def test_parallel_logins_link_a_lead_once(self, store: ContactStore, other: ContactStore) -> None:
        """Different user_ids that arrive at once with the proven email of one lead: one is linked, the others made."""
        lead = person(email="a@example.com")
        await insert(store, lead)
        doors = [resolver_of(store), resolver_of(other)]
        logins = [doors[n % 2].resolve(principal(f"u-{n}", "a@example.com")) for n in range(20)]
        identities = await asyncio.gather(*logins)
        assert [identity.contact.id for identity in identities if identity.linked] == [lead.id]
        assert len({identity.contact.id for identity in identities}) == 20

    async def test_a_login_beside_a_writer_that_does_not_lock(self, store: ContactStore, other: ContactStore) -> None:
        """An API client that creates the user_id at the same moment wins or loses; the login answers either way."""
        resolver = resolver_of(store)
        for turn in range(30):
            rival = person(external_id=f"u-{turn}")
            login, created = await asyncio.gather(
                resolver.resolve(principal(f"u-{turn}")), insert(other, rival), return_exceptions=True
            )
            assert isinstance(login, Identity)
            assert login.created is isinstance(created, ContactConflict)
            assert (login.contact.id == rival.id) is (created is None)
