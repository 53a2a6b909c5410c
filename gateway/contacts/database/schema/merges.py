"""The part of the schema for the journal of merges."""

from __future__ import annotations


def _merges(text: str, seq: str, key: str) -> str:
    return f"""CREATE TABLE contact_merges (
        seq {seq},
        workspace_id {text} NOT NULL,
        source_id {text} NOT NULL,
        source_role {text} NOT NULL,
        into_id {text} NOT NULL,
        actor {text} NOT NULL,
        merged_at BIGINT NOT NULL,
        undone_at BIGINT,
        kept {text} NOT NULL{key}
    )"""


_INDEXES = (
    "CREATE INDEX contact_merges_into ON contact_merges (workspace_id, into_id, seq)",
    "CREATE INDEX contact_merges_source ON contact_merges (workspace_id, source_id, seq)",
    "CREATE INDEX contact_merges_kept ON contact_merges (workspace_id, merged_at) WHERE kept <> '{}'",
)

SQLITE = (_merges("TEXT", "INTEGER PRIMARY KEY AUTOINCREMENT", ""), *_INDEXES)
POSTGRES = (
    _merges('TEXT COLLATE "C"', "BIGINT GENERATED ALWAYS AS IDENTITY", ", PRIMARY KEY (workspace_id, seq)"),
    *_INDEXES,
)
"""The statements of migration 2 that this part adds, for each engine."""
