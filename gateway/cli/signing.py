"""With what, and in whose name, the command line signs tokens. Never for production."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.cli.output import CommandFailed
from gateway.settings import Profile
from keys.files import read_secret_file
from keys.jwk import signing_key_from_pem, signing_key_from_secret

if TYPE_CHECKING:
    from gateway.settings import IssuerSettings, Settings
    from keys.jwk import SigningKey


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
        having = [issuer for issuer in fitting if secret_id in {secret.id for secret in issuer.secrets}]
        fitting = _those(fitting, having, f"has a secret {secret_id}")
    able = [issuer for issuer in fitting if issuer.secrets or issuer.signing_key_file]
    fitting = _those(fitting, able, "has a secret or a signing_key_file to sign with")
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


def _key_of(issuer: IssuerSettings, algorithm: str | None, secret_id: str | None) -> SigningKey:
    algorithm = algorithm or issuer.algorithms[0]
    if issuer.signing_key_file is not None:
        return signing_key_from_pem(read_secret_file(issuer.signing_key_file).encode(), algorithm)
    secret = next(secret for secret in issuer.secrets if secret_id in (None, secret.id))
    return signing_key_from_secret(secret.text(), secret.id, algorithm)


def _those(before: list[IssuerSettings], after: list[IssuerSettings], what: str) -> list[IssuerSettings]:
    if not after:
        raise CommandFailed(
            f"no issuer {what} among: {', '.join(issuer.name for issuer in before)}",
            hint="`gateway config show` shows what each of them has",
        )
    return after
