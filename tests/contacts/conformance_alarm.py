"""One user_id that several people seem to share, for any store: each back end's test inherits this."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contacts.store import ContactStore, ContactTransaction, Event
from gateway.identity.principal import Proof
from tests.contacts.people import Clock, kinds, person, principal, resolver_of
from tests.contacts.records import NOW, WORKSPACE, insert, merge

if TYPE_CHECKING:
    import pytest

EMAILS = [f"{letter}@example.com" for letter in "abcdefgh"]


class AlarmConformance:
    """S9 and C09: who is alarmed, how often, and what is no reason."""

    async def test_c09_one_user_id_with_many_emails_raises_an_alarm(self, store: ContactStore) -> None:
        """A third email on one user_id within the window is noted; outside the window it is not (S9)."""
        clock = Clock()
        resolver = resolver_of(store, clock, alarm_emails=3, alarm_window=3600)
        alarms = [(await resolver.resolve(principal("u-1", email))).alarmed for email in EMAILS[:4]]
        assert alarms == [False, False, True, False]
        for email in EMAILS[:3]:
            clock.now += 4000
            assert not (await resolver.resolve(principal("u-2", email))).alarmed

    async def test_an_email_that_flips_back_raises_an_alarm(self, store: ContactStore) -> None:
        """A, B, A on one user_id: two people share it (S9). Also where A stood long before the window began."""
        clock = Clock()
        resolver = resolver_of(store, clock, alarm_emails=10)
        await resolver.resolve(principal("u-1", EMAILS[0]))
        clock.now += 10**7
        assert not (await resolver.resolve(principal("u-1", EMAILS[1]))).alarmed
        identity = await resolver.resolve(principal("u-1", EMAILS[0]))
        assert identity.alarmed
        assert await kinds(store, identity.contact.id) == [
            "created",
            "email_changed",
            "email_changed",
            "shared_user_id",
        ]
        (alarm,) = await store.events(WORKSPACE, identity.contact.id, kind="shared_user_id")
        assert (alarm.actor, alarm.after["user_id"], alarm.after["email"]) == ("issuer:messenger", "u-1", EMAILS[0])

    async def test_the_alarm_comes_once_in_its_window(self, store: ContactStore) -> None:
        """Hundreds of flips within one window are one alarm, and the next window has its own."""
        clock = Clock()
        resolver = resolver_of(store, clock, alarm_window=3600)
        for window in range(2):
            for turn in range(150):
                clock.now = NOW + window * 3601 + turn
                identity = await resolver.resolve(principal("u-1", EMAILS[turn % 2]))
        assert len(await store.events(WORKSPACE, identity.contact.id, kind="shared_user_id")) == 2

    async def test_other_lines_of_history_hide_no_alarm(self, store: ContactStore) -> None:
        """However much else happens to the record between the flips."""
        resolver = resolver_of(store)
        await resolver.resolve(principal("u-1", EMAILS[0]))
        identity = await resolver.resolve(principal("u-1", EMAILS[1]))

        async def work(transaction: ContactTransaction) -> None:
            for _ in range(200):
                await transaction.record(
                    Event(workspace_id=WORKSPACE, contact_id=identity.contact.id, kind="updated", actor="test", at=NOW)
                )

        await store.write(work)
        assert (await resolver.resolve(principal("u-1", EMAILS[0]))).alarmed

    async def test_claims_raise_no_alarm(self, store: ContactStore) -> None:
        """Whoever may claim any email alarms nobody with it."""
        resolver = resolver_of(store)
        for email in [*EMAILS, *EMAILS]:
            assert not (await resolver.resolve(principal("u-1", email, Proof.CLAIMED))).alarmed
        assert not (await resolver.resolve(principal("u-1", EMAILS[0]))).alarmed

    async def test_tokens_of_two_merged_people_raise_no_alarm(self, store: ContactStore) -> None:
        """Two user_ids with an email each lead to one contact since their merge: neither of them is shared."""
        one, two = person(external_id="u-1", email=EMAILS[0]), person(external_id="u-2", email=EMAILS[1])
        await insert(store, one, two)
        await merge(store, one, two)
        resolver = resolver_of(store)
        for turn in range(6):
            identity = await resolver.resolve(principal(f"u-{turn % 2 + 1}", EMAILS[turn % 2]))
            assert (identity.contact.id, identity.alarmed) == (two.id, False)

    async def test_the_alarm_is_logged_without_anything_personal(
        self, store: ContactStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A warning names the contact; neither the user_id nor an email."""
        resolver = resolver_of(store)
        for email in (EMAILS[0], EMAILS[1], EMAILS[0]):
            identity = await resolver.resolve(principal("u-secret", email))
        (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("gateway.contacts")]
        assert identity.contact.id in line
        assert "secret" not in line
        assert "@" not in line
