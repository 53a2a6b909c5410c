"""The part of the schema for revocations: one row for each thing that a token can be revoked by."""

from __future__ import annotations


def _revocations(text: str, seq: str, key: str) -> str:
    return f"""CREATE TABLE revocations (
        seq {seq},
        workspace_id {text} NOT NULL,
        kind {text} NOT NULL,
        digest {text} NOT NULL,
        subject {text},
        issued_before BIGINT,
        until BIGINT,
        revoked_at BIGINT NOT NULL,
        actor {text} NOT NULL{key}
    )"""


_INDEXES = (
    "CREATE UNIQUE INDEX revocations_digest ON revocations (workspace_id, digest)",
    # What is dead is found without a look at what is kept for ever.
    "CREATE INDEX revocations_until ON revocations (workspace_id, until) WHERE until IS NOT NULL",
)

SQLITE: tuple[str, ...] = (
    _revocations("TEXT", "INTEGER PRIMARY KEY AUTOINCREMENT", ""),
    # Which are new is asked at each change; the rowid alone would mean all workspaces'.
    "CREATE INDEX revocations_seq ON revocations (workspace_id, seq)",
    *_INDEXES,
)
POSTGRES: tuple[str, ...] = (
    _revocations('TEXT COLLATE "C"', "BIGINT GENERATED ALWAYS AS IDENTITY", ", PRIMARY KEY (workspace_id, seq)"),
    *_INDEXES,
)
"""The statements of migration 3 that this part adds, for each engine."""
