"""`gateway contacts export`: all live records as CSV."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.commands import Config, Workspace, examples
from gateway.cli.configuration import settings_for, workspace_of
from gateway.cli.output import complain
from gateway.cli.private_files import written_at_once
from gateway.cli.progress import progress_bar
from gateway.contacts.csv.exporting import exported
from gateway.contacts.database.stores import store_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.contacts.store import ContactStore

EXAMPLES = examples("gateway contacts export --output contacts.csv", "gateway contacts export | gzip > contacts.csv.gz")


def export(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Else standard output.", show_default=False)
    ] = None,
    workspace: Workspace = None,
    config: Config = None,
) -> None:
    """Write all live contacts as CSV, UTF-8; `gateway contacts import --match id` takes it back unchanged.

    A text that a spreadsheet would take for a formula gets an apostrophe before it, which the import takes away again.
    Archived and blocked contacts are left out.
    """
    settings = settings_for(config)
    app_id = workspace_of(settings, workspace)
    store = store_for(settings.store.url)
    with progress_bar("contacts") as progress:
        if output is None:
            asyncio.run(_export(store, app_id, _to_standard_output, progress))
            return
        with written_at_once(output) as file:
            count = asyncio.run(_export(store, app_id, file.write, progress))
    complain(f"{count:,} contacts in {output}")


async def _export(
    store: ContactStore, app_id: str, write: Callable[[str], object], progress: Callable[[int], None]
) -> int:
    await store.open()
    try:
        count = 0
        async for piece, records in exported(store, app_id):
            write(piece)
            count += records
            progress(count)
        return count
    finally:
        await store.close()


def _to_standard_output(piece: str) -> None:
    """As UTF-8 with the line ends of CSV, whatever the terminal speaks."""
    sys.stdout.buffer.write(piece.encode())
    sys.stdout.buffer.flush()
