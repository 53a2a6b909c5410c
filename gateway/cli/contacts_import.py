"""`gateway contacts import`: people from a CSV file, rehearsed first."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gateway.cli.commands import AsJson, Config, Workspace, examples
from gateway.cli.configuration import settings_for, workspace_of
from gateway.cli.outcomes import Outcomes, interruptions
from gateway.cli.output import WRONG_USE, CommandFailed
from gateway.cli.private_files import opened
from gateway.cli.progress import progress_bar
from gateway.contacts.csv.layout import Unknown
from gateway.contacts.csv.match_rule import MatchRule  # noqa: TC001 - typer reads the annotations
from gateway.contacts.csv.report import Report
from gateway.contacts.csv.rows import ENCODINGS, CsvProblem
from gateway.contacts.csv.run import ImportChoices, prepare_import
from gateway.contacts.database.stores import store_for
from gateway.trust import id_rules

if TYPE_CHECKING:
    from typing import TextIO

    from gateway.contacts.csv.run import PreparedImport
    from gateway.contacts.store import ContactStore
    from gateway.identity.principal import IdRules

EXAMPLES = examples(
    "gateway contacts import people.csv --match external_id",
    "gateway contacts import people.csv --match external_id --apply --errors rejected.csv --result done.csv",
    "gateway contacts import backfill.csv --match email-if-unset --apply",
)

_HINTS = {
    "unknown_column": "--ignore-unknown passes over them, --create-attributes declares new custom attributes as text",
    "header_missing": "the first line names the columns: user_id,email,name",
    "encoding": f"--encoding takes {', '.join(ENCODINGS)}",
}
_DELIMITERS = {"tab": "\t", "\\t": "\t"}


def import_file(  # noqa: PLR0913, PLR0917 - the options of a command
    file: Annotated[Path, typer.Argument(help="A CSV file with a header.")],
    match: Annotated[MatchRule | None, typer.Option(help="What finds the record of a row.", show_default=False)] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write; else it is a rehearsal.")] = False,  # noqa: FBT002
    result: Annotated[
        Path | None, typer.Option(help="Write every row with its contact id and outcome here.", show_default=False)
    ] = None,
    errors: Annotated[
        Path | None, typer.Option(help="Write the rejected rows here, to be mended.", show_default=False)
    ] = None,
    encoding: Annotated[
        Literal["utf-8", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "windows-1252"] | None,
        typer.Option(help="Else UTF-8, or what its byte order mark says.", show_default=False),
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="Else found out: comma, semicolon, tab or bar.", show_default=False)
    ] = None,
    ignore_unknown: Annotated[bool, typer.Option("--ignore-unknown", help="Pass over unknown columns.")] = False,  # noqa: FBT002
    create_attributes: Annotated[bool, typer.Option("--create-attributes", help="Declare new ones, as text.")] = False,  # noqa: FBT002
    workspace: Workspace = None,
    config: Config = None,
    as_json: AsJson = False,  # noqa: FBT002 - an option's default
) -> None:
    """Import people from a CSV file. Without --apply it is a rehearsal: everything is shown, nothing is written.

    --match id: the column id finds the record. --match external_id: the column user_id does, and the email only where a
    row has no user_id. --match email-if-unset: the same, and a new user_id is set on the one record that has the email
    and no user_id. Columns: id, user_id, email, name, phone, role, signed_up_at, owner_id, language_override,
    unsubscribed_from_emails, custom_attributes.NAME; an empty cell changes nothing. Exit code 1 when a row is rejected.
    """
    if match is None:
        raise CommandFailed(
            "choose what finds the record of a row: --match id, external_id or email-if-unset",
            hint="there is no default: the wrong rule makes one person two records, or two people one",
            exit_code=WRONG_USE,
        )
    if ignore_unknown and create_attributes:
        raise CommandFailed("--ignore-unknown and --create-attributes exclude each other", exit_code=WRONG_USE)
    delimiter = _DELIMITERS.get(delimiter or "", delimiter)
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n\0'):
        raise CommandFailed("a delimiter is one character, or tab", exit_code=WRONG_USE)
    for written in (result, errors):
        if written is not None and (written.absolute() == file.absolute() or _same(written, file)):
            raise CommandFailed(f"{written} is the file to be imported", exit_code=WRONG_USE)
    choices = ImportChoices(
        rule=match,
        applies=apply,
        unknown=Unknown.IGNORE if ignore_unknown else Unknown.CREATE if create_attributes else Unknown.REFUSE,
        encoding=encoding,
        delimiter=delimiter,
    )
    settings = settings_for(config)
    app_id = workspace_of(settings, workspace)
    importer = _Importer(store_for(settings.store.url), app_id, id_rules(settings, app_id), file, choices)
    try:
        done = asyncio.run(importer.run(result, errors))
    except CsvProblem as problem:
        raise CommandFailed(f"{file}: {problem}", hint=_HINTS.get(problem.code)) from problem
    done.tell(applies=apply, as_json=as_json, match=match)


class _Importer:
    """One run of the command."""

    def __init__(self, store: ContactStore, workspace: str, rules: IdRules, path: Path, choices: ImportChoices) -> None:
        self._store = store
        self._workspace = workspace
        self._rules = rules
        self._path = path
        self._choices = choices

    async def run(self, result: Path | None, errors: Path | None) -> Outcomes:
        """Look at the file, import it, and write the files that were asked for."""
        await self._store.open()
        try:
            with progress_bar(f"reading {self._path.name}") as progress:
                prepared = await prepare_import(
                    self._store,
                    self._workspace,
                    self._rules,
                    self._path,
                    self._choices,
                    actor="command",
                    clock=time.time,
                    random_bytes=os.urandom,
                    progress=progress,
                )
            with contextlib.ExitStack() as files:
                written = [None if path is None else files.enter_context(opened(path)) for path in (result, errors)]
                return await _import(prepared, *written, applies=self._choices.applies)
        finally:
            await self._store.close()


async def _import(prepared: PreparedImport, result: TextIO | None, errors: TextIO | None, *, applies: bool) -> Outcomes:
    done = Outcomes(prepared.total)
    report = Report(prepared.layout, prepared.file.delimiter, named=("user_id", "email"))
    for file, header in ((result, report.result_header), (errors, report.errors_header)):
        if file is not None:
            file.write(header)
    what = "importing" if applies else "rehearsing"
    with progress_bar(what, prepared.total) as progress, interruptions() as interrupted:
        async for rows in prepared.run.batches(prepared.file.rows()):
            done.add(rows)
            for file, text in ((result, report.results), (errors, report.errors)):
                if file is not None:
                    file.write(text(rows))
                    file.flush()
            progress(done.done)
            if interrupted:
                done.stopped = done.done < done.total
                break
    return done


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)
