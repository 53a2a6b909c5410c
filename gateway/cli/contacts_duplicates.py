"""`gateway contacts duplicates`: which records are probably one person, and making them one."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from gateway.cli.commands import AsJson, Config, Workspace, examples
from gateway.cli.configuration import settings_for, workspace_of
from gateway.cli.output import FOUND_WANTING, WRONG_USE, CommandFailed, complain, printable, say, say_json, say_table
from gateway.cli.private_files import written_at_once
from gateway.cli.progress import progress_bar
from gateway.contacts.contact import is_contact_id
from gateway.contacts.csv.rows import CsvProblem
from gateway.contacts.database.stores import store_for
from gateway.contacts.merging.duplicates import WORDS, DuplicateKind, DuplicatesReport
from gateway.contacts.merging.review import Decided, Decision, Outcome, Reviewer, reviewed, table
from gateway.web.admin.duplicate_json import group_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gateway.contacts.merging.duplicates import DuplicateGroup, Position
    from gateway.contacts.store import ContactStore

EXAMPLES = examples(
    "gateway contacts duplicates",
    "gateway contacts duplicates --kind email --json",
    "gateway contacts duplicates --csv duplicates.csv    then review its column `into`",
    "gateway contacts duplicates --reviewed duplicates.csv",
    "gateway contacts duplicates --reviewed duplicates.csv --apply",
    "gateway contacts duplicates --resolve email:ada@example.com --into 6a1f0c2e9b3d5f7081a2b3c4 --apply",
)

_PAGE = 5_000  # groups: a page reads all user_ids once


def duplicates(  # noqa: PLR0913, PLR0917 - the options of a command
    kind: Annotated[
        list[DuplicateKind] | None, typer.Option("--kind", help="Only groups of this kind.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many groups are printed at most.")] = 100,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write all groups to this file, to be reviewed.", show_default=False)
    ] = None,
    reviewed_file: Annotated[
        Path | None, typer.Option("--reviewed", help="Merge as the reviewed file says.", show_default=False)
    ] = None,
    resolve: Annotated[
        str | None, typer.Option("--resolve", metavar="GROUP", help="Merge one group.", show_default=False)
    ] = None,
    into: Annotated[
        str | None, typer.Option("--into", metavar="ID", help="The contact that stays.", show_default=False)
    ] = None,
    identified: Annotated[  # noqa: FBT002 - an option's default
        bool, typer.Option("--identified", help="Merge two contacts that both have a user_id, too.")
    ] = False,
    apply: Annotated[bool, typer.Option("--apply/--rehearse", help="Merge, or show what it would do.")] = False,  # noqa: FBT002
    workspace: Workspace = None,
    config: Config = None,
    as_json: AsJson = False,  # noqa: FBT002 - an option's default
) -> None:
    """Show which contacts are probably one person, with a proposed survivor and why; resolve groups.

    Groups share an email, a phone, a user_id but for case and white space, or one has the other's email as its
    user_id; what logins flagged is among them. Nothing is merged without --apply, and two contacts that both have a
    user_id never without --identified. Exit code 1 when a merge is refused.
    """
    if sum(one is not None for one in (csv, reviewed_file, resolve)) > 1 or (resolve is None) is not (into is None):
        raise CommandFailed(
            "choose one of --csv, --reviewed, and --resolve with --into",
            hint="`gateway contacts duplicates --help` explains",
            exit_code=WRONG_USE,
        )
    settings = settings_for(config)
    app_id = workspace_of(settings, workspace)
    store = store_for(settings.store.url)
    kinds = tuple(kind or DuplicateKind)
    if csv is not None:
        count = asyncio.run(_write(store, app_id, kinds, csv))
        complain(f"{count:,} groups in {csv}")
    elif reviewed_file is None and resolve is None:
        groups, more = asyncio.run(_first(store, app_id, kinds, limit))
        if as_json:
            say_json({"data": [group_json(group) for group in groups], "has_more": more})
        else:
            _print(groups, more=more)
    else:
        decisions = None if reviewed_file is None else _decisions(reviewed_file)
        decided = asyncio.run(_decide(store, app_id, decisions, resolve, into, apply=apply, identified=identified))
        _tell(decided, apply=apply, as_json=as_json)


def _decisions(path: Path) -> list[Decision]:
    try:
        return reviewed(path)
    except CsvProblem as error:
        raise CommandFailed(f"{printable(path)}: {error}", hint="nothing was merged") from error


async def _first(
    store: ContactStore, app_id: str, kinds: Sequence[DuplicateKind], limit: int
) -> tuple[list[DuplicateGroup], bool]:
    await store.open()
    try:
        groups, after = await DuplicatesReport(store, app_id).page(None, limit=limit, kinds=kinds)
    finally:
        await store.close()
    return groups, after is not None


async def _write(store: ContactStore, app_id: str, kinds: Sequence[DuplicateKind], path: Path) -> int:
    await store.open()
    count = 0
    try:
        with progress_bar("groups") as progress, written_at_once(path) as file:
            file.write(table([], header=True))
            async for groups in _pages(store, app_id, kinds):
                file.write(table(groups, header=False))
                count += len(groups)
                progress(count)
    finally:
        await store.close()
    return count


async def _pages(
    store: ContactStore, app_id: str, kinds: Sequence[DuplicateKind]
) -> AsyncIterator[list[DuplicateGroup]]:
    report = DuplicatesReport(store, app_id)
    after: Position | None = None
    while True:
        groups, after = await report.page(after, limit=_PAGE, kinds=kinds)
        yield groups
        if after is None:
            return


async def _decide(  # noqa: PLR0913 - one argument an option
    store: ContactStore,
    app_id: str,
    decisions: list[Decision] | None,
    resolve: str | None,
    into: str | None,
    *,
    apply: bool,
    identified: bool,
) -> list[Decided]:
    await store.open()
    try:
        if decisions is None:
            decisions = await _of_group(store, app_id, str(resolve), str(into))
        reviewer = Reviewer(store, app_id, apply=apply, identified=identified, clock=time.time, random_bytes=os.urandom)
        decided = []
        with progress_bar("merges", len(decisions)) as progress:
            for decision in decisions:
                decided.append(await reviewer.decide(decision))
                progress(len(decided))
        return decided
    finally:
        await store.close()


async def _of_group(store: ContactStore, app_id: str, group_id: str, into: str) -> list[Decision]:
    """Every record of a group into one of them."""
    group = await DuplicatesReport(store, app_id).group(group_id) if _storable(group_id) else None
    if group is None:
        raise CommandFailed(
            f"there is no group {printable(group_id)}", hint="`gateway contacts duplicates` names all groups"
        )
    members = [contact.id for contact in group.contacts]
    if not is_contact_id(into) or into not in members:
        raise CommandFailed(f"{printable(into)} is no contact of this group", hint=f"one of {', '.join(members)}")
    return [Decision(contact_id, into) for contact_id in members if contact_id != into]


def _storable(text: str) -> bool:
    return "\0" not in text and text.isprintable()


def _tell(decided: Sequence[Decided], *, apply: bool, as_json: bool) -> None:
    counts = {outcome: sum(one.outcome is outcome for one in decided) for outcome in Outcome}
    if as_json:
        say_json({"applied": apply, **counts, "decisions": [msgspec.to_builtins(one) for one in decided]})
    else:
        rows = [
            (one.decision.line or "", one.decision.contact_id, one.decision.into, one.outcome, one.message)
            for one in decided
        ]
        if rows:
            say_table(("line", "contact", "into", "outcome", "why"), rows)
        say(", ".join(f"{number:,} {outcome}" for outcome, number in counts.items()))
        if not apply:
            say("this was a rehearsal: nothing was changed; --apply merges")
        elif counts[Outcome.MERGED]:
            say("`gateway contacts unmerge ID` undoes a merge within 30 days")
    if counts[Outcome.REFUSED]:
        raise typer.Exit(FOUND_WANTING)


def _print(groups: Sequence[DuplicateGroup], *, more: bool) -> None:
    for group in groups:
        why = WORDS[group.proposal.because] if group.proposal else WORDS[group.doubt] if group.doubt else ""
        flagged = ", flagged at a login" if group.flagged_at else ""
        proposed = f"{group.proposal.into} stays: {why}" if group.proposal else why
        say(f"{group.id} ({group.total}{flagged}): {proposed}")
        say_table(
            ("contact", "role", "user_id", "email", "proof", "phone", "name", "needs a word"),
            [_member(contact, group) for contact in group.contacts],
        )
    if more:
        say("and more: --limit, or --csv FILE for all of them")
    elif not groups:
        say("no duplicates were found")


def _member(contact: Any, group: DuplicateGroup) -> tuple[Any, ...]:
    doubt = group.proposal.doubts.get(contact.id) if group.proposal else None
    known = (contact.id, contact.role, contact.external_id, contact.email, contact.email_proof)
    return (*known, contact.phone, contact.name, WORDS[doubt] if doubt else "")
