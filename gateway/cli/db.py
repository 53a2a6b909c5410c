"""`gateway db`: the store's schema and its health."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from gateway.cli.commands import AsJson, Config, examples, group
from gateway.cli.configuration import settings_for
from gateway.cli.output import FOUND_WANTING, say, say_json
from gateway.contacts.database.stores import store_for
from gateway.settings import without_password

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.store import ContactStore

app = group()


@app.command(epilog=examples("gateway db migrate", "gateway db migrate --config gateway.toml --json"))
def migrate(config: Config = None, as_json: AsJson = False) -> None:  # noqa: FBT002 - an option's default
    """Make the store, or bring it to this program's version. Running it twice does no harm."""
    url = settings_for(config).store.url
    applied = asyncio.run(store_for(url).migrate())
    if as_json:
        say_json({"store": without_password(url), "applied": list(applied)})
        return
    say(*(f"applied {name}" for name in applied), f"{without_password(url)} is up to date")


@app.command(epilog=examples("gateway db check", "gateway db check --json"))
def check(config: Config = None, as_json: AsJson = False) -> None:  # noqa: FBT002 - an option's default
    """Look for damage and broken promises. It reads the whole store. Exit code 1 when something is wrong."""
    url = settings_for(config).store.url
    problems = asyncio.run(_check(store_for(url)))
    if as_json:
        say_json({"store": without_password(url), "ok": not problems, "problems": list(problems)})
    else:
        say(*(problems or [f"{without_password(url)} is sound"]))
    if problems:
        raise typer.Exit(FOUND_WANTING)


async def _check(store: ContactStore) -> Sequence[str]:
    await store.open()
    try:
        return await store.check()
    finally:
        await store.close()
