"""`gateway check URL`: is the gateway there what its clients, and you, expect it to be?"""

from __future__ import annotations

import os
import time
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.checking.staging.run import CHECKS, check_gateway
from gateway.checking.staging.site import Site
from gateway.checking.staging.subject import PREFIX, Subject
from gateway.cli.commands import AsJson, Config, Workspace, examples, group
from gateway.cli.configuration import DEVELOPMENT, is_configured, settings_for, workspace_of
from gateway.cli.crafting import crafting_signer
from gateway.cli.junit import junit_report
from gateway.cli.output import WRONG_USE, CommandFailed
from gateway.cli.private_files import written_at_once
from gateway.cli.progress import progress_bar
from gateway.cli.rows import tell_rows
from gateway.cli.signing import signing_issuer, token_claims
from gateway.trust import claim_policy
from gateway.web.headers import reserved_names
from keys.files import read_secret_file

if TYPE_CHECKING:
    from gateway.checking.row import Row
    from gateway.settings import Settings

app = group()
_HERE = frozenset({"127.0.0.1", "localhost", "::1"})


@app.command(
    epilog=examples(
        "gateway check http://127.0.0.1:8080                       beside `gateway serve` in development mode",
        "gateway check https://staging.example.com --config gateway.toml --issuer tests --junit report.xml",
        "gateway check https://staging.example.com --echo https://staging.example.com/echo",
        "gateway check http://10.0.0.7:8080 --admin http://10.0.0.7:8081 --access-token-file token --json",
    )
)
def check(  # noqa: PLR0913, PLR0917 - a parameter per option
    url: Annotated[str, typer.Argument(metavar="URL", help="Where clients reach the gateway.")],
    issuer: Annotated[str | None, typer.Option(help="The issuer that signs, by name.", show_default=False)] = None,
    admin: Annotated[
        str | None, typer.Option(metavar="URL", help="Its admin listener, for the contacts.", show_default=False)
    ] = None,
    access_token: Annotated[
        str | None,
        typer.Option(envvar="GATEWAY_ACCESS_TOKEN", help="For the admin listener.", show_default=False),
    ] = None,
    access_token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The same from a file.", show_default=False)
    ] = None,
    echo: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A route that answers with what the upstream received.", show_default=False),
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The CA of a private certificate.", show_default=False)
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=600, help="Seconds for one answer.")] = 10,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a JUnit report for CI, too.", show_default=False)
    ] = None,
    workspace: Workspace = None,
    config: Config = None,
    as_json: AsJson = False,  # noqa: FBT002 - an option's default
) -> None:
    """Check a running gateway from outside: keys, clock, certificate, logins, every broken token, spoofed headers.

    The configuration here says who signs; that gateway has to trust the same issuer. A test contact is made, and is
    removed when the admin listener can be reached. What cannot be checked is told as not performed. Exit code 1 when a
    check failed.
    """
    began = time.time()
    settings = settings_for(config)
    app_id = workspace_of(settings, workspace)
    site = _site(url, timeout, ca_file)
    if access_token is not None and access_token_file is not None:
        raise CommandFailed("--access-token and --access-token-file are two", exit_code=WRONG_USE)
    if access_token_file is not None:
        access_token = read_secret_file(access_token_file)
    if admin is None and _is_this_one(site, settings):
        admin = f"http://{settings.admin.bind}"
        if access_token is None and not is_configured(config, os.environ) and DEVELOPMENT.access_token.exists():
            access_token = read_secret_file(DEVELOPMENT.access_token)
    subject = _subject(settings, app_id, issuer, site)
    subject.admin = None if admin is None else _site(admin, timeout, ca_file)
    subject.access_token = _checked_access_token(access_token)
    subject.echo = None if echo is None else _site(echo, timeout, ca_file)
    rows = _run(subject)
    if junit is not None:
        with written_at_once(junit) as file:
            file.write(junit_report("gateway check", rows, began))
    tell_rows(rows, as_json=as_json)


def _run(subject: Subject) -> list[Row]:
    rows: list[Row] = []
    with progress_bar("checking", CHECKS) as advance:
        for row in check_gateway(subject):
            rows.append(row)
            advance(len(rows))
    return rows


def _site(url: str, timeout: float, ca_file: Path | None) -> Site:
    try:
        site = Site(url, timeout=timeout, ca_file=ca_file)
    except ValueError as error:
        raise CommandFailed(str(error), exit_code=WRONG_USE) from error
    if ca_file is not None:
        try:
            _ = site.trust
        except OSError as error:  # ssl's errors are some
            raise CommandFailed(f"{ca_file}: no certificates that can be read", exit_code=WRONG_USE) from error
    return site


def _is_this_one(site: Site, settings: Settings) -> bool:
    """Whether the URL is that of the gateway which this configuration runs on this machine."""
    return not site.secure and site.host in _HERE and settings.public.bind.rpartition(":")[2] == str(site.port)


def _checked_access_token(text: str | None) -> str | None:
    if text is not None and not (text.isascii() and text.isprintable() and text.strip() == text != ""):
        raise CommandFailed("the access token is not one that a header can carry", exit_code=WRONG_USE)
    return text


def _subject(settings: Settings, app_id: str, issuer: str | None, site: Site) -> Subject:
    by, key = signing_issuer(settings, app_id, name=issuer)
    by_email = by.user_id_claim == "email"
    user_id = f"{PREFIX}{os.urandom(8).hex()}{'@example.com' if by_email else ''}"
    claims = token_claims(by, user_id=user_id, email=None)
    if by_email:
        claims["email_verified"] = True
    return Subject(
        site=site,
        workspace=app_id,
        user_id=user_id,
        signer=lambda now: crafting_signer(settings, app_id, by, key, claims, now),
        issuer=by.name,
        leeway=claim_policy(by).leeway,
        identity_headers=reserved_names(settings.public.headers.names()),
    )
