"""Records that were put away: archived or blocked. They keep their identifiers, and can be listed and brought back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.contact import Contact


class PutAwayReader(Protocol):
    """What can be asked of the records that are neither live nor merged."""

    async def put_away(
        self, workspace_id: str, *, email: str | None = None, after: str = "", limit: int = 50
    ) -> Sequence[Contact]:
        """The archived and blocked records, by contact id from behind `after`, at most `limit`.

        `email` (compared spelling) picks those that hold it.
        """

    async def user_with_email(self, workspace_id: str, email: str, *, but: str) -> Contact | None:
        """A user that holds an email (compared spelling), a live one before one that was put away; never `but`."""

    async def count_put_away(self, workspace_id: str, *, email: str | None = None) -> int:
        """How many there are."""
