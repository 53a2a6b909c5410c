"""Visitors: leads under another name, met by an id that stands in for a user_id (facts: Intercom 2.10).

A visitor is a live lead; its `user_id` is the lead's external_id, which somebody's page made up for it. Converting says
who it really is: it is merged into the user that stands, or becomes that user with the identifiers given in place of
its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from gateway.contacts.contact import Contact, Role, State
from gateway.contacts.editing import identifiers_of
from gateway.contacts.merging.merger import Merger
from gateway.errors import ChangeProblem, ChangeRefused, Code, Refusal, VisitorNotFound
from gateway.identity.principal import Proof

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.contacts.store import ContactReader


class Named(Struct, frozen=True, kw_only=True):
    """Who is meant: the first of `id`, `user_id` and `email` that is present decides, the others do not find anybody.

    A user_id and an email are in their one spelling.
    """

    id: str | None = None
    user_id: str | None = None
    email: str | None = None


async def find_visitor(reader: ContactReader, workspace: str, who: Named) -> Contact:
    """The live lead with an id, or else with a user_id; `VisitorNotFound`. An email alone identifies no visitor."""
    found = None
    if who.id is not None:
        found = await reader.find(workspace, who.id)
    elif who.user_id is not None:
        found = await reader.find_by_external_id(workspace, who.user_id)
    if found is None or found.role is not Role.LEAD or found.state is not State.LIVE:
        raise VisitorNotFound
    if who.id not in {None, found.id} or (who.id is None and found.external_id != who.user_id):
        raise VisitorNotFound  # it was merged away
    return found


class Visitors(Merger):
    """A `Merger` of visitors."""

    async def update_visitor(self, who: Named, fields: Mapping[str, Any]) -> Contact:
        """Write fields into a visitor; raises `VisitorNotFound`, and as `update`."""
        visitor = await find_visitor(self._transaction, self._workspace, who)
        return await self.update(visitor.id, fields)

    async def convert(self, who: Named, user: Named) -> Contact:
        """Say who a visitor really is, and return that user.

        Raises `VisitorNotFound`, `ContactNotFound` for a user's id that is none, `Refusal(email_ambiguous)`, and as
        `merge` and `update` do.
        """
        await self._hold_both(who, user)
        visitor = await find_visitor(self._transaction, self._workspace, who)
        standing = await self._user(user)
        if standing is not None and standing.id != visitor.id:
            return await self.merge(visitor.id, standing.id, unchecked=True)
        email = user.email or visitor.email
        if user.user_id is None and email is None:
            text = "a user needs a user_id or an email"
            raise ChangeRefused(ChangeProblem.IDENTIFIER_MISSING, text, field="user")
        identifiers: dict[str, Any] = {"external_id": user.user_id}
        if user.email is not None:
            identifiers |= {"email": user.email, "email_proof": Proof.IMPORTED}
        return await self.update(visitor.id, {"role": Role.USER, **identifiers})

    async def _hold_both(self, who: Named, user: Named) -> None:
        """Hold what a login as either would hold, before the records; what changes until then is looked at again."""
        concerned = {one.id for one in (who, user) if one.id is not None}
        user_ids = [one.user_id for one in (who, user) if one.id is None and one.user_id is not None]
        found = [*await self._transaction.find_each(self._workspace, "external_id", user_ids)]
        if user.id is None and user.user_id is None and user.email is not None:
            holders = await self._transaction.find_each(self._workspace, "email", [user.email])
            found += [holder for holder in holders if holder.role is Role.USER]
        concerned |= {one.id for one in found}
        claimed = identifiers_of(user.user_id, user.email) | identifiers_of(who.user_id, None)
        await self._hold(*concerned, identifiers=claimed)

    async def _user(self, user: Named) -> Contact | None:
        """Who stands already: by id, else by user_id, else the one user with the email proven."""
        if user.id is not None:
            return await self.standing(user.id)
        if user.user_id is not None:
            found = await self._transaction.find_by_external_id(self._workspace, user.user_id)
            return found if found is not None and found.role is Role.USER else None
        if user.email is None:
            return None
        holders = await self._transaction.find_by_email(self._workspace, user.email, limit=100, proven=True)
        users = [holder for holder in holders if holder.role is Role.USER]
        if len(users) > 1:
            raise Refusal(Code.EMAIL_AMBIGUOUS, f"{len(users)} users hold this email", field="user")
        return users[0] if users else None
