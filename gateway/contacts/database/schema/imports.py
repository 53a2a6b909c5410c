"""The part of the schema for imports that run as jobs."""

from __future__ import annotations


def _imports(text: str) -> tuple[str, ...]:
    return (
        f"""CREATE TABLE import_jobs (
        workspace_id {text} NOT NULL,
        id {text} NOT NULL,
        state {text} NOT NULL,
        rule {text} NOT NULL,
        applies INTEGER NOT NULL,
        total BIGINT,
        counts {text} NOT NULL,
        problem {text},
        message {text},
        actor {text} NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        PRIMARY KEY (workspace_id, id)
    )""",
        # One at a time in a workspace, whichever process is asked.
        "CREATE UNIQUE INDEX import_jobs_running ON import_jobs (workspace_id) WHERE state = 'running'",
        f"""CREATE TABLE import_texts (
        workspace_id {text} NOT NULL,
        job_id {text} NOT NULL,
        kind {text} NOT NULL,
        seq BIGINT NOT NULL,
        content {text} NOT NULL,
        PRIMARY KEY (workspace_id, job_id, kind, seq)
    )""",
    )


SQLITE = _imports("TEXT")
POSTGRES = _imports('TEXT COLLATE "C"')
"""The statements of migration 2 that this part adds, for each engine."""
