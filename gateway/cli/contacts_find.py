"""`gateway contacts find`: who an identifier leads to, and how that record came to be."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from msgspec import Struct

from gateway.cli.commands import AsJson, Config, Workspace, examples
from gateway.cli.configuration import settings_for, workspace_of
from gateway.cli.output import CommandFailed, checked_text, moment, say, say_json, say_table
from gateway.contacts.contact import Contact, is_contact_id
from gateway.contacts.database.stores import store_for
from gateway.contacts.store import Event
from gateway.errors import Refusal
from gateway.identity.principal import normalise_email

if TYPE_CHECKING:
    from gateway.contacts.store import ContactStore

EXAMPLES = examples(
    "gateway contacts find user-1 --history",
    "gateway contacts find ada@example.com",
    "gateway contacts find 6a1f0c2e9b3d5f7081a2b3c4 --json",
)

_TIMES = frozenset({"created_at", "updated_at", "signed_up_at", "last_seen_at", "identified_at"})
_LINES = 10_000


class Found(Struct, frozen=True):
    """A record, by what it was found, and its history; of a deleted one the history alone is left."""

    matched_by: str
    contact: Contact | None
    history: Sequence[Event]


def find(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="A contact id, a user_id or an email.")],
    history: Annotated[bool, typer.Option("--history", help="Print what happened to the record, too.")] = False,  # noqa: FBT002
    workspace: Workspace = None,
    config: Config = None,
    as_json: AsJson = False,  # noqa: FBT002 - an option's default
) -> None:
    """Find every contact that an identifier leads to, and say by what. Exit code 1 when there is none.

    With --history a contact id also tells what happened to a record that was merged away or deleted: of a deleted one
    the facts stay, and no personal data.
    """
    checked_text(identifier)
    settings = settings_for(config)
    app_id = workspace_of(settings, workspace)
    found = asyncio.run(_find(store_for(settings.store.url), app_id, identifier))
    if not history:
        found = [one for one in found if one.contact is not None]
    if as_json:
        say_json([_plain(one, history=history) for one in found])
    if not found:
        raise CommandFailed(
            f"nobody in the workspace {app_id} has this contact id, user_id or email",
            hint="ids are compared byte by byte; --history tells of a contact id that was deleted",
        )
    if not as_json:
        for one in found:
            _print(one, history=history)


async def _find(store: ContactStore, app_id: str, identifier: str) -> list[Found]:
    await store.open()
    try:
        matches: list[tuple[str, Contact]] = []
        by_user_id = await store.find_by_external_id(app_id, identifier)
        if by_user_id is not None:
            matches.append(("user_id", by_user_id))
        if is_contact_id(identifier) and (by_id := await store.find(app_id, identifier)) is not None:
            matches.append(("contact_id", by_id))
        try:
            email = normalise_email(identifier)
        except Refusal:
            pass
        else:
            matches += [("email", contact) for contact in await store.find_by_email(app_id, email, limit=100)]
        seen: dict[str, tuple[str, Contact]] = {}
        for matched_by, contact in matches:
            seen.setdefault(contact.id, (matched_by, contact))
        own = await store.events(app_id, identifier, limit=_LINES) if is_contact_id(identifier) else ()
        found = [
            Found(matched_by, contact, await _history(store, contact, identifier, own))
            for matched_by, contact in seen.values()
        ]
        return found or ([Found("history", None, own)] if own else [])
    finally:
        await store.close()


async def _history(store: ContactStore, contact: Contact, identifier: str, own: Sequence[Event]) -> Sequence[Event]:
    """Newest first; before the survivor's come to an end, those of the merged record that was asked for."""
    events = await store.events(contact.workspace_id, contact.id, limit=_LINES)
    if contact.id == identifier or not own:
        return events
    return sorted([*events, *own], key=lambda event: -event.at)


def _plain(found: Found, *, history: bool) -> dict[str, Any]:
    plain = {"matched_by": found.matched_by, "contact": msgspec.to_builtins(found.contact)}
    return {**plain, "history": [msgspec.to_builtins(event) for event in found.history]} if history else plain


def _print(found: Found, *, history: bool) -> None:
    if found.contact is not None:
        fields = msgspec.to_builtins(found.contact)
        rows = [
            (name, moment(value) if name in _TIMES else value)
            for name, value in fields.items()
            if value not in (None, {}, False)
        ]
        say_table(("field", "value"), [("matched by", found.matched_by), *rows])
    else:
        say("the contact was deleted; this is left:")
    if history:
        say_table(
            ("at", "contact", "what", "by whom", "before", "after"),
            [
                (
                    moment(event.at),
                    event.contact_id,
                    event.kind,
                    event.actor,
                    _pairs(event.before),
                    _pairs(event.after),
                )
                for event in found.history
            ],
        )
    say()


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())
