"""`gateway serve`: run the gateway; without any configuration, in development mode."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import time
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.commands import examples, group
from gateway.cli.configuration import DEVELOPMENT, source_for
from gateway.cli.output import encodable, printable
from gateway.cli.signing import signing_issuer, token_claims
from gateway.development import WORKSPACE
from gateway.errors import SettingsInvalid
from gateway.identity.issuing import issue_token
from gateway.reloading import ConfigurationFiles

if TYPE_CHECKING:
    from gateway.settings import Settings

app = group()
_FIRST_TOKEN_SECONDS = 3600


@app.command(
    epilog=examples(
        "gateway serve                                   development mode in ./var",
        "gateway serve --config gateway.toml --workers 2",
        "gateway serve --config gateway.toml --public 0.0.0.0:8080",
    )
)
def serve(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Else $GATEWAY_CONFIG, ./gateway.toml.", show_default=False),
    ] = None,
    public: Annotated[str | None, typer.Option(help="Where clients connect: host:port.", show_default=False)] = None,
    admin: Annotated[str | None, typer.Option(help="Where operators connect.", show_default=False)] = None,
    workers: Annotated[int | None, typer.Option(help="How many processes.", show_default=False)] = None,
    express_lane: Annotated[  # noqa: FBT002 - an option's default
        bool, typer.Option("--express-lane/--no-express-lane", help="Answer what needs no waiting inside the parser.")
    ] = True,
) -> None:
    """Run the gateway. Without any configuration it starts in development mode, on loopback only.

    SIGTERM and Ctrl-C turn readiness off; requests under way may end. A changed configuration is taken over within
    about a second, and at once on SIGHUP; a broken one is not.
    """
    from gateway.serving import serve as serve_both  # noqa: PLC0415 - only this command needs the server

    overrides = _overrides(public, admin, workers, express_lane=express_lane)
    source = source_for(config, overrides)
    if source.development is not None:
        source.development.prepare(os.urandom)
    files = ConfigurationFiles(source, os.environ)
    settings = files.read()
    if source.development is None:
        banner = f"public {_url(settings.public.bind)}, admin {_url(settings.admin.bind)}\n"
        raise typer.Exit(serve_both(files, settings, banner=banner))
    banner = _development(settings)
    before = source.development.as_served().bind
    source.development.remember(settings.public.bind)
    try:
        code = serve_both(files, settings, banner=banner)
    except SettingsInvalid:  # the address is somebody else's, and another gateway may run where it ran before
        source.development.remember(before)
        raise
    raise typer.Exit(code)


def _overrides(public: str | None, admin: str | None, workers: int | None, *, express_lane: bool) -> dict[str, Any]:
    """The flags that were given, as settings."""
    listener: dict[str, Any] = {} if express_lane else {"express_lane": False}
    if public is not None:
        listener["bind"] = public
    tables: dict[str, Any] = {"public": listener, "admin": {} if admin is None else {"bind": admin}}
    return tables if workers is None else {**tables, "workers": workers}


def _development(settings: Settings) -> str:
    """Prepare the store of development mode; return what to print once it listens."""
    access_token = asyncio.run(DEVELOPMENT.prepare_store(settings.store.url, os.urandom, time.time()))
    issuer, key = signing_issuer(settings, WORKSPACE, name="messenger")
    claims = token_claims(issuer, user_id="user-1", email="ada@example.com")
    token = issue_token(claims, key, ttl=_FIRST_TOKEN_SECONDS, now=time.time())
    public, admin = _url(settings.public.bind), _url(settings.admin.bind)
    folder = encodable(printable(DEVELOPMENT.path.absolute()), sys.stdout)
    login = _curl(f"Authorization: Bearer {token}", f"{public}/messenger/login", "-X", "POST")
    look_up = _curl(f"Authorization: Bearer {access_token}", f"{admin}/contacts/find_by_external_id/user-1")
    return f"""\
Development mode: everything lies in {folder}, and only this machine can connect.

  public  {public}
  admin   {admin}

Sign in (the token is good for an hour; `gateway token issue --user-id ...` makes others):

{login}

Look at the contact that this makes:

{look_up}

"""


def _url(bind: str) -> str:
    return f"http://{bind}"


def _curl(header: str, url: str, *options: str) -> str:
    return shlex.join(["curl", "-sS", *options, "-H", header, url])
