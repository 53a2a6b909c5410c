"""What the measurements run on: a store full of contacts, keys, tokens and configurations, all made afresh."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from gateway.contacts.contact import Contact, Role, mint_contact_id
from gateway.contacts.database.stores import store_for
from gateway.identity.issuing import issue_token
from gateway.identity.principal import Proof
from keys.jwk import SigningKey, generate_signing_key, signing_key_from_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.contacts.store import ContactTransaction

BATCH = 20_000


class Material(Struct, frozen=True):
    """One folder of measurement material with `contacts` known people."""

    folder: Path
    contacts: int
    keys: dict[str, SigningKey]

    def tokens(self, algorithm: str, count: int, *, first: int = 0, fresh: bool = False) -> Path:
        """A file of `count` tokens, one a line and none twice, for people from `first` on.

        `fresh` ones have an id that nobody has.
        """
        path = self.folder / f"{algorithm}-{self.contacts}-{first}-{count}{'-fresh' if fresh else ''}.tokens"
        if not path.exists():
            now = int(time.time())
            key = self.keys[algorithm]
            issuer = {} if algorithm == "HS256" else {"iss": f"https://{algorithm.lower()}.example", "aud": "bench"}
            step = max(1, self.contacts // count)
            with path.open("w") as file:
                for index in range(count):
                    number = first + index * step % self.contacts
                    user_id = f"new-{first}-{index}" if fresh else f"user-{number}"
                    claims = {
                        "user_id": user_id,
                        "email": f"{user_id}@example.com",
                        "iat": now,
                        "jti": f"{index}",
                        **issuer,
                    }
                    file.write(issue_token(claims, key, ttl=36_000, now=now) + "\n")
        return path

    def config(
        self, name: str, store_url: str, port: int, admin_port: int, *, lane: bool = True, more: str = ""
    ) -> Path:
        """A `gateway.toml` for this store and these ports; `more` are further tables."""
        lines = [
            'log_level = "warning"',
            f'[public]\nbind = "127.0.0.1:{port}"\nexpress_lane = {str(lane).lower()}',
            f'[admin]\nbind = "127.0.0.1:{admin_port}"',
            f'[store]\nurl = "{store_url}"',
            "[workspaces.bench]",
            '[[workspaces.bench.issuers]]\nname = "messenger"\nprofile = "intercom"',
            f'secrets = [{{ id = "bench", secret_file = "{self.folder / "secret"}" }}]',
        ]
        for algorithm in ("RS256", "ES256"):
            lines += [
                f'[[workspaces.bench.issuers]]\nname = "{algorithm.lower()}"\nprofile = "oidc"',
                f'issuer = "https://{algorithm.lower()}.example"\naudience = ["bench"]\nalgorithms = ["{algorithm}"]',
                f'user_id_claim = "user_id"\njwks_file = "{self.folder / (algorithm + ".jwks")}"',
                "email_authoritative = true",
            ]
        path = self.folder / f"{name}.toml"
        path.write_text("\n".join([*lines, more]) + "\n")
        return path


def make(folder: Path, contacts: int) -> Material:
    """Keys and secrets in a folder; the store is filled by `fill`."""
    secret = os.urandom(32).hex()
    (folder / "secret").write_text(secret)
    (folder / "secret").chmod(0o600)
    keys = {"HS256": signing_key_from_secret(secret, kid="bench")}
    for algorithm in ("RS256", "ES256"):
        keys[algorithm] = generate_signing_key(algorithm)
        (folder / f"{algorithm}.jwks").write_text(json.dumps({"keys": [keys[algorithm].public_jwk()]}))
    return Material(folder, contacts, keys)


def fill(store_url: str, contacts: int, progress: Callable[[str], None]) -> None:
    """Bring a store up to `contacts` people: `user-0` with `user-0@example.com`, and so on."""
    asyncio.run(_fill(store_url, contacts, progress))


async def _fill(store_url: str, contacts: int, progress: Callable[[str], None]) -> None:
    store = store_for(store_url)
    await store.migrate()
    await store.open()
    now = int(time.time())

    def batch(numbers: Iterable[int]) -> Callable[[ContactTransaction], object]:
        async def work(transaction: ContactTransaction) -> None:
            for number in numbers:
                await transaction.insert(
                    Contact(
                        workspace_id="bench",
                        id=mint_contact_id(now, os.urandom),
                        external_id=f"user-{number}",
                        role=Role.USER,
                        email=f"user-{number}@example.com",
                        email_proof=Proof.SIGNED,
                        created_at=now,
                        updated_at=now,
                    )
                )

        return work

    for first in range(0, contacts, BATCH):
        await store.write(batch(range(first, min(first + BATCH, contacts))))  # type: ignore[arg-type]
        progress(f"{min(first + BATCH, contacts):,} of {contacts:,} contacts")
    await store.close()
