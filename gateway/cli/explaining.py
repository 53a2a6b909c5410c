"""What `token inspect` explains a token with: a configuration and its store, or a key set alone."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from gateway.contacts.database.stores import store_for
from gateway.contacts.explaining import Explained, RehearsedStore, explain, rehearse
from gateway.contacts.resolver import Resolver
from gateway.identity.claims import ClaimPolicy
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.verifier import TokenVerifier
from gateway.trust import resolution_policies, trusted_issuers
from keys.errors import KeyMaterialError
from keys.files import load_jwks_file
from keys.keyset import KeySet

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.contacts.resolver import Identity
    from gateway.identity.platforms import Platform
    from gateway.identity.principal import Principal
    from gateway.settings import Settings


async def explain_as_configured(
    token: bytes, workspace: str, settings: Settings, platform: Platform | None = None
) -> Explained:
    """Explain a token as the gateway of these settings would judge it on a platform, and whose contact it leads to.

    The store is opened only for a token that says who it is.
    """

    async def resolve(principal: Principal, presented: bytes) -> Identity:
        store = store_for(settings.store.url)
        await store.open()
        try:
            rehearsed: Any = RehearsedStore(store)  # as far as a resolver can see, the store
            resolver = Resolver(rehearsed, resolution_policies(settings), time.time, os.urandom)
            return await rehearse(resolver, principal, presented)
        finally:
            await store.close()

    verifier = TokenVerifier(trusted_issuers(settings), time.time)
    return await explain(token, workspace, verifier, resolve, now=time.time(), platform=platform)


async def explain_offline(token: bytes, jwks: Path, user_id_claim: str) -> Explained:
    """Explain a token by a key set alone: no `iss`, no `aud`, nobody's contact; raises `KeyMaterialError`."""
    keys = load_jwks_file(jwks)
    if not keys:
        raise KeyMaterialError(f"{jwks}: holds no key")
    issuer = TrustedIssuer(
        name=jwks.name,
        workspace="offline",
        algorithms=tuple(sorted(set().union(*(key.algorithms for key in keys)))),
        keys=KeySet(keys),
        policy=ClaimPolicy(),
        email_authoritative=False,
        user_id_claim=user_id_claim,
        ignores_iss=True,
    )
    return await explain(token, issuer.workspace, TokenVerifier([issuer], time.time), None, now=time.time())
