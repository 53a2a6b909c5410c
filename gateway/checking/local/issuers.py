"""Has every issuer keys that verify, and can those that publish theirs be asked?"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.checking.row import Row, failed, passed, warning
from gateway.errors import SettingsInvalid
from gateway.settings import ASSERTION_KEYS
from gateway.trust import create_assertions, trusted_issuers
from keys.keyring import load_keyring

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.identity.issuer import TrustedIssuer
    from gateway.settings import Settings

_DAY = 86_400
_SOON = 7 * _DAY


def check_issuers(settings: Settings) -> Iterator[Row]:
    """A row for each issuer. Who publishes his keys is asked for them, and nothing of that is kept."""
    with tempfile.TemporaryDirectory() as folder:
        keys = settings.keys.model_copy(update={"folder": Path(folder)})
        try:
            issuers = trusted_issuers(settings.model_copy(update={"keys": keys}))
            create_assertions(settings)
        except SettingsInvalid as error:
            for problem in error.problems:
                yield failed("keys", "key material that can be used", problem)
            return
        for issuer in issuers:
            yield asyncio.run(_check(issuer))


def check_keyrings(settings: Settings, now: float) -> Iterator[Row]:
    """A row for each keyring: something verifies beyond the next days, and a key of our own signs."""
    expected = f"keys beyond the next {_SOON // _DAY} days, and one that signs unless they are secrets"
    for whose, path in _keyrings(settings):
        name, hint = f"keyring: {whose}", f"`gateway keys list` and `gateway keys rotate`: {path}"
        keyring = load_keyring(path)
        lasting = [one for one in keyring.published(now) if one.ends_at is None or one.ends_at > now + _SOON]
        signing = keyring.signing(now)
        ending = signing is not None and signing.signs_until is not None and signing.signs_until < now + _SOON
        follower = any(one.signs_from > now for one in keyring.published(now))
        if not keyring.published(now):
            yield failed(name, expected, "no key that verifies", hint)
        elif not lasting:
            yield warning(name, expected, "its last key ends within days", hint)
        elif not keyring.holds_secrets and (signing is None or (ending and not follower)):
            told = "no key that signs" if signing is None else "the key that signs ends, and none follows"
            yield warning(name, expected, told, hint)
        else:
            yield passed(name, expected, f"{len(keyring.published(now))} that verify")


def _keyrings(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Whose they are, and their files."""
    for app_id, workspace in settings.workspaces.items():
        for issuer in workspace.issuers:
            if issuer.keyring is not None:
                yield f"{app_id}/{issuer.name}", issuer.keyring
    if settings.assertion is not None:
        yield ASSERTION_KEYS, settings.assertion.keyring


async def _check(issuer: TrustedIssuer) -> Row:
    name = f"keys: {issuer.workspace}/{issuer.name}"
    expected = f"a key for {' or '.join(issuer.algorithms)}, and an answer from whoever publishes it"
    await issuer.keys.refresh()
    health = issuer.keys.health()
    await issuer.keys.close()
    usable = sum(1 for key in issuer.keys.keys if key.algorithms & set(issuer.algorithms))
    found = f"{usable} usable, {health.source}"
    if health.error is not None:
        hint = "a gateway that runs goes on with the last good set, for jwks_stale_limit"
        return failed(name, expected, f"{found}: {health.error}", hint)
    if not usable:
        return failed(name, expected, found, "every token of this issuer is refused, or answered with 503")
    if health.exposed:
        return failed(name, expected, f"{found}, {health.exposed} secret published", "its publisher must replace them")
    if health.left_out:
        return warning(name, expected, f"{found}; left out: {'; '.join(health.left_out[:3])}", "tell its publisher")
    return passed(name, expected, found)
