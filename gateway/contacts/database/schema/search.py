"""The part of the schema for searches: indexes over the live records, and the key of the cursors.

Creation and change are appended at an index's end, a phone is on few records: a first login pays for little. The
user_id in ASCII lower case serves prefixes in any case, and the report of those that differ only in it.
"""

from __future__ import annotations

_INDEXES = (
    "CREATE INDEX contacts_updated ON contacts (workspace_id, updated_at, id) WHERE state = 'live'",
    # After the one above: of two indexes that serve equally badly, SQLite takes the later, and this one's order is
    # all but the order in which the records lie.
    "CREATE INDEX contacts_created ON contacts (workspace_id, created_at, id) WHERE state = 'live'",
    """CREATE INDEX contacts_phone ON contacts (workspace_id, lower(phone), id)
    WHERE state = 'live' AND phone IS NOT NULL""",
    """CREATE INDEX contacts_external_id_lower ON contacts (workspace_id, lower(external_id), id)
    WHERE state = 'live' AND external_id IS NOT NULL""",
)

# Told nothing, SQLite takes a workspace for ten records, and would rather read it all than use the second column of
# an index. Its authors advise to write down what a table of the usual kind is like instead of counting this one.
_RECORDS_A_KEY = {
    "sqlite_autoindex_contacts_1": "1000000 1",
    "contacts_external_id": "1000000 1",
    "contacts_email": "1000000 1 1 1",
    "contacts_created": "1000000 10 1",
    "contacts_updated": "1000000 10 1",
    "contacts_phone": "1000000 1 1",
    "contacts_external_id_lower": "1000000 1 1",
}
_STATISTICS = (
    "ANALYZE sqlite_schema",  # makes the table, and counts nothing
    *(
        f"INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('contacts', '{index}', '1000000 {each}')"  # noqa: S608 - constants
        for index, each in _RECORDS_A_KEY.items()
    ),
)


def _secrets(text: str, random: str) -> tuple[str, ...]:
    return (
        f"CREATE TABLE store_secrets (name {text} PRIMARY KEY, value {text} NOT NULL)",
        f"INSERT INTO store_secrets (name, value) VALUES ('cursors', {random})",  # noqa: S608 - constants
    )


SQLITE = (*_INDEXES, *_STATISTICS, *_secrets("TEXT", "lower(hex(randomblob(32)))"))
POSTGRES = (
    *_INDEXES,
    # 244 random bits of the server's own strong source.
    *_secrets('TEXT COLLATE "C"', "replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '')"),
)
"""The statements of migration 2 that this part adds, for each engine."""
