"""The schema, as numbered migrations: each runs in one transaction together with the record that it ran.

A migration is data. Where the two engines need different words, a statement is given for each; nothing is
translated. Every key begins with `workspace_id`, so that tables can be partitioned or distributed by it.
"""

from __future__ import annotations

from msgspec import Struct

from gateway.contacts.database.schema import attributes, imports, lifecycle, merges, revocations, rollout, search
from gateway.errors import StoreUnusable


class Migration(Struct, frozen=True):
    """One step of the schema: its name, and its statements for each engine."""

    name: str
    sqlite: tuple[str, ...]
    postgres: tuple[str, ...]


CREATE_MIGRATIONS = "CREATE TABLE migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL)"
SELECT_MIGRATIONS = "SELECT number FROM migrations ORDER BY number"
INSERT_MIGRATION = "INSERT INTO migrations (number, name) VALUES ($1, $2)"

_INDEXES = (
    "CREATE UNIQUE INDEX contacts_external_id ON contacts (workspace_id, external_id) WHERE external_id IS NOT NULL",
    # In the order of the answer, so that an address on very many records costs no sort.
    "CREATE INDEX contacts_email ON contacts (workspace_id, email, created_at, id) WHERE state = 'live'",
    "CREATE INDEX contacts_merged ON contacts (workspace_id, merged_into) WHERE merged_into IS NOT NULL",
    "CREATE INDEX contact_events_contact ON contact_events (workspace_id, contact_id, seq)",
    # One kind among very many lines; what nearly every record has one of is left out, so that first logins pay nothing.
    "CREATE INDEX contact_events_kind ON contact_events (workspace_id, contact_id, kind, seq) WHERE kind <> 'created'",
    # The one look-up that knows no workspace; not unique, which a partitioned table could not hold.
    "CREATE INDEX access_tokens_digest ON access_tokens (digest)",
)


def _contacts(text: str) -> str:
    return f"""CREATE TABLE contacts (
        workspace_id {text} NOT NULL,
        id {text} NOT NULL,
        external_id {text},
        role {text} NOT NULL,
        email {text},
        email_proof {text},
        phone {text},
        name {text},
        avatar {text},
        owner_id {text},
        language_override {text},
        unsubscribed_from_emails INTEGER NOT NULL,
        signed_up_at BIGINT,
        last_seen_at BIGINT,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        identified_at BIGINT,
        custom_attributes {text} NOT NULL,
        state {text} NOT NULL,
        merged_into {text},
        PRIMARY KEY (workspace_id, id)
    )"""


def _events(text: str, seq: str, key: str) -> str:
    return f"""CREATE TABLE contact_events (
        seq {seq},
        workspace_id {text} NOT NULL,
        contact_id {text} NOT NULL,
        kind {text} NOT NULL,
        actor {text} NOT NULL,
        at BIGINT NOT NULL,
        before {text} NOT NULL,
        after {text} NOT NULL{key}
    )"""


def _access_tokens(text: str) -> str:
    return f"""CREATE TABLE access_tokens (
        workspace_id {text} NOT NULL,
        id {text} NOT NULL,
        digest {text} NOT NULL,
        name {text} NOT NULL,
        scopes {text} NOT NULL,
        created_at BIGINT NOT NULL,
        revoked_at BIGINT,
        PRIMARY KEY (workspace_id, id)
    )"""


_CHANGES = """CREATE TABLE contact_changes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    workspace_id TEXT NOT NULL,
    contact_id TEXT NOT NULL
)"""
_C_TEXT = 'TEXT COLLATE "C"'

MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        name="contacts, their history, access tokens",
        sqlite=(
            _contacts("TEXT"),
            _events("TEXT", "INTEGER PRIMARY KEY AUTOINCREMENT", ""),
            _access_tokens("TEXT"),
            _CHANGES,
            *_INDEXES,
        ),
        postgres=(
            _contacts(_C_TEXT),
            _events(_C_TEXT, "BIGINT GENERATED ALWAYS AS IDENTITY", ", PRIMARY KEY (workspace_id, seq)"),
            _access_tokens(_C_TEXT),
            *_INDEXES,
        ),
    ),
    Migration(
        name="search, attributes, merges, imports",
        sqlite=(
            *lifecycle.SQLITE,
            *attributes.SQLITE,
            *merges.SQLITE,
            *search.SQLITE,
            *imports.SQLITE,
        ),
        postgres=(
            *lifecycle.POSTGRES,
            *attributes.POSTGRES,
            *merges.POSTGRES,
            *search.POSTGRES,
            *imports.POSTGRES,
        ),
    ),
    Migration(
        name="revocations, enforcement counts",
        sqlite=(*revocations.SQLITE, *rollout.SQLITE),
        postgres=(*revocations.POSTGRES, *rollout.POSTGRES),
    ),
)


def pending(applied: int) -> tuple[tuple[int, Migration], ...]:
    """The migrations after the first `applied`; `StoreUnusable` when the store is newer than this program."""
    if applied > len(MIGRATIONS):
        raise StoreUnusable(
            f"the store is at migration {applied}, this program knows {len(MIGRATIONS)}: run a newer program"
        )
    return tuple(enumerate(MIGRATIONS, start=1))[applied:]


def check_current(applied: int) -> None:
    """`StoreUnusable` unless the store is exactly at this program's schema."""
    if pending(applied):
        raise StoreUnusable("the store lacks migrations: run `gateway db migrate`")
