"""`gateway keys`: the keys of every issuer, and the making and going of our own; each command in a file of its own.

A running gateway reads a keyring again within about a second of its change: nothing has to be restarted.
"""

from __future__ import annotations

from gateway.cli import keys_export, keys_generate, keys_import, keys_list, keys_retire, keys_rotate
from gateway.cli.commands import group

app = group()

app.command("list", epilog=keys_list.EXAMPLES)(keys_list.list_all)
app.command("generate", epilog=keys_generate.EXAMPLES)(keys_generate.generate)
app.command("import", epilog=keys_import.EXAMPLES)(keys_import.import_keys)
app.command("rotate", epilog=keys_rotate.EXAMPLES)(keys_rotate.rotate)
app.command("retire", epilog=keys_retire.EXAMPLES)(keys_retire.retire)
app.command("export", epilog=keys_export.EXAMPLES)(keys_export.export)
