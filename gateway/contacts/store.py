"""What a contact store promises. Each back end keeps every word of this, and the conformance suites hold it to it.

* **Keys.** Every record lives in one workspace; all look-ups are by (workspace, value). `external_id` is unique in its
  workspace over records in every state; an email may stand on many records. Values compare byte by byte.
* **Look-ups** return the record that answers for an identifier today. A record that was merged away answers with its
  survivor, in one look-up however long the chain of merges. They see every write that was acknowledged before they
  began, in this process and in others.
* **Writes.** `write(work)` runs `work` in one transaction and returns when the result is durable: an acknowledged
  write survives kill -9 and, where the disk keeps its promises, a power cut. Two works that lock the same
  identifier run one after the other. `work` may run again from its beginning after a lost race, so it touches nothing
  but the transaction that it is given. When it raises, nothing it did is kept and the exception comes out of `write`.
* **Changes.** Each subscriber hears (workspace, contact_id) of every record whose answer may have changed, and of the
  survivor that may have answered for it until then: at once for writes of this process, within one second for those of
  another. `hears_changes` is False while that cannot be promised; after such a deaf time the subscriber hears
  `EVERYTHING` in place of a contact id, before `hears_changes` is True again. A change of a workspace's revocations is
  told the same way, as `REVOCATIONS` in place of a contact id.
* **Failure.** What the engine cannot do now is `Outage(store_unavailable)`; no driver's exception crosses this line.
* **Time** is given by the caller, in whole seconds UTC. Ids are minted by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from msgspec import Struct

from gateway.contacts.attributes import AttributeReader, AttributeTransaction
from gateway.contacts.bulk import BulkReader, BulkTransaction
from gateway.contacts.csv.jobs import ImportReader, ImportWriter
from gateway.contacts.merging.duplicates import DuplicateReader
from gateway.contacts.merging.journal import MergeReader, MergeWriter
from gateway.contacts.put_away import PutAwayReader
from gateway.contacts.revocation import RevocationReader, RevocationWriter
from gateway.contacts.rollout import RolloutReader, RolloutWriter
from gateway.contacts.search.tree import ContactSearch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.access_token import AccessToken
    from gateway.contacts.contact import Contact

T = TypeVar("T")

EVERYTHING = "*"
"""In place of a contact id: any record of any workspace may have changed."""


class Event(Struct, frozen=True, kw_only=True):
    """One line of a record's history: what happened, when, by whom, and the values before and after.

    `kind` is one of created, linked, updated, email_changed, email_conflict, shared_user_id, restored, archived,
    blocked, unblocked, merged, unmerged, deleted. `actor` says who in words such as `issuer:messenger`,
    `user_data:messenger` (what came beside its token, unsigned), `access_token:<id>` or `command`.
    """

    workspace_id: str
    contact_id: str
    kind: str
    actor: str
    at: int
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}


class ContactReader(
    AttributeReader,
    BulkReader,
    ImportReader,
    MergeReader,
    PutAwayReader,
    RevocationReader,
    RolloutReader,
    ContactSearch,
    DuplicateReader,
    Protocol,
):
    """The look-ups; a transaction offers them too, and there they see its own writes."""

    async def find(self, workspace_id: str, contact_id: str) -> Contact | None:
        """The record that answers for a contact id today: itself, or the survivor of its merges."""

    async def stored(self, workspace_id: str, contact_id: str) -> Contact | None:
        """The record that lies under a contact id itself, also when it was merged away; no work waits for it."""

    async def find_by_external_id(self, workspace_id: str, external_id: str) -> Contact | None:
        """The record that answers for an external id today: its holder, or the survivor of its merges."""

    async def find_by_email(
        self, workspace_id: str, email: str, *, limit: int = 3, proven: bool = False
    ) -> Sequence[Contact]:
        """The live records with an email (compared spelling), oldest first, at most `limit`.

        `proven` leaves out those that merely claim it, however many they are.
        """

    async def events(
        self, workspace_id: str, contact_id: str, *, limit: int = 100, skip: int = 0, kind: str | None = None
    ) -> Sequence[Event]:
        """The history of a record, newest first, at most `limit` lines behind the newest `skip`.

        `kind` picks the lines of one kind of change, however many others there are; `created` is no change.
        """

    async def find_access_token(self, digest: bytes) -> AccessToken | None:
        """The access token with this SHA-256 digest, revoked or not."""

    async def access_tokens(self) -> Sequence[AccessToken]:
        """All access tokens of all workspaces, oldest first."""


class ContactTransaction(
    ContactReader,
    AttributeTransaction,
    BulkTransaction,
    ImportWriter,
    MergeWriter,
    RevocationWriter,
    RolloutWriter,
    Protocol,
):
    """What `work` may do inside `ContactStore.write`."""

    async def lock(self, workspace_id: str, *identifiers: str) -> None:
        """Wait until no other transaction holds one of these identifiers, and hold them to the end of this one."""

    async def insert(self, contact: Contact) -> None:
        """Add a record; `ContactConflict` naming the holder when its id or external_id is taken."""

    async def update(self, contact: Contact) -> None:
        """Write all fields of a standing record; `ContactConflict`, or `ContactNotFound` when it is gone."""

    async def delete(self, workspace_id: str, contact_id: str) -> None:
        """Remove a record, and what was merged into it, for ever; the identifiers become free.

        The personal data in its history (`before` and `after`) go too. `ContactNotFound` when none stands.
        """

    async def merge(self, workspace_id: str, source_id: str, into_id: str, *, now: int) -> None:
        """Let `into` answer for `source` and for all that was merged into it; `source` becomes state MERGED."""

    async def record(self, event: Event) -> None:
        """Append a line to the history."""

    async def insert_access_token(self, token: AccessToken, digest: bytes) -> None:
        """Keep an access token under the SHA-256 digest of its secret; the secret itself is never stored."""

    async def revoke_access_token(self, token_id: str, *, now: int) -> bool:
        """Mark an access token revoked; False when there is none with this id that was not revoked already."""


Work = Callable[[ContactTransaction], Coroutine[Any, Any, T]]
ChangeListener = Callable[[str, str], None]


class ContactStore(ContactReader, Protocol):
    """A durable home of contacts."""

    embedded: bool
    """True when look-ups need no waiting: their coroutines run to the end without suspending."""

    @property
    def hears_changes(self) -> bool:
        """Whether every change, also another process's, reaches the subscribers within a second."""

    async def open(self) -> None:
        """Connect, unless it is open; `StoreUnusable` when the schema is older or newer, or the data are damaged."""

    async def close(self) -> None:
        """Finish what was acknowledged and let go of everything."""

    async def migrate(self) -> Sequence[str]:
        """Bring the schema to this program's version and return the names of the migrations that were applied.

        Opens and closes a connection of its own. `StoreUnusable` when the store is newer than the program.
        """

    async def check(self) -> Sequence[str]:
        """Look for damage and for broken promises (integrity, uniqueness, chains); return a line per problem."""

    async def write(self, work: Work[T]) -> T:
        """Run a piece of work in one durable transaction; see the module's promises."""

    def subscribe(self, listener: ChangeListener) -> None:
        """Call `listener(workspace_id, contact_id)` on the event loop for every change while the store is open."""

    def unsubscribe(self, listener: ChangeListener) -> None:
        """Call `listener` no more; one that never subscribed is no fault."""
