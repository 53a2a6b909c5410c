"""The part of the schema for duplicates, for records that are put away, and for forgetting a person."""

from __future__ import annotations

PHONE_KEY = (
    "replace(replace(replace(replace(replace(replace(phone, ' ', ''), '-', ''), '.', ''), '/', ''), '(', ''), ')', '')"
)
"""A phone number without what people put between its digits; an index holds exactly these words."""

_INDEXES = (
    # What is archived or blocked keeps its email, and can be listed and found by it: few records, so a small index.
    "CREATE INDEX contacts_put_away ON contacts (workspace_id, id) WHERE state IN ('archived', 'blocked')",
    """CREATE INDEX contacts_put_away_email ON contacts (workspace_id, email)
    WHERE state IN ('archived', 'blocked') AND email IS NOT NULL""",
    f"""CREATE INDEX contacts_phone_key ON contacts (workspace_id, ({PHONE_KEY}), id)
    WHERE state = 'live' AND phone IS NOT NULL""",
    # What logins flagged for the duplicates report, without the history of everybody else.
    """CREATE INDEX contact_events_alarms ON contact_events (workspace_id, kind, contact_id)
    WHERE kind IN ('email_conflict', 'shared_user_id')""",
)


def _mentions(text: str) -> str:
    """Which lines of history name another record in their values: they are forgotten together with it."""
    return f"""CREATE TABLE contact_mentions (
        workspace_id {text} NOT NULL,
        mentioned_id {text} NOT NULL,
        seq BIGINT NOT NULL,
        PRIMARY KEY (workspace_id, mentioned_id, seq)
    )"""


SQLITE = (
    *_INDEXES,
    _mentions("TEXT"),
    """INSERT INTO contact_mentions SELECT e.workspace_id, h.value, e.seq
    FROM contact_events e, json_each(e.after, '$.held_by') h WHERE e.kind = 'email_conflict'""",
)
POSTGRES = (
    *_INDEXES,
    _mentions('TEXT COLLATE "C"'),
    """INSERT INTO contact_mentions SELECT e.workspace_id, h.held, e.seq
    FROM contact_events e, json_array_elements_text(e.after::json -> 'held_by') AS h(held)
    WHERE e.kind = 'email_conflict'""",
)
"""The statements of migration 2 that this part adds, for each engine."""
