"""Which records are probably one person, and which of them should answer for it.

A group is found by what its records share: an email, a phone, a user_id but for case and white space, an email that one
has as its user_id. Beside these stand what logins flagged: `email_conflict`, a new user_id with somebody's proven email
(where the two no longer share one, else it is told with the group), and `shared_user_id`, one user_id that several
people seem to share, which no merge mends.

The proposal names a survivor and says why. It is a proposal: nothing is merged here, and what could hand one person's
conversations to another (a second user_id, an email that was merely claimed) is left to an operator's word (S7, C02).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from gateway.contacts.contact import Contact, Role, State
from gateway.identity.principal import Proof

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LISTED = 100
"""How many records of a group are looked at. What more records share is no person's, so nothing is proposed."""


class DuplicateKind(StrEnum):
    """What the records of a group share, in the order of the report."""

    EMAIL = "email"
    PHONE = "phone"
    USER_ID = "user_id"
    EMAIL_AS_USER_ID = "email_as_user_id"
    EMAIL_CONFLICT = "email_conflict"
    SHARED_USER_ID = "shared_user_id"


class Because(StrEnum):
    """What put the survivor before the next best record; the rules in their order."""

    IDENTIFIED = "identified"
    PROVEN_EMAIL = "proven_email"
    LAST_SEEN = "last_seen"
    OLDEST = "oldest"


class Doubt(StrEnum):
    """Why a merge needs an operator's word, or why nothing is proposed."""

    IDENTIFIED = "identified"
    CLAIMED_EMAIL = "claimed_email"
    ONLY_LEADS = "only_leads"
    TOO_MANY = "too_many"
    SEVERAL_PEOPLE = "several_people"


WORDS = {
    Because.IDENTIFIED: "it alone has a user_id",
    Because.PROVEN_EMAIL: "its email is better proven",
    Because.LAST_SEEN: "it was seen last",
    Because.OLDEST: "it is the oldest",
    Doubt.IDENTIFIED: "it has a user_id of its own: two identified contacts are merged by an operator's word alone",
    Doubt.CLAIMED_EMAIL: "its email was merely claimed: make sure that it is the same person",
    Doubt.ONLY_LEADS: "these are leads alone: make one of them a user, and merge the others into it",
    Doubt.TOO_MANY: f"more than {LISTED} records share this: it is hardly one person's",
    Doubt.SEVERAL_PEOPLE: "several people seem to share this user_id: find who hands it out, and part them",
}


class FoundGroup(Struct, frozen=True):
    """What a store finds: the shared value, and the ids of the records that share it."""

    key: str
    contact_ids: tuple[str, ...]


class Proposal(Struct, frozen=True):
    """The survivor and why it, and of each record that asks for an operator's word, why."""

    into: str
    because: Because
    doubts: dict[str, Doubt]


class DuplicateGroup(Struct, frozen=True, kw_only=True):
    """Records that are probably one person, oldest first, at most `LISTED` of `total`.

    `flagged_at` is when a login flagged one of them, in seconds. Without a `proposal`, `doubt` says why there is none.
    """

    kind: DuplicateKind
    key: str
    contacts: tuple[Contact, ...]
    total: int
    flagged_at: int | None = None
    proposal: Proposal | None = None
    doubt: Doubt | None = None

    @property
    def id(self) -> str:
        """How the group is named."""
        return f"{self.kind}:{self.key}"


class Position(Struct, frozen=True):
    """Where a page ended: the last group's kind and key."""

    kind: DuplicateKind
    key: str


class DuplicateReader(Protocol):
    """What the report asks of a store. It may read very many rows, beside the look-ups of logins."""

    async def duplicate_groups(
        self, workspace_id: str, kind: DuplicateKind, *, after: str = "", limit: int, key: str | None = None
    ) -> Sequence[FoundGroup]:
        """The groups of a kind by their keys from behind `after`, at most `limit`; with `key` that one alone."""

    async def stored_contacts(self, workspace_id: str, contact_ids: Sequence[str]) -> Sequence[Contact]:
        """The records under these ids themselves, in any order."""

    async def flagged(self, workspace_id: str, contact_ids: Sequence[str]) -> Mapping[str, int]:
        """Which of these records a login flagged with `email_conflict`, and when last."""


def folded_id(text: str) -> str:
    """What is left of a user_id without its case and white space."""
    return "".join(text.casefold().split())


def propose(contacts: Sequence[Contact]) -> Proposal | Doubt:
    """The survivor among records that are probably one person, or why there is none.

    A record with a user_id goes before others, then the better proven email, then who was seen last, then the oldest.
    """
    ranked = sorted(contacts, key=_rank)
    if ranked[0].role is not Role.USER:
        return Doubt.ONLY_LEADS
    best, *others = ranked
    because = Because.OLDEST
    for rule, mine, its in zip(Because, _rank(best), _rank(others[0]), strict=False):
        if mine != its:
            because = rule
            break
    doubts = {contact.id: doubt for contact in others if (doubt := _doubt(best, contact)) is not None}
    return Proposal(best.id, because, doubts)


def _rank(contact: Contact) -> tuple[object, ...]:
    """The less, the better: users before leads, then the rules of `Because` in their order."""
    seen = max(contact.last_seen_at or 0, contact.identified_at or 0)
    return (
        (contact.role is not Role.USER, contact.external_id is None),
        _PROOFS.index(contact.email_proof),
        -seen,
        contact.created_at,
        contact.id,
    )


def _doubt(into: Contact, contact: Contact) -> Doubt | None:
    if into.external_id is not None and contact.external_id is not None:
        return Doubt.IDENTIFIED
    if Proof.CLAIMED in {into.email_proof, contact.email_proof}:
        return Doubt.CLAIMED_EMAIL
    return None


def _age(contact: Contact) -> tuple[int, str]:
    return contact.created_at, contact.id


_PROOFS = (*Proof, None)


class DuplicatesReport:
    """The report over a workspace's records, in a stable order: by kind, then by key, byte by byte."""

    def __init__(self, store: DuplicateReader, workspace: str) -> None:
        self._store = store
        self._workspace = workspace

    async def page(
        self, after: Position | None, *, limit: int, kinds: Sequence[DuplicateKind] = tuple(DuplicateKind)
    ) -> tuple[list[DuplicateGroup], Position | None]:
        """At most `limit` groups from behind `after`, and where the next page begins; None when there is none."""
        groups: list[DuplicateGroup] = []
        order = list(DuplicateKind)
        for kind in sorted(kinds, key=order.index):
            if after is not None and order.index(kind) < order.index(after.kind):
                continue
            key = after.key if after is not None and after.kind is kind else ""
            while len(groups) <= limit:
                wanted = limit + 1 - len(groups)
                found = await self._store.duplicate_groups(self._workspace, kind, after=key, limit=wanted)
                groups += await self._looked_at(kind, found)
                if len(found) < wanted:
                    break
                key = found[-1].key
        if len(groups) <= limit:
            return groups, None
        return groups[:limit], Position(groups[limit - 1].kind, groups[limit - 1].key)

    async def group(self, group_id: str) -> DuplicateGroup | None:
        """The group with this name, as it stands now."""
        kind, _, key = group_id.partition(":")
        if kind not in set(DuplicateKind):
            return None
        known = DuplicateKind(kind)
        found = await self._store.duplicate_groups(self._workspace, known, limit=1, key=key)
        return next(iter(await self._looked_at(known, found)), None)

    async def _looked_at(self, kind: DuplicateKind, found: Sequence[FoundGroup]) -> list[DuplicateGroup]:
        """The groups with their records as they stand now; those that fell apart meanwhile are left out."""
        ids = [sorted(set(group.contact_ids))[:LISTED] for group in found]  # an id begins with its second of creation
        stored = await self._store.stored_contacts(self._workspace, [one for some in ids for one in some])
        standing = {contact.id: contact for contact in stored if contact.state is State.LIVE}
        flagged = await self._store.flagged(self._workspace, list(standing)) if kind is DuplicateKind.EMAIL else {}
        groups = []
        for group, some in zip(found, ids, strict=True):
            contacts = sorted((standing[one] for one in some if one in standing), key=_age)
            if _stands(kind, contacts):
                moments = [flagged[contact.id] for contact in contacts if contact.id in flagged]
                groups.append(_judged(kind, group, contacts, max(moments, default=None)))
        return groups


def _stands(kind: DuplicateKind, contacts: Sequence[Contact]) -> bool:
    if kind is DuplicateKind.SHARED_USER_ID:
        return bool(contacts)
    if kind is DuplicateKind.EMAIL_CONFLICT and len({contact.email for contact in contacts}) < 2:
        return False  # they still share the email, so that their group tells of it
    return len(contacts) > 1


def _judged(
    kind: DuplicateKind, found: FoundGroup, contacts: Sequence[Contact], flagged_at: int | None
) -> DuplicateGroup:
    total = len(set(found.contact_ids)) if len(contacts) == LISTED else len(contacts)
    verdict: Proposal | Doubt
    if kind is DuplicateKind.SHARED_USER_ID:
        verdict = Doubt.SEVERAL_PEOPLE
    elif total > LISTED:
        verdict = Doubt.TOO_MANY
    else:
        verdict = propose(contacts)
    return DuplicateGroup(
        kind=kind,
        key=found.key,
        contacts=tuple(contacts),
        total=total,
        flagged_at=flagged_at,
        proposal=verdict if isinstance(verdict, Proposal) else None,
        doubt=verdict if isinstance(verdict, Doubt) else None,
    )
