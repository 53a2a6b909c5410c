"""With what, and in whose name, the command line signs tokens. Never for production."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from gateway.cli.output import CommandFailed
from gateway.settings import Profile
from keys.files import read_secret_file
from keys.jwk import signing_key_from_pem, signing_key_from_secret
from keys.keyring import load_keyring

if TYPE_CHECKING:
    from gateway.settings import IssuerSettings, Settings
    from keys.jwk import SigningKey
    from keys.keyring import Keyring


def signing_issuer(
    settings: Settings,
    workspace: str,
    *,
    name: str | None = None,
    algorithm: str | None = None,
    secret_id: str | None = None,
) -> tuple[IssuerSettings, SigningKey]:
    """The first issuer that fits what was asked for, and its key; `CommandFailed` names what does not fit."""
    issuers = settings.workspaces[workspace].issuers
    fitting = [issuer for issuer in issuers if name in (None, issuer.name)]
    if not fitting:
        raise CommandFailed(
            f"the workspace {workspace} has no issuer {name}",
            hint=f"--issuer with one of {', '.join(issuer.name for issuer in issuers)}",
        )
    if algorithm is not None:
        listing = [issuer for issuer in fitting if algorithm in issuer.algorithms]
        fitting = _those(fitting, listing, f"lists {algorithm}")
    if secret_id is not None:
        having = [issuer for issuer in fitting if secret_id in _ids(issuer)]
        fitting = _those(fitting, having, f"has a secret {secret_id}")
    able = [issuer for issuer in fitting if issuer.keyring or issuer.secrets or issuer.signing_key_file]
    fitting = _those(fitting, able, "has a keyring, a secret or a signing_key_file to sign with")
    allowed = [issuer for issuer in fitting if not issuer.production]
    if not allowed:
        raise CommandFailed(
            f"the issuer {fitting[0].name} is marked production: its keys sign no test tokens",
            hint="use development mode, or an issuer of its own for tests",
        )
    return allowed[0], _key_of(allowed[0], algorithm, secret_id)


def token_claims(issuer: IssuerSettings, *, user_id: str | None, email: str | None) -> dict[str, Any]:
    """The claims that make a token acceptable for an issuer: who it is for and, where it is due, `iss` and `aud`."""
    claims: dict[str, Any] = {}
    if user_id is not None:
        claims[issuer.user_id_claim] = user_id
    if email is not None:
        claims["email"] = email
    if issuer.profile is Profile.OIDC:
        claims["iss"] = issuer.issuer
    if issuer.audience:
        claims["aud"] = issuer.audience[0]
    return claims


def _ids(issuer: IssuerSettings) -> set[str]:
    """What the keys of an issuer are called that one can choose among."""
    if issuer.keyring is not None and issuer.keyring.exists():
        return {entry.kid for entry in load_keyring(issuer.keyring).published(time.time())}
    return {secret.id for secret in issuer.secrets}


def _key_of(issuer: IssuerSettings, algorithm: str | None, secret_id: str | None) -> SigningKey:
    if issuer.keyring is not None:
        return _key_of_keyring(issuer, load_keyring(issuer.keyring), algorithm, secret_id)
    algorithm = algorithm or issuer.algorithms[0]
    if issuer.signing_key_file is not None:
        return signing_key_from_pem(read_secret_file(issuer.signing_key_file).encode(), algorithm)
    secret = next(secret for secret in issuer.secrets if secret_id in (None, secret.id))
    return signing_key_from_secret(secret.text(), secret.id, algorithm)


def _key_of_keyring(issuer: IssuerSettings, keyring: Keyring, algorithm: str | None, kid: str | None) -> SigningKey:
    """The key that was named, else the one that signs."""
    entry = keyring.entry(kid) if kid is not None else keyring.signing(time.time())
    if entry is None:
        raise CommandFailed(
            f"the issuer {issuer.name} has no key that signs now",
            hint=f"`gateway keys list` shows what its keys do, `gateway keys generate {issuer.name}` makes one",
        )
    if algorithm not in {None, entry.alg}:
        raise CommandFailed(f"the key {entry.kid} of the issuer {issuer.name} signs with {entry.alg}")
    return entry.signing_key()


def _those(before: list[IssuerSettings], after: list[IssuerSettings], what: str) -> list[IssuerSettings]:
    if not after:
        raise CommandFailed(
            f"no issuer {what} among: {', '.join(issuer.name for issuer in before)}",
            hint="`gateway config show` shows what each of them has",
        )
    return after
