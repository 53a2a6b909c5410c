"""The part of the schema for the counts of a roll-out."""

from __future__ import annotations


def _enforcement_counts(text: str) -> str:
    return f"""CREATE TABLE enforcement_counts (
        workspace_id {text} NOT NULL,
        day INTEGER NOT NULL,
        platform {text} NOT NULL,
        outcome {text} NOT NULL,
        total BIGINT NOT NULL,
        PRIMARY KEY (workspace_id, day, platform, outcome)
    )"""


SQLITE = (_enforcement_counts("TEXT"),)
POSTGRES = (_enforcement_counts('TEXT COLLATE "C"'),)
"""The statements of migration 3 that this part adds, for each engine."""
