"""`gateway keys list`: the keys of every issuer of every workspace, and what each of them does now."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.cli.commands import AsJson, Config, examples
from gateway.cli.configuration import settings_for
from gateway.cli.keyrings import plain_key
from gateway.cli.output import complain, moment, say_json, say_table
from gateway.settings import ASSERTION_KEYS
from gateway.trust import create_assertions, trusted_issuers
from keys.keyring import KeyState
from keys.keyring_source import KeyringSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gateway.identity.issuer import TrustedIssuer
    from gateway.settings import IssuerSettings

EXAMPLES = examples("gateway keys list", "gateway keys list --json", "gateway keys list --config gateway.toml")

_COLUMNS = ("workspace", "issuer", "from", "kid", "alg", "platforms", "state", "signs from", "signs until", "ends")


def list_all(config: Config = None, as_json: AsJson = False) -> None:  # noqa: FBT002 - an option's default
    """List the keys of every issuer: from where, which, and what each does: next, signing, verifying, retiring.

    Published key sets are asked for; secrets are never shown.
    """
    settings = settings_for(config)
    issuers = trusted_issuers(settings)
    asyncio.run(_refresh(issuers))
    now = time.time()
    named = {(app_id, one.name): one for app_id, table in settings.workspaces.items() for one in table.issuers}
    found = [_plain(issuer, named[issuer.workspace, issuer.name], now) for issuer in issuers]
    assertions = create_assertions(settings)
    if assertions is not None and settings.assertion is not None:
        whose = {"workspace": None, "issuer": ASSERTION_KEYS}
        found.append(_plain_keyring(whose, assertions.keys, str(settings.assertion.keyring), now))
    if as_json:
        say_json(found)
        return
    say_table(_COLUMNS, [row for one in found for row in _rows(one)])
    complain(*(line for one in found for line in _worries(one)))


async def _refresh(issuers: Iterable[TrustedIssuer]) -> None:
    """Ask whoever publishes keys, all at the same time; what went wrong stands in their health."""
    await asyncio.gather(*(issuer.keys.refresh() for issuer in issuers))


def _plain(issuer: TrustedIssuer, settings: IssuerSettings, now: float) -> dict[str, Any]:
    whose = {"workspace": issuer.workspace, "issuer": issuer.name}
    if isinstance(issuer.keys, KeyringSource):
        return _plain_keyring(whose, issuer.keys, str(settings.keyring), now)
    health = msgspec.to_builtins(issuer.keys.health())
    given = [name for name in ("secrets", "jwks_file", "pem_files") if getattr(settings, name)]
    keys = [
        {
            "kid": key.kid,
            "algorithms": sorted(key.algorithms),
            "platforms": sorted(key.platforms),
            "state": KeyState.VERIFYING.value,
        }
        for key in issuer.keys.keys
    ]
    return {**whose, **health, "source": ", ".join(given) or health["source"], "keys": keys}


def _plain_keyring(whose: dict[str, Any], source: KeyringSource, path: str, now: float) -> dict[str, Any]:
    health, keyring = msgspec.to_builtins(source.health()), source.keyring
    keys = [plain_key(keyring, entry, now) for entry in keyring.keys]
    return {**whose, **health, "source": path, "version": keyring.version, "keys": keys}


def _rows(one: dict[str, Any]) -> Iterator[Sequence[object]]:
    for key in one["keys"]:
        times = [moment(key.get(name)) for name in ("signs_from", "signs_until", "ends_at")]
        algorithms, platforms = " ".join(key["algorithms"]), " ".join(key["platforms"])
        yield one["workspace"], one["issuer"], one["source"], key["kid"], algorithms, platforms, key["state"], *times
    if not one["keys"]:
        yield one["workspace"], one["issuer"], one["source"], "", "", "", "no keys", "", "", ""


def _worries(one: dict[str, Any]) -> Iterator[str]:
    """What an operator should hear of besides."""
    whose = f"{one['workspace']}: {one['issuer']}" if one["workspace"] else one["issuer"]
    if one["error"] is not None:
        yield f"{whose}: {one['error']}"
    if one["state"] != "fresh":
        yield f"{whose}: its keys are stale" if one["keys"] else f"{whose}: no key: its tokens get 503"
    yield from (f"{whose}: left out: {why}" for why in one["left_out"])
