"""`gateway contacts`: look at the records."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from gateway.cli import contacts_backfill, contacts_duplicates, contacts_export, contacts_import, contacts_merge
from gateway.cli.commands import AsJson, Config, Workspace, examples, group
from gateway.cli.configuration import settings_for, workspace_of
from gateway.cli.output import CommandFailed, checked_text, moment, say, say_json, say_table
from gateway.contacts.contact import is_contact_id
from gateway.contacts.stores import store_for
from gateway.errors import Refusal
from gateway.identity.principal import normalise_email

if TYPE_CHECKING:
    from gateway.contacts.contact import Contact
    from gateway.contacts.store import ContactStore, Event

app = group()
_TIMES = frozenset({"created_at", "updated_at", "signed_up_at", "last_seen_at", "identified_at"})


@app.callback()
def _group() -> None:  # one command alone would take the name of the group
    pass


app.command("merge", epilog=contacts_merge.MERGE_EXAMPLES)(contacts_merge.merge)
app.command("unmerge", epilog=contacts_merge.UNMERGE_EXAMPLES)(contacts_merge.unmerge)
app.command("import", epilog=contacts_import.EXAMPLES)(contacts_import.import_file)
app.command("duplicates", epilog=contacts_duplicates.EXAMPLES)(contacts_duplicates.duplicates)
app.command("export", epilog=contacts_export.EXAMPLES)(contacts_export.export)
app.command("backfill", epilog=contacts_backfill.EXAMPLES)(contacts_backfill.backfill)


@app.command(
    epilog=examples(
        "gateway contacts find user-1 --history",
        "gateway contacts find ada@example.com",
        "gateway contacts find 6a1f0c2e9b3d5f7081a2b3c4 --json",
    )
)
def find(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="A contact id, a user_id or an email.")],
    history: Annotated[bool, typer.Option("--history", help="Print what happened to the record, too.")] = False,  # noqa: FBT002
    workspace: Workspace = None,
    config: Config = None,
    as_json: AsJson = False,  # noqa: FBT002 - an option's default
) -> None:
    """Find every contact that an identifier leads to, and say by what. Exit code 1 when there is none."""
    checked_text(identifier)
    settings = settings_for(config)
    app_id = workspace_of(settings, workspace)
    found = asyncio.run(_find(store_for(settings.store.url), app_id, identifier, history=history))
    if as_json:
        say_json([_plain(*one, history=history) for one in found])
    if not found:
        raise CommandFailed(
            f"nobody in the workspace {app_id} has this contact id, user_id or email",
            hint="ids are compared byte by byte; see `gateway contacts find --help`",
        )
    if not as_json:
        for matched_by, contact, events in found:
            _print(matched_by, contact, events, history=history)


async def _find(
    store: ContactStore, app_id: str, identifier: str, *, history: bool
) -> list[tuple[str, Contact, list[Event]]]:
    await store.open()
    try:
        found: list[tuple[str, Contact]] = []
        by_user_id = await store.find_by_external_id(app_id, identifier)
        if by_user_id is not None:
            found.append(("user_id", by_user_id))
        if is_contact_id(identifier) and (by_id := await store.find(app_id, identifier)) is not None:
            found.append(("contact_id", by_id))
        try:
            email = normalise_email(identifier)
        except Refusal:
            pass
        else:
            found += [("email", contact) for contact in await store.find_by_email(app_id, email, limit=100)]
        seen: dict[str, tuple[str, Contact]] = {}
        for matched_by, contact in found:
            seen.setdefault(contact.id, (matched_by, contact))
        return [
            (matched_by, contact, list(await store.events(app_id, contact.id)) if history else [])
            for matched_by, contact in seen.values()
        ]
    finally:
        await store.close()


def _plain(matched_by: str, contact: Contact, events: list[Event], *, history: bool) -> dict[str, Any]:
    plain = {"matched_by": matched_by, "contact": msgspec.to_builtins(contact)}
    return {**plain, "history": [msgspec.to_builtins(event) for event in events]} if history else plain


def _print(matched_by: str, contact: Contact, events: list[Event], *, history: bool) -> None:
    fields = msgspec.to_builtins(contact)
    rows = [
        (name, moment(value) if name in _TIMES else value)
        for name, value in fields.items()
        if value not in (None, {}, False)
    ]
    say_table(("field", "value"), [("matched by", matched_by), *rows])
    if history:
        say_table(
            ("at", "what", "by whom", "before", "after"),
            [
                (moment(event.at), event.kind, event.actor, _pairs(event.before), _pairs(event.after))
                for event in events
            ],
        )
    say()


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())
