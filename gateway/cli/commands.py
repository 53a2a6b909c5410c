"""The group that all commands hang on: every error ends as one line, a hint and an exit code, never as a traceback."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer
from typer.core import TyperGroup

from gateway.cli.output import DONE, FOUND_WANTING, CommandFailed, complain
from gateway.errors import GatewayError, Outage, Refusal, SettingsInvalid, StoreUnusable
from keys.errors import KeyMaterialError

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Else $GATEWAY_CONFIG, ./gateway.toml, ./var.", show_default=False),
]
Workspace = Annotated[
    str | None, typer.Option("--workspace", "-w", help="The app_id; needed when there are several.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class LazyCommands(TyperGroup):
    """Imports a command's file when the command is named; tells what it raises in one line.

    The help text of all commands, and each command beside the others, start without the store, the server and the rest.
    """

    listed: ClassVar = {
        "serve": "Run the gateway; without any configuration, in development mode.",
        "init": "Write a configuration for production to begin with, and the keyring that it needs.",
        "check": "Check a running gateway from outside, as before a release.",
        "doctor": "Check the installation on this machine; nothing is changed.",
        "token": "Make tokens for tests, explain any token, and revoke.",
        "access-token": "Create, list and revoke the access tokens of the admin listener.",
        "keys": "List the keys of every issuer; make, rotate and retire our own.",
        "enforcement": "See what enforcing verification would break.",
        "contacts": "Look at the records of people.",
        "db": "Make, update and check the store of contacts.",
        "config": "Check and show the configuration.",
    }

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that was named, from its own file."""
        name, _, rest = super().resolve_command(ctx, args)
        module = import_module(f"{__package__}.{str(name).replace('-', '_')}")
        command: Any = typer.main.get_command(module.app)
        command.help = command.help or self.listed[str(name)]
        return name, command, rest

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run and exit. `GATEWAY_TRACEBACK=1` lets an error that nobody foresaw show where it is."""
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except Exception as error:
            error = _only(error)
            if isinstance(error, BrokenPipeError):  # whoever read the output has enough; what is left goes nowhere
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                sys.exit(FOUND_WANTING)
            code = tell(error)
            if code is None:
                if os.environ.get("GATEWAY_TRACEBACK"):
                    raise
                complain(
                    f"error: unexpected {type(error).__name__}",
                    "hint: this is a bug; GATEWAY_TRACEBACK=1 shows where it is",
                )
                code = FOUND_WANTING
        sys.exit(code or DONE)


def examples(*lines: str) -> str:
    """The examples at the end of a help text."""
    return "\n".join(["[bold]Examples[/bold]", *(line.replace("[", r"\[") for line in lines)])


def group() -> typer.Typer:
    """A group of commands, or one command."""
    return typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich")


def _only(error: Exception) -> Exception:
    """The one error of a task group."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def tell(error: Exception) -> int | None:
    """Print an error that was foreseen, and its hint; return the exit code, None for any other error."""
    hint: str | None = None
    code = FOUND_WANTING
    match error:
        case typer.TyperException():
            # Without arguments a group has printed its help already, and raises an empty message.
            lines = [message] if (message := error.format_message()) else []
            context: Any = getattr(error, "ctx", None)
            hint = f"`{context.command_path} --help` explains" if lines and context else None
            code = error.exit_code
        case CommandFailed():
            lines, hint, code = [str(error)], error.hint, error.exit_code
        case SettingsInvalid():
            lines, hint = list(error.problems), "`gateway config check` looks at the configuration again"
        case StoreUnusable():
            lines, hint = [str(error)], "`gateway config show` tells which store is meant"
        case Outage():
            lines, hint = [error.reason], "is the store running, its url right, and no other program holding it?"
        case Refusal():
            lines = [f"{error.code}{f' ({error.field})' if error.field else ''}: {error.reason}"]
        case KeyMaterialError() | GatewayError():
            lines = [str(error)]
        case OSError():
            lines = [f"{f'{error.filename}: ' if error.filename else ''}{error.strerror or error}"]
        case _:
            return None
    complain(*(f"error: {line}" for line in lines))
    if hint:
        complain(f"hint: {hint}")
    return code
