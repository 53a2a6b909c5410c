"""`gateway access-token`: who may use the admin listener."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.commands import AsJson, Config, Workspace, examples, group
from gateway.cli.configuration import settings_for, workspace_of
from gateway.cli.output import CommandFailed, checked_text, complain, moment, say, say_json, say_table
from gateway.contacts.access_token import AccessToken, Scope, digest_of, mint_access_token_secret
from gateway.contacts.database.stores import store_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.store import ContactTransaction, T, Work

app = group()


@app.command(
    epilog=examples(
        "gateway access-token create --name backend --scope contacts:read --scope contacts:write",
        "gateway access-token create --name report --scope contacts:read --json",
    )
)
def create(
    name: Annotated[str, typer.Option(help="What it is for.")],
    scope: Annotated[list[Scope], typer.Option(help="What it allows; may be given again.")],
    workspace: Workspace = None,
    config: Config = None,
    as_json: AsJson = False,  # noqa: FBT002 - an option's default
) -> None:
    """Create an access token. Its secret is printed once, and never again: only a digest is kept."""
    if not name.strip() or len(name) > 255 or not name.isprintable():
        raise CommandFailed("a name has 1 to 255 printable characters", exit_code=2)
    settings = settings_for(config)
    secret = mint_access_token_secret(os.urandom)
    token = AccessToken(
        id=os.urandom(8).hex(),
        workspace_id=workspace_of(settings, workspace),
        name=name,
        scopes=frozenset(scope),
        created_at=int(time.time()),
    )

    async def insert(transaction: ContactTransaction) -> None:
        await transaction.insert_access_token(token, digest_of(secret))

    asyncio.run(_write(settings.store.url, insert))
    if as_json:
        say_json({**_plain(token), "secret": secret})
        return
    complain(f"access token {token.id} for the workspace {token.workspace_id}; keep the secret, it is shown this once:")
    say(secret)


@app.command("list", epilog=examples("gateway access-token list", "gateway access-token list --json"))
def list_all(config: Config = None, as_json: AsJson = False) -> None:  # noqa: FBT002 - an option's default
    """List the access tokens of all workspaces, revoked ones too."""
    tokens = asyncio.run(_read(settings_for(config).store.url))
    if as_json:
        say_json([_plain(token) for token in tokens])
        return
    say_table(
        ("id", "workspace", "name", "scopes", "created", "revoked"),
        [
            (
                token.id,
                token.workspace_id,
                token.name,
                " ".join(sorted(token.scopes)),
                moment(token.created_at),
                moment(token.revoked_at),
            )
            for token in tokens
        ],
    )


@app.command(epilog=examples("gateway access-token revoke 5f0c1d2e3b4a5968"))
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The id, as `list` prints it.")],
    config: Config = None,
    as_json: AsJson = False,  # noqa: FBT002 - an option's default
) -> None:
    """Revoke an access token. It is refused from the next request on."""
    checked_text(token_id)
    settings = settings_for(config)

    async def work(transaction: ContactTransaction) -> bool:
        return await transaction.revoke_access_token(token_id, now=int(time.time()))

    if not asyncio.run(_write(settings.store.url, work)):
        raise CommandFailed(
            f"no standing access token has the id {token_id}", hint="`gateway access-token list` shows the ids"
        )
    if as_json:
        say_json({"id": token_id, "revoked": True})
    else:
        say(f"revoked {token_id}")


async def _write(url: str, work: Work[T]) -> T:
    store = store_for(url)
    await store.open()
    try:
        return await store.write(work)
    finally:
        await store.close()


async def _read(url: str) -> Sequence[AccessToken]:
    store = store_for(url)
    await store.open()
    try:
        return await store.access_tokens()
    finally:
        await store.close()


def _plain(token: AccessToken) -> dict[str, Any]:
    return {
        "id": token.id,
        "workspace": token.workspace_id,
        "name": token.name,
        "scopes": sorted(token.scopes),
        "created_at": token.created_at,
        "revoked_at": token.revoked_at,
    }
