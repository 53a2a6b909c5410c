"""With whom the command line makes broken tokens: an issuer of the configuration, as strictly as it is read there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.identity.crafting import Signer, signer_for
from gateway.settings import Profile
from gateway.trust import claim_policy, id_rules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.settings import IssuerSettings, Settings
    from keys.jwk import SigningKey


def crafting_signer(  # noqa: PLR0913, PLR0917 - what `signing_issuer` and `token_claims` give, and a time
    settings: Settings, workspace: str, issuer: IssuerSettings, key: SigningKey, claims: Mapping[str, Any], now: float
) -> Signer:
    """A signer in the name of an issuer of a workspace, whose unbroken tokens hold these claims."""
    others = (one for one in settings.workspaces[workspace].issuers if one is not issuer)
    return signer_for(
        key,
        now,
        claims,
        policy=claim_policy(issuer),
        rules=id_rules(settings, workspace),
        user_id_claim=issuer.user_id_claim,
        beside_secrets=any(one.profile is Profile.INTERCOM for one in others),
    )
