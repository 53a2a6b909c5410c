"""Development mode: a gateway that works at once, for one developer on one machine.

The folder (mode 0700) holds the keyrings of a messenger, of a local issuer and of the assertions for upstreams, an
access token and the contacts. What is there is used again, so ids and tokens outlive a restart. It listens on loopback
only.

The local issuer's `iss` is the address that is served, for its keys stand there. The folder remembers this address, so
that a command in another terminal speaks of the same issuer.
"""

from __future__ import annotations

import ipaddress
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from pydantic import field_validator

from gateway.contacts.access_token import AccessToken, Scope, digest_of, mint_access_token_secret
from gateway.contacts.database.stores import store_for
from gateway.errors import SettingsInvalid
from gateway.settings import Settings, settings_from
from gateway.settings.model import PublicSettings
from keys.files import make_private_folder, read_secret_file, write_private
from keys.keyring_file import change_keyring
from keys.rotation import added, new_entry, new_material

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.contacts.store import ContactStore, ContactTransaction
    from keys.keyring import Keyring

WORKSPACE = "dev"
LOCAL_AUDIENCE = "messenger"
ASSERTION_AUDIENCE = "upstream"
_MESSENGER_KID = "dev"


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
    """The files of development mode; `bind` is where its public listener is, unless a setting says otherwise."""

    path: Path
    bind: str = PublicSettings().bind

    @property
    def messenger_keyring(self) -> Path:
        """The shared secrets of the issuer `messenger`."""
        return self.path / "messenger-keyring.json"

    @property
    def local_keyring(self) -> Path:
        """The key pairs of the issuer `local`."""
        return self.path / "local-keyring.json"

    @property
    def assertion_keyring(self) -> Path:
        """The key pairs that sign assertions."""
        return self.path / "assertion-keyring.json"

    @property
    def address(self) -> Path:
        """Where the public listener was bound last."""
        return self.path / "address"

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
        return self.messenger_keyring.exists() and self.local_keyring.exists()

    def as_served(self) -> DevelopmentFolder:
        """The same folder, with the public listener where it was bound last."""
        return DevelopmentFolder(self.path, read_secret_file(self.address)) if self.address.exists() else self

    def remember(self, bind: str) -> None:
        """Keep where the public listener is bound."""
        if self.as_served().bind != bind:
            write_private(self.address, bind.encode() + b"\n")

    def settings(self, environ: Mapping[str, str], overrides: Mapping[str, Any] | None = None) -> Settings:
        """The settings of development mode; `SettingsInvalid` when a listener would be reachable from elsewhere."""
        settings = settings_from(self.tables(), environ, overrides, DevelopmentSettings)
        bind = settings.public.bind
        if bind == self.bind:
            return settings
        return DevelopmentFolder(self.path, bind).settings(environ, overrides)

    def prepare(self, random_bytes: Callable[[int], bytes], clock: Callable[[], float] = time.time) -> None:
        """Make what is missing, all of it for its owner alone; `SettingsInvalid` when others can enter the folder.

        A folder that stands already is somebody's: its mode is not changed behind his back. The secret and the key of
        earlier versions, which lay in files of their own, go into the keyrings, so that their tokens stay good.
        """
        make_private_folder(self.path)
        if self.path.stat().st_mode & 0o077:
            raise SettingsInvalid(
                [f"{self.path}: others can enter it; `chmod 700 {self.path}`, or start in a folder without one"]
            )
        before = self.path / "messenger-secret"
        self._make(self.messenger_keyring, "HS256", _MESSENGER_KID, before, random_bytes, int(clock()))
        self._make(self.local_keyring, "ES256", None, self.path / "local-key.pem", random_bytes, int(clock()))
        self._make(self.assertion_keyring, "ES256", None, None, random_bytes, int(clock()))
        (self.path / "local-jwks.json").unlink(missing_ok=True)

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

    @staticmethod
    def _make(  # noqa: PLR0913, PLR0917 - what a first key is made of
        path: Path, algorithm: str, kid: str | None, before: Path | None, random_bytes: Callable[[int], bytes], now: int
    ) -> None:
        """Make a keyring, with the key of an earlier version or a new one; drop the earlier file once it is in."""
        earlier = before if before is not None and before.exists() else None
        if not path.exists():

            def first(keyring: Keyring) -> Keyring:
                if keyring.keys:  # somebody else came first
                    return keyring
                material = read_secret_file(earlier) if earlier else new_material(algorithm, random_bytes)
                return added(keyring, new_entry(keyring, algorithm, material, now, kid=kid), now)

            change_keyring(path, first)
        if earlier:
            earlier.unlink(missing_ok=True)

    def tables(self) -> dict[str, Any]:
        """What a `gateway.toml` of development mode would hold."""
        return {
            "public": {"bind": self.bind, "default_workspace": WORKSPACE},
            "store": {"url": f"sqlite:///{self.contacts}"},
            "log_level": "warning",
            "assertion": {
                "keyring": str(self.assertion_keyring),
                "issuer": f"http://{self.bind}/assertions",
                "audience": ASSERTION_AUDIENCE,
            },
            "workspaces": {
                WORKSPACE: {
                    "issuers": [
                        {
                            "name": "messenger",
                            "profile": "intercom",
                            "keyring": str(self.messenger_keyring),
                        },
                        {
                            "name": "local",
                            "profile": "oidc",
                            "issuer": f"http://{self.bind}",
                            "audience": [LOCAL_AUDIENCE],
                            "algorithms": ["ES256"],
                            "keyring": str(self.local_keyring),
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
