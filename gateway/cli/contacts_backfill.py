"""`gateway contacts backfill`: user_ids out of a custom attribute, rehearsed first."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.commands import AsJson, Config, Workspace, examples
from gateway.cli.configuration import settings_for, workspace_of
from gateway.cli.outcomes import Outcomes, interruptions
from gateway.cli.output import checked_text, complain
from gateway.cli.private_files import opened
from gateway.cli.progress import progress_bar
from gateway.contacts.csv.backfill import ERRORS_HEADER, Backfill, errors_text
from gateway.contacts.database.stores import store_for
from gateway.trust import id_rules

if TYPE_CHECKING:
    from gateway.contacts.store import ContactStore

EXAMPLES = examples(
    "gateway contacts backfill --from-attribute customer_id",
    "gateway contacts backfill --from-attribute customer_id --apply --errors clashes.csv",
)


def backfill(  # noqa: PLR0913, PLR0917 - the options of a command
    from_attribute: Annotated[str, typer.Option(help="The custom attribute that holds the ids; archived or not.")],
    apply: Annotated[bool, typer.Option("--apply", help="Write; else it is a rehearsal.")] = False,  # noqa: FBT002
    errors: Annotated[
        Path | None, typer.Option(help="Write the contacts that got no user_id here.", show_default=False)
    ] = None,
    workspace: Workspace = None,
    config: Config = None,
    as_json: AsJson = False,  # noqa: FBT002 - an option's default
) -> None:
    """Set each contact's user_id to what it holds in a custom attribute. Without --apply it is a rehearsal.

    Archiving such an attribute copies nothing; this does. Contact ids stay as they are. A value that several contacts
    have, or that is another contact's user_id, is reported and set nowhere. Exit code 1 when there is such a one.
    """
    checked_text(from_attribute)
    settings = settings_for(config)
    app_id = workspace_of(settings, workspace)
    store = store_for(settings.store.url)
    work = Backfill(
        store,
        app_id,
        id_rules(settings, app_id),
        from_attribute,
        applies=apply,
        actor="command",
        clock=time.time,
        random_bytes=os.urandom,
    )
    done = asyncio.run(_run(store, work, errors))
    if not done.total:
        complain(f"no live contact has a value in the custom attribute {from_attribute}")
    done.tell(applies=apply, as_json=as_json, first="contact", from_attribute=from_attribute)


async def _run(store: ContactStore, work: Backfill, errors: Path | None) -> Outcomes:
    await store.open()
    try:
        await work.look()
        done = Outcomes(work.total)
        with contextlib.ExitStack() as stack:
            file = None if errors is None else stack.enter_context(opened(errors))
            if file is not None:
                file.write(ERRORS_HEADER)
            progress = stack.enter_context(progress_bar("contacts", work.total))
            interrupted = stack.enter_context(interruptions())
            async for rows in work.batches():
                done.add(rows)
                if file is not None:
                    file.write(errors_text(rows))
                progress(done.done)
                if interrupted:
                    done.stopped = done.done < done.total
                    break
        return done
    finally:
        await store.close()
