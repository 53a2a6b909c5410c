"""`gateway contacts`: look at the records and change them; each command stands in a file of its own."""

from __future__ import annotations

from gateway.cli import (
    contacts_backfill,
    contacts_duplicates,
    contacts_export,
    contacts_find,
    contacts_import,
    contacts_merge,
)
from gateway.cli.commands import group

app = group()

app.command("find", epilog=contacts_find.EXAMPLES)(contacts_find.find)
app.command("duplicates", epilog=contacts_duplicates.EXAMPLES)(contacts_duplicates.duplicates)
app.command("merge", epilog=contacts_merge.MERGE_EXAMPLES)(contacts_merge.merge)
app.command("unmerge", epilog=contacts_merge.UNMERGE_EXAMPLES)(contacts_merge.unmerge)
app.command("import", epilog=contacts_import.EXAMPLES)(contacts_import.import_file)
app.command("export", epilog=contacts_export.EXAMPLES)(contacts_export.export)
app.command("backfill", epilog=contacts_backfill.EXAMPLES)(contacts_backfill.backfill)
