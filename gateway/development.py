"""Development mode: a gateway that works at once, for one developer on one machine.

The folder (mode 0700) holds a messenger secret, the key of a local issuer with its public half, an access token and the
contacts. What is there is used again, so ids and tokens outlive a restart. It listens on loopback only.
"""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from pydantic import field_validator

from gateway.contacts.access_token import AccessToken, Scope, digest_of, mint_access_token_secret
from gateway.contacts.database.stores import store_for
from gateway.errors import SettingsInvalid
from gateway.settings import Settings, settings_from
from keys.files import read_secret_file, write_private
from keys.jwk import generate_signing_key, signing_key_from_pem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.contacts.store import ContactStore, ContactTransaction

WORKSPACE = "dev"
LOCAL_ISSUER = "http://127.0.0.1:8080"
LOCAL_AUDIENCE = "messenger"


class DevelopmentSettings(Settings):
    """Settings whose listeners cannot be reached from elsewhere."""

    @field_validator("public", "admin")
    @classmethod
    def _loopback(cls, value: Any) -> Any:
        if not _is_loopback(value.bind):
            raise ValueError(
                "development mode listens on loopback only; `gateway init` writes a configuration for more"
            )
        return value


class DevelopmentFolder(Struct, frozen=True):
    """The files of development mode."""

    path: Path

    @property
    def messenger_secret(self) -> Path:
        """The shared secret of the issuer `messenger`."""
        return self.path / "messenger-secret"

    @property
    def local_key(self) -> Path:
        """The private ES256 key of the issuer `local`."""
        return self.path / "local-key.pem"

    @property
    def local_jwks(self) -> Path:
        """Its public half."""
        return self.path / "local-jwks.json"

    @property
    def access_token(self) -> Path:
        """The secret of an access token for the admin listener."""
        return self.path / "access-token"

    @property
    def contacts(self) -> Path:
        """The store."""
        return self.path / "contacts.db"

    @property
    def exists(self) -> bool:
        """Whether development mode has been here."""
        return self.messenger_secret.exists() and self.local_key.exists() and self.local_jwks.exists()

    def settings(self, environ: Mapping[str, str], overrides: Mapping[str, Any] | None = None) -> Settings:
        """The settings of development mode; `SettingsInvalid` when a listener would be reachable from elsewhere."""
        return settings_from(self.tables(), environ, overrides, DevelopmentSettings)

    def prepare(self, random_bytes: Callable[[int], bytes]) -> None:
        """Make what is missing, all of it for its owner alone; `SettingsInvalid` when others can enter the folder.

        A folder that stands already is somebody's: its mode is not changed behind his back.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.path.stat().st_mode & 0o077:
            raise SettingsInvalid(
                [f"{self.path}: others can enter it; `chmod 700 {self.path}`, or start in a folder without one"]
            )
        if not self.messenger_secret.exists():
            write_private(self.messenger_secret, random_bytes(32).hex().encode() + b"\n")
        if not self.local_key.exists():
            write_private(self.local_key, generate_signing_key("ES256").private_pem())
        if not self.local_jwks.exists():
            key = signing_key_from_pem(self.local_key.read_bytes(), "ES256")
            write_private(self.local_jwks, json.dumps({"keys": [key.public_jwk()]}, indent=1).encode() + b"\n")

    async def prepare_store(self, url: str, random_bytes: Callable[[int], bytes], now: float) -> str:
        """Migrate the store and see that it knows the access token; return the token's secret."""
        store = store_for(url)
        await store.migrate()
        await store.open()
        try:
            return await self._standing_access_token(store, random_bytes, now)
        finally:
            await store.close()

    async def _standing_access_token(
        self, store: ContactStore, random_bytes: Callable[[int], bytes], now: float
    ) -> str:
        secret = read_secret_file(self.access_token) if self.access_token.exists() else ""
        known = await store.find_access_token(digest_of(secret))
        if known is not None and known.revoked_at is None:
            return secret
        if known is not None or not secret:
            secret = mint_access_token_secret(random_bytes)
            write_private(self.access_token, secret.encode() + b"\n")
        token = AccessToken(
            id=random_bytes(8).hex(),
            workspace_id=WORKSPACE,
            name="development",
            scopes=frozenset(Scope),
            created_at=int(now),
        )

        async def insert(transaction: ContactTransaction) -> None:
            await transaction.insert_access_token(token, digest_of(secret))

        await store.write(insert)
        return secret

    def tables(self) -> dict[str, Any]:
        """What a `gateway.toml` of development mode would hold."""
        return {
            "public": {"default_workspace": WORKSPACE},
            "store": {"url": f"sqlite:///{self.contacts}"},
            "log_level": "warning",
            "workspaces": {
                WORKSPACE: {
                    "issuers": [
                        {
                            "name": "messenger",
                            "profile": "intercom",
                            "secrets": [{"id": "dev", "secret_file": str(self.messenger_secret)}],
                        },
                        {
                            "name": "local",
                            "profile": "oidc",
                            "issuer": LOCAL_ISSUER,
                            "audience": [LOCAL_AUDIENCE],
                            "algorithms": ["ES256"],
                            "jwks_file": str(self.local_jwks),
                            "signing_key_file": str(self.local_key),
                            "user_id_claim": "user_id",
                            "email_authoritative": True,
                        },
                    ]
                }
            },
        }


def _is_loopback(bind: str) -> bool:
    host = bind.rpartition(":")[0].strip("[]")
    return host == "localhost" or ipaddress.ip_address(host).is_loopback
