"""The group that all commands hang on: every error on purpose ends as one line, a hint and an exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gateway.cli.output import FOUND_WANTING, CommandFailed, complain
from gateway.errors import GatewayError, Outage, Refusal, SettingsInvalid, StoreUnusable
from keys.errors import KeyMaterialError

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Else ./gateway.toml, $GATEWAY_CONFIG, ./var.", show_default=False),
]
Workspace = Annotated[
    str | None, typer.Option("--workspace", "-w", help="The app_id; needed when there are several.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Commands(TyperGroup):
    """Runs a command; what it raises on purpose is told in one line."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # whoever read our output has enough
            raise
        except (GatewayError, KeyMaterialError, OSError) as error:
            raise typer.Exit(tell(error)) from None


def examples(*lines: str) -> str:
    """The examples at the end of a help text."""
    return "\n".join(["[bold]Examples[/bold]", *(line.replace("[", r"\[") for line in lines)])


def group(help_text: str) -> typer.Typer:
    """A group of commands."""
    return typer.Typer(help=help_text, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)


def tell(error: Exception) -> int:
    """Print an error and its hint; return the exit code."""
    hint: str | None
    match error:
        case CommandFailed():
            lines, hint, code = [str(error)], error.hint, error.exit_code
        case SettingsInvalid():
            lines, hint, code = list(error.problems), "`gateway config check` looks again", FOUND_WANTING
        case StoreUnusable():
            lines, hint, code = [str(error)], "`gateway db migrate` brings a store up to date", FOUND_WANTING
        case Outage():
            lines, hint, code = [error.reason], "is the store running, and its url right?", FOUND_WANTING
        case Refusal():
            field = f" ({error.field})" if error.field else ""
            lines, hint, code = [f"{error.code}{field}: {error.reason}"], None, FOUND_WANTING
        case KeyMaterialError() | GatewayError():
            lines, hint, code = [str(error)], None, FOUND_WANTING
        case OSError():
            place = f"{error.filename}: " if error.filename else ""
            lines, hint, code = [f"{place}{error.strerror or error}"], None, FOUND_WANTING
        case _:
            lines = [f"unexpected {type(error).__name__}"]
            hint, code = "this is a bug; GATEWAY_TRACEBACK=1 shows where it is", FOUND_WANTING
    complain(*(f"error: {line}" for line in lines))
    if hint:
        complain(f"hint: {hint}")
    return code
