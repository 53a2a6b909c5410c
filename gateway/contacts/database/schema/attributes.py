"""The part of the schema for data attributes: what a workspace declares, one row an attribute."""

from __future__ import annotations


def _data_attributes(text: str) -> tuple[str, ...]:
    return (
        f"""CREATE TABLE data_attributes (
        workspace_id {text} NOT NULL,
        id INTEGER NOT NULL,
        model {text} NOT NULL,
        name {text} NOT NULL,
        data_type {text} NOT NULL,
        description {text},
        options {text} NOT NULL,
        messenger_writable INTEGER NOT NULL,
        archived INTEGER NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        PRIMARY KEY (workspace_id, id)
    )""",
        # Over contacts and companies, archived ones too (facts: Intercom 3).
        "CREATE UNIQUE INDEX data_attributes_name ON data_attributes (workspace_id, name)",
    )


SQLITE = _data_attributes("TEXT")
POSTGRES = _data_attributes('TEXT COLLATE "C"')
"""The statements of migration 2 that this part adds, for each engine."""
