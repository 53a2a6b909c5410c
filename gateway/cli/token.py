"""`gateway token`: make tokens for tests, explain any token, and revoke."""

from __future__ import annotations

import asyncio
import json
import math
import time
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.commands import AsJson, Config, Workspace, examples, group
from gateway.cli.configuration import settings_for, workspace_of
from gateway.cli.output import FOUND_WANTING, WRONG_USE, CommandFailed, moment, say, say_json, say_table
from gateway.cli.presented import presented_token
from gateway.cli.signing import signing_issuer, token_claims
from gateway.cli.token_revoke import REVOCATIONS_EXAMPLES, REVOKE_EXAMPLES, revocations, revoke
from gateway.identity.issuing import issue_token
from gateway.identity.platforms import Platform  # noqa: TC001 - typer reads the annotations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.explaining import Explained

app = group()

_CENTURY = 100 * 365 * 86_400

TokenArgument = Annotated[str, typer.Argument(metavar="TOKEN", help="The token, or - to read it from standard input.")]


@app.command(
    epilog=examples(
        "gateway token issue --user-id user-1 --email ada@example.com",
        "gateway token issue --user-id user-1 --issuer local --alg ES256 --ttl 600",
        "gateway token issue --user-id user-1 --claim plan=gold --claim seats=3 --claim 'roles=[\"a\"]'",
        "gateway token issue --claim user_id=null --header typ=at+jwt",
    )
)
def issue(  # noqa: PLR0913, PLR0917 - a parameter per option
    user_id: Annotated[str | None, typer.Option(help="Whose token it is.", show_default=False)] = None,
    email: Annotated[str | None, typer.Option(help="The person's email.", show_default=False)] = None,
    claim: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A claim; JSON, else text. May be given again.")
    ] = None,
    ttl: Annotated[
        int, typer.Option(min=-_CENTURY, max=_CENTURY, help="Seconds until it expires; negative makes an expired one.")
    ] = 3600,
    no_exp: Annotated[bool, typer.Option("--no-exp", help="Leave out iat and exp.")] = False,  # noqa: FBT002
    alg: Annotated[str | None, typer.Option(help="The algorithm.", show_default=False)] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A header member; changes nothing in how it is signed."),
    ] = None,
    secret_id: Annotated[str | None, typer.Option(help="The secret to sign with.", show_default=False)] = None,
    issuer: Annotated[str | None, typer.Option(help="The issuer to sign for, by name.", show_default=False)] = None,
    workspace: Workspace = None,
    config: Config = None,
    as_json: AsJson = False,  # noqa: FBT002 - an option's default
) -> None:
    """Sign a token as one of the configured issuers would. It refuses issuers marked production."""
    settings = settings_for(config)
    app_id = workspace_of(settings, workspace)
    by, key = signing_issuer(settings, app_id, name=issuer, algorithm=alg, secret_id=secret_id)
    if user_id is None and email is None and not claim:
        raise CommandFailed("a token for whom?", hint="--user-id, --email or --claim", exit_code=WRONG_USE)
    claims = {**token_claims(by, user_id=user_id, email=email), **_pairs("--claim", claim)}
    try:
        token = issue_token(
            claims, key, ttl=None if no_exp else ttl, now=time.time(), header=_pairs("--header", header)
        )
    except UnicodeEncodeError as error:
        raise CommandFailed("a value is not text in UTF-8", exit_code=WRONG_USE) from error
    if as_json:
        say_json({"token": token, "workspace": app_id, "issuer": by.name, "alg": key.algorithm, "kid": key.kid})
    else:
        say(token)


@app.command(
    epilog=examples(
        "gateway token inspect eyJhbGciOi...",
        "pbpaste | gateway token inspect - --json",
        "gateway token inspect eyJhbGciOi... --platform ios      with the secrets of iOS alone",
        "gateway token inspect - --jwks keys.json < token.txt      without a configuration",
    )
)
def inspect(  # noqa: PLR0913, PLR0917 - a parameter per option
    token: TokenArgument,
    jwks: Annotated[
        Path | None, typer.Option("--jwks", help="Check against this key set alone, offline.", show_default=False)
    ] = None,
    user_id_claim: Annotated[str, typer.Option(help="With --jwks: the claim that holds the id.")] = "user_id",
    platform: Annotated[
        Platform | None, typer.Option(help="As from this platform: with its secrets alone.", show_default=False)
    ] = None,
    workspace: Workspace = None,
    config: Config = None,
    as_json: AsJson = False,  # noqa: FBT002 - an option's default
) -> None:
    """Explain a token: every check in order, what it expects and what it found, and whose contact it leads to.

    The checks are those of the gateway itself. Nothing is written. Exit code 1 when the token is refused.
    """
    from gateway.cli.explaining import explain_as_configured, explain_offline  # noqa: PLC0415 - only this command

    presented = presented_token(token)
    if jwks is not None:
        explained = asyncio.run(explain_offline(presented, jwks, user_id_claim))
    else:
        settings = settings_for(config)
        app_id = workspace_of(settings, workspace)
        explained = asyncio.run(explain_as_configured(presented, app_id, settings, platform))
    if as_json:
        say_json(explained.plain())
    else:
        _print(explained)
    if explained.code is not None:
        raise typer.Exit(FOUND_WANTING)


@app.command(
    epilog=examples(
        "gateway token broken --list",
        "gateway token broken expired",
        "gateway token broken hs256-with-public-key --issuer local --json",
        "gateway token broken --all --json",
    )
)
def broken(  # noqa: PLR0913, PLR0917 - a parameter per option
    slug: Annotated[str | None, typer.Argument(metavar="SLUG", help="Which one.", show_default=False)] = None,
    list_all: Annotated[bool, typer.Option("--list", help="List the catalogue.")] = False,  # noqa: FBT002
    make_all: Annotated[bool, typer.Option("--all", help="Make every one that suits the issuer.")] = False,  # noqa: FBT002
    user_id: Annotated[
        str | None, typer.Option(help="Whose token it would be; else user-1.", show_default=False)
    ] = None,
    email: Annotated[str | None, typer.Option(help="Else ada@example.com.", show_default=False)] = None,
    issuer: Annotated[str | None, typer.Option(help="The issuer to sign for, by name.", show_default=False)] = None,
    workspace: Workspace = None,
    config: Config = None,
    as_json: AsJson = False,  # noqa: FBT002 - an option's default
) -> None:
    """Make a token that must be refused, in one way of a catalogue: to test that a gateway, or your code, refuses it.

    It is signed as `token issue` signs, never for production. `--all` prints a slug, a code and a token on each line.
    """
    from gateway.cli.token_broken import (  # noqa: PLC0415 - only this command needs it
        breaker_for,
        entry_for,
        say_all,
        say_list,
        say_one,
    )

    if (slug is not None) + list_all + make_all != 1:
        raise CommandFailed("which one?", hint="a SLUG, --list or --all", exit_code=WRONG_USE)
    if list_all:
        say_list(as_json=as_json)
        return
    entry = None if slug is None else entry_for(slug)
    settings = settings_for(config)
    app_id = workspace_of(settings, workspace)
    breaker = breaker_for(settings, app_id, issuer=issuer, user_id=user_id, email=email, now=time.time())
    if entry is None:
        say_all(breaker, as_json=as_json)
    else:
        say_one(entry, breaker, as_json=as_json)


app.command(epilog=REVOKE_EXAMPLES)(revoke)
app.command(epilog=REVOCATIONS_EXAMPLES)(revocations)


def _pairs(option: str, pairs: Sequence[str] | None) -> dict[str, Any]:
    """`name=value` texts as members: the value as JSON when it is some, else as the text that it is."""
    members: dict[str, Any] = {}
    for pair in pairs or ():
        name, equals, text = pair.partition("=")
        if not name or not equals:
            raise CommandFailed(f"{option} takes NAME=VALUE", exit_code=WRONG_USE)
        try:
            members[name] = json.loads(text, parse_constant=_no_json, parse_float=_finite)
        except (ValueError, RecursionError):
            members[name] = text
    return members


def _no_json(text: str) -> None:
    raise ValueError(text)  # NaN and Infinity, which Python alone takes for JSON


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):  # it would be signed as null
        raise CommandFailed(f"no token can hold the number {text}", exit_code=WRONG_USE)
    return number


def _print(explained: Explained) -> None:
    marks = {"passed": "ok", "failed": "FAILED", "not_performed": "-"}
    say_table(
        ("", "step", "check", "expected", "found"),
        [
            (marks.get(check.outcome, check.outcome), check.step, check.name, check.expected, check.found)
            for check in explained.checks
        ],
    )
    if explained.principal is not None:
        principal = explained.principal
        say(f"who      {principal.user_id} (issuer {principal.issuer}), email {principal.email or 'none'}")
        say(f"until    {moment(principal.expires_at) or 'for ever: the token has no exp'}")
    if explained.contact:
        say(f"contact  {explained.contact}")
    say(f"verdict  {'accepted' if explained.code is None else f'refused: {explained.code}'}")
