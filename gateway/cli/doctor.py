"""`gateway doctor`: is the installation on this machine sound?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.checking.local.run import Installation, check_installation
from gateway.cli.commands import AsJson, Config, examples, group
from gateway.cli.configuration import DEVELOPMENT, configured_path, is_configured, settings_for
from gateway.cli.rows import tell_rows
from gateway.errors import SettingsInvalid
from gateway.settings.layers import read_file_layer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.settings import Settings

app = group()
_PRIVATE_KEYS = frozenset({"secret_file", "signing_key_file", "keyring", "url_file"})


@app.command(
    epilog=examples(
        "gateway doctor",
        "gateway doctor --config /etc/gateway/gateway.toml --json",
        "gateway doctor --deep                            reads the whole store, too",
    )
)
def doctor(
    deep: Annotated[bool, typer.Option("--deep", help="Read the whole store, however large.")] = False,  # noqa: FBT002
    config: Config = None,
    as_json: AsJson = False,  # noqa: FBT002 - an option's default
) -> None:
    """Check files, disk, store, clock, keys, configuration, versions, limits and addresses. Nothing is changed.

    Run it as the user that the gateway runs as. Exit code 1 when a check failed.
    """
    tell_rows(list(check_installation(_installation(config), deep=deep)), as_json=as_json)


def _installation(config: Path | None) -> Installation:
    configured = is_configured(config, os.environ)
    path = configured_path(config, os.environ)
    source = str(path) if path else "the environment" if configured else f"development mode in {DEVELOPMENT.path}"
    settings: Settings | None = None
    problems: tuple[str, ...] = ()
    try:
        settings = settings_for(config)
    except SettingsInvalid as error:
        problems = error.problems
    try:
        tables = read_file_layer(path) if path else {}
    except SettingsInvalid:  # it stands among the problems already
        tables = {}
    named = [*_named_private(tables), *_named_private(settings.model_dump() if settings else {})]
    if not configured:
        named += [file for file in (DEVELOPMENT.access_token,) if file.exists()]
    return Installation(
        settings=settings,
        source=source,
        problems=problems,
        configuration=path,
        holds_secrets=_holds_secret(tables),
        private=tuple(dict.fromkeys(named)),
    )


def _named_private(value: Any) -> Iterator[Path]:
    """The files with secrets in them that tables name."""
    if isinstance(value, dict):
        for key, one in value.items():
            if key in _PRIVATE_KEYS and isinstance(one, str | Path) and str(one):
                yield Path(one)
            yield from _named_private(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _named_private(one)


def _holds_secret(tables: dict[str, Any]) -> bool:
    """Whether the file itself holds a shared secret, or a store's password."""
    url = tables.get("store", {}).get("url", "") if isinstance(tables.get("store"), dict) else ""
    return _has_secret(tables) or (isinstance(url, str) and "@" in url and not url.startswith("sqlite:"))


def _has_secret(value: Any) -> bool:
    if isinstance(value, dict):
        return "secret" in value or any(_has_secret(one) for one in value.values())
    return isinstance(value, list) and any(_has_secret(one) for one in value)
