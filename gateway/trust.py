"""From settings to trust: the issuers of each workspace with their keys loaded, its rules for ids, its policies."""

from __future__ import annotations

import hashlib
import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from gateway.contacts.resolver import ResolutionPolicy
from gateway.errors import SettingsInvalid
from gateway.identity.claims import ClaimPolicy
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.placeholders import placeholder_spelling
from gateway.identity.principal import IdRules
from gateway.settings import ASSERTION_KEYS, LONGEST_LIFETIME, ArchivedLogin, FirstSight, Profile, place
from gateway.web.assertion import Assertions
from gateway.web.enforcement import Enforcement
from keys.destinations import Destinations
from keys.errors import KeyMaterialError
from keys.files import load_jwks_file, load_pem_file
from keys.jwk import VerificationKey, key_from_secret
from keys.keyring import load_keyring
from keys.keyring_source import KeyringSource
from keys.keyset import KeySet
from keys.last_good import last_good_set
from keys.publication import Publisher
from keys.remote import Environment, RemoteKeySet, Timing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Iterator

    from gateway.contacts.rollout import EnforcementCounter
    from gateway.settings import IssuerSettings, Settings
    from keys.fetching import Document
    from keys.keyring import Keyring
    from keys.keyset import KeySource


class _Remote(Struct, frozen=True):
    """Everything that makes one remote key set another one."""

    workspace: str
    publisher: Publisher
    timing: Timing
    destinations: Destinations
    ca_file: Path | None
    folder: Path


class KeySources:
    """The remote key sets of a process, by what configures them.

    An issuer whose settings did not change has the very same set after a reload, with its keys and without a new fetch.
    Sets are not shared between issuers: keys belong to one, and so does the budget of fetches.
    """

    def __init__(self) -> None:
        self._made: dict[_Remote, RemoteKeySet] = {}

    def remote(self, app_id: str, issuer: IssuerSettings, folder: Path) -> RemoteKeySet:
        """The set of an issuer that publishes its keys."""
        wanted = _Remote(
            workspace=app_id,
            publisher=Publisher(
                name=f"{app_id}/{issuer.name}",
                issuer=issuer.issuer,
                jwks_url=issuer.jwks_url,
                loopback_http=issuer.insecure_jwks_loopback,
            ),
            timing=Timing(issuer.jwks_refresh, issuer.jwks_cooldown, issuer.jwks_stale_limit),
            destinations=Destinations(issuer.jwks_allow_networks, issuer.insecure_jwks_loopback),
            ca_file=issuer.jwks_ca_file,
            folder=folder,
        )
        if wanted not in self._made:
            self._made[wanted] = self._make(wanted)
        return self._made[wanted]

    async def settle(self, issuers: Iterable[TrustedIssuer]) -> None:
        """After a reload: close the sets that none of these issuers uses, and forget them."""
        used = {id(issuer.keys) for issuer in issuers}
        gone = [wanted for wanted, made in self._made.items() if id(made) not in used]
        for made in [self._made.pop(wanted) for wanted in gone]:
            await made.close()

    @staticmethod
    def _make(wanted: _Remote) -> RemoteKeySet:
        publisher = wanted.publisher
        return RemoteKeySet(
            publisher,
            _LazyFetcher(wanted.destinations, wanted.ca_file),
            Environment(now=time.monotonic, wall_clock=time.time, random=random.SystemRandom().random),
            timing=wanted.timing,
            saved=last_good_set(wanted.folder, wanted.workspace, publisher.name, publisher.issuer or "", publisher.url),
        )


class _LazyFetcher(Struct, frozen=True):
    """`keys.fetching.Fetcher`, whose HTTP client is imported when something is fetched first."""

    destinations: Destinations
    ca_file: Path | None

    def __call__(self, url: str, etag: str | None = None) -> Awaitable[Document]:
        """The document; raises `FetchFailed`."""
        from keys.fetching import Fetcher  # noqa: PLC0415 - a gateway that fetches nothing needs no HTTP client

        return Fetcher(self.destinations, self.ca_file)(url, etag)


def trusted_issuers(settings: Settings, sources: KeySources | None = None) -> tuple[TrustedIssuer, ...]:
    """Every issuer of every workspace; `SettingsInvalid` names every one whose key material cannot be used.

    Files are read anew; remote sets come from `sources`, which a reload hands in again. Nothing is fetched here.
    """
    sources = sources or KeySources()
    issuers: list[TrustedIssuer] = []
    problems: list[str] = []
    secrets: dict[bytes, _Place] = {}
    for app_id, workspace in settings.workspaces.items():
        rules = id_rules(settings, app_id)
        for index, issuer in enumerate(workspace.issuers):
            at = place(("workspaces", app_id, "issuers", index))
            try:
                issuers.append(_trusted(app_id, issuer, rules, _source(settings, app_id, issuer, sources)))
            except (KeyMaterialError, ValueError) as error:
                problems.append(f"{at}: {error}")
                continue
            problems += _shared_secrets(issuers[-1], at, secrets)
    if problems:
        raise SettingsInvalid(problems)
    return tuple(issuers)


def create_assertions(settings: Settings) -> Assertions | None:
    """What signs assertions for upstreams, None where that is not configured; raises `SettingsInvalid`."""
    table = settings.assertion
    if table is None:
        return None
    try:
        keys = KeyringSource(_keyring(ASSERTION_KEYS, table.keyring), time.time, table.keyring)
    except KeyMaterialError as error:
        raise SettingsInvalid([f"assertion.keyring: {error}"]) from error
    return Assertions(keys, table.issuer, table.audience, time.time, os.urandom)


def id_rules(settings: Settings, app_id: str) -> IdRules:
    """A workspace's rules for ids."""
    workspace = settings.workspaces[app_id]
    return IdRules(
        extra_placeholders=frozenset(map(placeholder_spelling, workspace.extra_placeholders)),
        exempt_placeholders=workspace.exempt_placeholders,
        email_fallback=workspace.email_fallback,
    )


def resolution_policies(settings: Settings) -> dict[str, ResolutionPolicy]:
    """The choices of each workspace about who is who."""
    return {
        app_id: ResolutionPolicy(
            email_conflict=workspace.email_conflict,
            create_on_first_sight=workspace.first_sight is FirstSight.CREATE,
            restore_archived=workspace.archived_login is ArchivedLogin.RESTORE,
            alarm_emails=workspace.alarm_emails,
            alarm_window=workspace.alarm_window,
        )
        for app_id, workspace in settings.workspaces.items()
    }


def default_workspace(settings: Settings) -> str | None:
    """The workspace of a request that names none: the one that is set, else the only one."""
    only = next(iter(settings.workspaces)) if len(settings.workspaces) == 1 else None
    return settings.public.default_workspace or only


def enforcement_of(settings: Settings, counter: EnforcementCounter | None = None) -> Enforcement:
    """On which platforms of which workspaces verification is enforced."""
    modes = {app_id: workspace.enforcement.modes() for app_id, workspace in settings.workspaces.items()}
    return Enforcement(modes, counter, default_workspace=default_workspace(settings))


def claim_policy(issuer: IssuerSettings) -> ClaimPolicy:
    """An issuer's bounds.

    Profile `intercom` asks for no `exp` and no longest lifetime unless it is told to; a longest lifetime asks for
    `exp`, without which a token would live for ever.
    """
    intercom = issuer.profile is Profile.INTERCOM
    lifetime = issuer.insecure_max_lifetime or issuer.max_lifetime or (None if intercom else LONGEST_LIFETIME)
    wanted = issuer.require_exp or issuer.max_lifetime is not None or not intercom
    return ClaimPolicy(
        require_exp=wanted and not issuer.insecure_no_exp,
        leeway=issuer.insecure_leeway or issuer.leeway,
        max_lifetime=None if lifetime == "unlimited" else lifetime,
        issuer=issuer.issuer,
        audience=issuer.audience,
        session_duration=issuer.session_duration,
        # Of another issuer's claim with this name nobody knows what it means, or in which unit.
        session_claim=intercom or issuer.session_duration is not None,
    )


def _source(settings: Settings, app_id: str, issuer: IssuerSettings, sources: KeySources) -> KeySource:
    if issuer.jwks_url is not None or issuer.discovery:
        return sources.remote(app_id, issuer, settings.keys.folder)
    if issuer.keyring is not None:
        return KeyringSource(_keyring(issuer.name, issuer.keyring), time.time, issuer.keyring)
    return KeySet(_keys(issuer))


def _trusted(app_id: str, issuer: IssuerSettings, rules: IdRules, keys: KeySource) -> TrustedIssuer:
    intercom = issuer.profile is Profile.INTERCOM
    authoritative = issuer.email_authoritative
    return TrustedIssuer(
        name=issuer.name,
        workspace=app_id,
        algorithms=issuer.algorithms,
        keys=keys,
        policy=claim_policy(issuer),
        email_authoritative=intercom if authoritative is None else authoritative,
        rules=rules,
        issuer=issuer.issuer,
        user_id_claim=issuer.user_id_claim,
        custom_attributes=issuer.custom_attributes,
        ignores_iss=intercom,
        user_hash=issuer.user_hash,
    )


class _Place(Struct, frozen=True):
    """Where a secret stands."""

    workspace: str
    at: str
    key: VerificationKey


def _shared_secrets(issuer: TrustedIssuer, at: str, seen: dict[bytes, _Place]) -> Iterator[str]:
    """What is wrong with the secrets of an issuer beside those that were `seen`, by their SHA-256; adds its own.

    A Messenger token names neither a workspace nor a platform, so a secret that has two of them keeps none apart (B21).
    """
    for key in issuer.keys.keys:
        if key.kind != "oct":
            continue
        other = seen.setdefault(hashlib.sha256(key.material).digest(), _Place(issuer.workspace, at, key))
        same = f"{at}: its secret {key.kid} is the secret {other.key.kid} of {other.at}"
        if other.workspace != issuer.workspace:
            yield f"{same}: a token of one workspace would be good in the other"
        elif other.key.platforms != key.platforms:
            yield f"{same}, which is enabled for other platforms"


def _keyring(name: str, path: Path) -> Keyring:
    """The keyring of a file, be it empty: its last key may have been removed because it leaked.

    Raises `KeyMaterialError`, with the remedy when there is no such file.
    """
    if not path.exists():
        raise KeyMaterialError(f"{path}: there is no keyring yet; `gateway keys generate {name}` makes its first key")
    return load_keyring(path)


def _keys(issuer: IssuerSettings) -> Iterator[VerificationKey]:
    for secret in issuer.secrets:
        yield key_from_secret(secret.text(), secret.id, issuer.algorithms, frozenset(secret.platforms))
    if issuer.jwks_file is not None:
        yield from load_jwks_file(issuer.jwks_file)
    for pem in issuer.pem_files:
        yield load_pem_file(pem.file, pem.id)
