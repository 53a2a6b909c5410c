"""From settings to trust: the issuers of each workspace with their keys loaded, its rules for ids, its policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contacts.resolver import ResolutionPolicy
from gateway.errors import SettingsInvalid
from gateway.identity.claims import ClaimPolicy
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.placeholders import placeholder_spelling
from gateway.identity.principal import IdRules
from gateway.settings import LONGEST_LIFETIME, ArchivedLogin, FirstSight, Profile, place
from keys.errors import KeyMaterialError
from keys.files import load_jwks_file, load_pem_file
from keys.jwk import key_from_secret
from keys.keyset import KeySet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.settings import IssuerSettings, Settings
    from keys.jwk import VerificationKey


def trusted_issuers(settings: Settings) -> tuple[TrustedIssuer, ...]:
    """Every issuer of every workspace; `SettingsInvalid` names every one whose key material cannot be used."""
    issuers: list[TrustedIssuer] = []
    problems: list[str] = []
    for app_id, workspace in settings.workspaces.items():
        rules = id_rules(settings, app_id)
        for index, issuer in enumerate(workspace.issuers):
            try:
                issuers.append(_trusted(app_id, issuer, rules))
            except (KeyMaterialError, ValueError) as error:
                problems.append(f"{place(('workspaces', app_id, 'issuers', index))}: {error}")
    if problems:
        raise SettingsInvalid(problems)
    return tuple(issuers)


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
    )


def _trusted(app_id: str, issuer: IssuerSettings, rules: IdRules) -> TrustedIssuer:
    intercom = issuer.profile is Profile.INTERCOM
    authoritative = issuer.email_authoritative
    return TrustedIssuer(
        name=issuer.name,
        workspace=app_id,
        algorithms=issuer.algorithms,
        keys=KeySet(_keys(issuer)),
        policy=claim_policy(issuer),
        email_authoritative=intercom if authoritative is None else authoritative,
        rules=rules,
        issuer=issuer.issuer,
        user_id_claim=issuer.user_id_claim,
        custom_attributes=issuer.custom_attributes,
        ignores_iss=intercom,
        user_hash=issuer.user_hash,
    )


def _keys(issuer: IssuerSettings) -> Iterator[VerificationKey]:
    for secret in issuer.secrets:
        yield key_from_secret(secret.text(), secret.id, issuer.algorithms, frozenset(secret.platforms))
    if issuer.jwks_file is not None:
        yield from load_jwks_file(issuer.jwks_file)
    for pem in issuer.pem_files:
        yield load_pem_file(pem.file, pem.id)
