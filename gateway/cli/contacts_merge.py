"""`gateway contacts merge` and `unmerge`: two records become one, and two again."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from gateway.cli.commands import AsJson, Config, Workspace, examples
from gateway.cli.configuration import settings_for, workspace_of
from gateway.cli.output import WRONG_USE, CommandFailed, printable, say, say_json, say_table
from gateway.contacts.contact import Contact, is_contact_id
from gateway.contacts.database.stores import store_for
from gateway.contacts.merging.merger import Merger
from gateway.errors import ChangeRefused, ContactConflict, ContactMerged, ContactNotFound
from gateway.web.admin.contact_json import contact_json
from gateway.web.admin.merge_json import preview_json, unmerge_json

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path
    from typing import Any

    from gateway.contacts.merging.rules import Plan
    from gateway.contacts.store import ContactStore, ContactTransaction

MERGE_EXAMPLES = examples(
    "gateway contacts merge 6a1f0c2e9b3d5f7081a2b3c4 6a1f0c2e0a1b2c3d4e5f6071",
    "gateway contacts merge 6a1f0c2e9b3d5f7081a2b3c4 6a1f0c2e0a1b2c3d4e5f6071 --apply",
)
UNMERGE_EXAMPLES = examples("gateway contacts unmerge 6a1f0c2e9b3d5f7081a2b3c4")

Unchecked = Annotated[
    bool, typer.Option("--skip-duplicate-validation", help="Merge a lead that shares no email or phone, too.")
]
T = TypeVar("T")


def merge(  # noqa: PLR0913, PLR0917 - the options of a command
    source: Annotated[str, typer.Argument(metavar="FROM", help="The contact id that goes.")],
    into: Annotated[str, typer.Argument(metavar="INTO", help="The contact id that stays.")],
    apply: Annotated[bool, typer.Option("--apply/--preview", help="Merge, or show what it would do.")] = False,  # noqa: FBT002
    unchecked: Unchecked = False,  # noqa: FBT002
    workspace: Workspace = None,
    config: Config = None,
    as_json: AsJson = False,  # noqa: FBT002 - an option's default
) -> None:
    """Merge one contact into another. Without --apply nothing is written: it is shown what becomes of every field.

    A lead goes into a user, a user into a user that shares its proven email or its phone. FROM's ids lead to INTO
    afterwards. `gateway contacts unmerge FROM` undoes it within 30 days. Exit code 1 when it is not allowed.
    """
    _check_ids(source, into)
    if apply:
        survivor = _run(config, workspace, lambda merger: merger.merge(source, into, unchecked=unchecked))
        if as_json:
            say_json(contact_json(survivor))
        else:
            say(f"{source} was merged into {survivor.id}; `gateway contacts unmerge {source}` undoes it for 30 days")
        return
    plan = _run(config, workspace, lambda merger: merger.preview(source, into, unchecked=unchecked))
    if as_json:
        say_json(preview_json(plan))
    elif not plan.reasons:
        _print(plan)
    if plan.reasons:
        raise CommandFailed("; ".join(f"{reason.code}: {reason.message}" for reason in plan.reasons))


def unmerge(
    contact_id: Annotated[str, typer.Argument(metavar="ID", help="The contact id that was merged away.")],
    workspace: Workspace = None,
    config: Config = None,
    as_json: AsJson = False,  # noqa: FBT002 - an option's default
) -> None:
    """Undo the merge of a contact, within 30 days, the last merge first. Both records come back as they were.

    What was written to the survivor after the merge stays there, and is shown. Exit code 1 when it cannot be undone.
    """
    _check_ids(contact_id)
    undone = _run(config, workspace, lambda merger: merger.unmerge(contact_id))
    if as_json:
        say_json(unmerge_json(undone))
        return
    say(f"{undone.source.id} stands again, and so does {undone.survivor.id} without it")
    if undone.kept_changes:
        say(f"written to {undone.survivor.id} after the merge, and left there:")
        say_table(
            ("field", "before the merge", "after it", "now"),
            [(one.field, one.before_merge, one.after_merge, one.value) for one in undone.kept_changes],
        )


def _check_ids(*contact_ids: str) -> None:
    for contact_id in contact_ids:
        if not is_contact_id(contact_id):
            raise CommandFailed(
                f"{printable(contact_id)} is no contact id",
                hint="`gateway contacts find` tells the contact id of a user_id or an email",
                exit_code=WRONG_USE,
            )


def _run(config: Path | None, workspace: str | None, step: Callable[[Merger], Coroutine[Any, Any, T]]) -> T:
    """One step of a merger in a transaction; `CommandFailed` for what no merge can do."""
    settings = settings_for(config)
    app_id = workspace_of(settings, workspace)

    async def work(transaction: ContactTransaction) -> T:
        return await step(Merger(transaction, app_id, actor="command", now=time.time(), random_bytes=os.urandom))

    try:
        return asyncio.run(_write(store_for(settings.store.url), work))
    except ContactNotFound as error:
        raise CommandFailed(f"no contact in the workspace {app_id} has the id {error}") from error
    except ContactMerged as error:
        raise CommandFailed("FROM or INTO was merged away", hint=f"{error.contact_id} answers for it") from error
    except ContactConflict as error:
        message = f"the {error.field} is held by the contact {error.contact_id} now; nothing was undone"
        raise CommandFailed(message, hint="let it go there first, or correct it with PUT /contacts") from error
    except ChangeRefused as error:
        raise CommandFailed(error.message) from error


async def _write(store: ContactStore, work: Callable[[ContactTransaction], Coroutine[Any, Any, T]]) -> T:
    await store.open()
    try:
        return await store.write(work)
    finally:
        await store.close()


def _print(plan: Plan) -> None:
    def named(contact: Contact) -> str:
        return " ".join(filter(None, (contact.id, contact.external_id, contact.email)))

    say(f"from {plan.source.role} {named(plan.source)}", f"into {plan.into.role} {named(plan.into)}")
    if plan.outcomes:
        say_table(
            ("field", "outcome", "from", "into", "afterwards"),
            [(one.field, one.outcome, one.from_value, one.into_value, one.new_into_value) for one in plan.outcomes],
        )
    say("nothing was changed; --apply merges")
