"""The command line: one file per group of commands. Exit codes: 0 done, 1 refused or found wanting, 2 wrong use."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

import gateway
from gateway.cli import access_token, config, contacts, db, init, serve, token
from gateway.cli.commands import Commands, tell
from gateway.cli.output import say

app = typer.Typer(
    cls=Commands,
    help="Verifies signed tokens and finds, or makes, the one contact behind each.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command("serve", epilog=serve.EXAMPLES)(serve.serve)
app.command("init", epilog=init.EXAMPLES)(init.init)
app.add_typer(token.app, name="token")
app.add_typer(access_token.app, name="access-token")
app.add_typer(contacts.app, name="contacts")
app.add_typer(db.app, name="db")
app.add_typer(config.app, name="config")


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
    """Verifies signed tokens and finds, or makes, the one contact behind each."""


def main() -> None:
    """Run the command line. A bug ends in one line too; `GATEWAY_TRACEBACK=1` lets it show where it is."""
    try:
        app(prog_name="gateway")
    except Exception as error:
        if os.environ.get("GATEWAY_TRACEBACK"):
            raise
        sys.exit(tell(error))
