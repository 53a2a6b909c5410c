"""`gateway token revoke` and `gateway token revocations`: what is refused although it verifies."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.commands import AsJson, Config, Workspace, examples
from gateway.cli.configuration import settings_for, workspace_of
from gateway.cli.output import WRONG_USE, CommandFailed, checked_text, moment, say, say_json, say_table
from gateway.cli.presented import presented_token
from gateway.contacts.revocation import from_now_on
from gateway.contacts.revoking import Revoker, is_past, lifetimes_of, live_revocations, person_of, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.contact import Contact
    from gateway.contacts.revocation import Revocation
    from gateway.contacts.store import ContactReader, ContactTransaction
    from gateway.identity.issuer import TrustedIssuer
    from gateway.settings import Settings

REVOKE_EXAMPLES = examples(
    "gateway token revoke --token eyJhbGciOi...",
    "pbpaste | gateway token revoke --token -",
    "gateway token revoke --jti 5f0c1d2e --issuer login",
    "gateway token revoke --contact user-1                       signed out everywhere",
    "gateway token revoke --issued-before now --issuer messenger   after a leak",
    "gateway token revoke --issued-before 2026-11-26T08:30:00Z",
    "gateway token revoke --contact user-1 --lift                taken back",
)
REVOCATIONS_EXAMPLES = examples("gateway token revocations", "gateway token revocations --workspace acme --json")


def revoke(  # noqa: PLR0913, PLR0917 - a parameter per option
    token: Annotated[
        str | None, typer.Option("--token", help="The token, or - to read it from standard input.", show_default=False)
    ] = None,
    jti: Annotated[str | None, typer.Option("--jti", help="A token's id; with --issuer.", show_default=False)] = None,
    contact: Annotated[
        str | None,
        typer.Option("--contact", metavar="ID", help="A person, by contact id or user_id.", show_default=False),
    ] = None,
    issued_before: Annotated[
        str | None,
        typer.Option("--issued-before", metavar="TIME", help="Unix seconds, ISO 8601, or now.", show_default=False),
    ] = None,
    issuer: Annotated[
        str | None, typer.Option("--issuer", help="Of this issuer alone, by name.", show_default=False)
    ] = None,
    lift: Annotated[bool, typer.Option("--lift", help="Take back what the same options revoked.")] = False,  # noqa: FBT002
    workspace: Workspace = None,
    config: Config = None,
    as_json: AsJson = False,  # noqa: FBT002 - an option's default
) -> None:
    """Revoke tokens: one, those with an id, a person's, or all that were issued before a moment.

    A running gateway refuses them from the next request on, every other one within a second. A person who signs in
    again gets a newer token, which passes. A token without iat counts as issued before, so where tokens have none, a
    person stays out until --lift. With --contact, --issued-before tells the moment; else it is now.
    """
    _check_asked(token, jti, contact, issued_before, issuer)
    now = time.time()
    before = from_now_on(now) if issued_before is None else _time_of(issued_before, now)
    settings = settings_for(config)
    app_id = workspace_of(settings, workspace)
    issuers = _issuers(settings, app_id)
    if issuer is not None and issuer not in {one.name for one in issuers}:
        raise CommandFailed(
            f"the workspace {app_id} has no issuer {issuer}",
            hint=f"--issuer with one of {', '.join(one.name for one in issuers)}",
            exit_code=WRONG_USE,
        )
    presented = None if token is None else presented_token(token)

    async def work(transaction: ContactTransaction) -> Sequence[Revocation]:
        revoker = Revoker(transaction, app_id, lifetimes_of(issuers), actor="command", now=now, lift=lift)
        if presented is not None:
            return await revoker.token(presented, issuers)
        if jti is not None:
            return await revoker.jti(issuer or "", jti)
        if contact is not None:
            return await revoker.contact(await _person(transaction, app_id, contact), before)
        return await revoker.issued_before(before, issuer)

    revoked = asyncio.run(_with_store(settings, lambda store: store.write(work)))
    if not revoked:
        raise CommandFailed("nothing is revoked by that", hint="`gateway token revocations` lists what is")
    if as_json:
        say_json({"workspace": app_id, "lifted" if lift else "revoked": [plain(one) for one in revoked]})
        return
    for one in revoked:
        say(f"lifted the revocation of {_words(one)}" if lift else f"revoked {_words(one)}; {_kept(one)}")


def revocations(
    workspace: Workspace = None,
    config: Config = None,
    as_json: AsJson = False,  # noqa: FBT002 - an option's default
) -> None:
    """List what is revoked, and until when that is kept. No list names a token: what is kept is a digest."""
    settings = settings_for(config)
    app_id = workspace_of(settings, workspace)
    found = asyncio.run(_with_store(settings, lambda store: live_revocations(store, app_id, time.time())))
    if as_json:
        say_json([plain(one) for one in found])
        return
    say_table(
        ("revoked", "by", "what", "kept until"),
        [(moment(one.revoked_at), one.actor, _words(one), moment(one.until) or "for ever") for one in found],
    )


def _check_asked(
    token: str | None, jti: str | None, contact: str | None, issued_before: str | None, issuer: str | None
) -> None:
    """Exactly one thing is asked for, with an issuer where that makes a difference; else `CommandFailed`."""
    named = [value for value in (token, jti, contact, issued_before if contact is None else None) if value is not None]
    if len(named) != 1:
        raise CommandFailed(
            "revoke what?", hint="one of --token, --jti, --contact, --issued-before", exit_code=WRONG_USE
        )
    if (jti is not None and issuer is None) or (issuer is not None and (token is not None or contact is not None)):
        raise CommandFailed("--jti needs --issuer, and --token and --contact take none", exit_code=WRONG_USE)
    for text in (jti, contact, issuer):
        checked_text(text or "")


def _issuers(settings: Settings, app_id: str) -> Sequence[TrustedIssuer]:
    from gateway.trust import trusted_issuers  # noqa: PLC0415 - the other commands do without

    return [issuer for issuer in trusted_issuers(settings) if issuer.workspace == app_id]


async def _with_store(settings: Settings, use: Any) -> Any:
    from gateway.contacts.database.stores import store_for  # noqa: PLC0415 - the other commands do without

    store = store_for(settings.store.url)
    await store.open()
    try:
        return await use(store)
    finally:
        await store.close()


async def _person(reader: ContactReader, app_id: str, identifier: str) -> Contact:
    found = await person_of(reader, app_id, identifier)
    if found is None:
        raise CommandFailed("nobody has this contact id or user_id", hint="`gateway contacts find` knows emails, too")
    return found


def _time_of(text: str, now: float) -> int:
    """A moment in seconds: `now`, Unix seconds, or ISO 8601, in UTC where it names no zone."""
    if text == "now":
        return from_now_on(now)
    try:
        if text.isascii() and text.isdigit():
            seconds = int(text)
        else:
            named = datetime.fromisoformat(text)
            seconds = int((named if named.tzinfo else named.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise CommandFailed("--issued-before takes now, Unix seconds or ISO 8601", exit_code=WRONG_USE) from None
    if not is_past(seconds, now):
        raise CommandFailed("--issued-before names no moment of the past", exit_code=WRONG_USE)
    return seconds


def _words(one: Revocation) -> str:
    what = {
        "token": "a token",
        "jti": f"a jti of the issuer {one.subject}",
        "contact": f"the tokens of the contact {one.subject}",
        "issuer": f"the tokens of the issuer {one.subject}",
        "workspace": "all tokens",
    }[one.kind.value]
    return what if one.issued_before is None else f"{what} issued before {moment(one.issued_before)}"


def _kept(one: Revocation) -> str:
    if one.until is None:
        return "kept for ever, for nothing says how long such tokens live"
    return f"kept until {moment(one.until)}"
