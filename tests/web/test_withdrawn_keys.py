"""A key that is withdrawn takes with it what is remembered of its tokens, whenever it goes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contacts.database.stores import store_for
from gateway.contacts.resolver import ResolutionPolicy, Resolver
from gateway.errors import Code, Refusal
from gateway.identity.jose import verify_signature
from gateway.identity.verifier import TokenVerifier
from gateway.web.authentication import Authenticator
from gateway.web.standing import Standing
from keys.files import write_private
from keys.keyring import Keyring, encode_keyring, load_keyring
from keys.keyring_source import KeyringSource
from tests.contacts.people import Clock
from tests.contacts.records import NOW, WORKSPACE
from tests.identity.test_verifier import messenger_signer, trusted
from tests.keys.test_keyring import secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Leak:
    """A gateway with two secrets in a keyring: the one that leaked, and one that stays."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.path = folder / "keyring.json"
        self.store = store_for(f"sqlite:///{folder / 'contacts.db'}")
        signer = messenger_signer(kid="leaked")
        self.token = signer.token(claims={"iat": NOW, "exp": NOW + 600})
        self.leaked = secret("leaked", signer.key.decode())
        self.write(self.leaked, secret("stays"))
        source = KeyringSource(load_keyring(self.path), self.clock, self.path)
        self.authenticator = Authenticator(
            verifier=TokenVerifier([trusted(signer, name="messenger", keys=source)], self.clock),
            resolver=Resolver(self.store, {WORKSPACE: ResolutionPolicy()}, self.clock, os.urandom),
            store=self.store,
            clock=self.clock,
            generation=b"1",
        )

    def write(self, *secrets: Any) -> None:
        write_private(self.path, encode_keyring(Keyring(1, secrets)))

    def retire(self) -> None:
        """`gateway keys retire leaked --now`, and the second in which every process looks."""
        self.write(secret("stays"))
        self.clock.now += 1


@pytest.fixture
async def leak(tmp_path: Path) -> AsyncIterator[Leak]:
    made = Leak(tmp_path)
    await made.store.migrate()
    await made.authenticator.open()
    yield made
    await made.authenticator.close()


@pytest.fixture
def retired_while_it_verifies(leak: Leak, monkeypatch: pytest.MonkeyPatch) -> None:
    """The leaked key goes between the look-up of it and the answer of the signature."""

    def meanwhile(*arguments: Any) -> Any:
        leak.retire()
        return verify_signature(*arguments)

    monkeypatch.setattr("gateway.identity.verifier.verify_signature", meanwhile)


@pytest.mark.usefixtures("retired_while_it_verifies")
async def test_a_leaked_key_that_goes_while_it_verifies(leak: Leak) -> None:
    """Who floods a gateway with tokens of a leaked key has one under way when it goes: that one is not remembered."""
    await leak.authenticator.authenticate(leak.token, WORKSPACE)  # it was good when the key was looked for
    for _ in range(2):
        with pytest.raises(Refusal) as refused:
            await leak.authenticator.authenticate(leak.token, WORKSPACE)
        assert refused.value.code is Code.KID_UNKNOWN


async def test_a_stream_whose_key_goes_while_it_verifies(leak: Leak, request: pytest.FixtureRequest) -> None:
    """The same for a stream or a socket that stands: the next look finds that its key went."""
    authenticated = await leak.authenticator.authenticate(leak.token, WORKSPACE)
    standing = Standing(leak.authenticator, leak.token, WORKSPACE, None, authenticated.identity.contact.id)
    request.getfixturevalue("retired_while_it_verifies")
    await standing.ask()
    assert not standing.unchanged
    with pytest.raises(Refusal) as refused:
        await standing.ask()
    assert refused.value.code is Code.KID_UNKNOWN
