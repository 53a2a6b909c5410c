"""The command line: one file per group of commands. Exit codes: 0 done, 1 refused or found wanting, 2 wrong use."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

import gateway
from gateway.cli.commands import LazyCommands
from gateway.cli.output import say

app = typer.Typer(cls=LazyCommands, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)

for _name, _help in LazyCommands.listed.items():
    app.command(_name, help=_help)(lambda: None)  # its place in the list; its file is imported when it is named


def _version(wanted: bool) -> None:  # noqa: FBT001 - an option's callback
    if wanted:
        say(gateway.__version__)
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Verifies signed tokens and finds, or makes, the one contact behind each.

    Each command has a help text of its own, with examples: `gateway token issue --help`.
    """


def main() -> None:
    """Run the command line."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed; a database must not get its number, for others print to that
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open to the end
    app(prog_name="gateway")
