"""Who is let in stays let in, or does not: what is asked of streams and sockets that stand, and what an outage does."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from gateway.errors import Code, Outage
from gateway.identity.issuing import issue_token
from gateway.web.proxy.live import Live
from gateway.web.transport import Request
from tests.reloading.conftest import Folder, following
from tests.web.proxy.streaming import ENDINGS, LEEWAY, Stream, streaming_gateway
from tests.web.proxy.test_sockets import closed
from tests.web.test_outages import _rename

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from gateway.app import Gateway
    from gateway.contacts.contact import Contact
    from gateway.web.proxy.forwarder import Admitted
    from tests.reloading.conftest import Followed

ROUTE = '[[workspaces.acme.routes]]\nprefix = "/chat/"\nupstream = "http://127.0.0.1:9"'


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while Stream.opened:
        Stream.opened.pop().close()


def test_an_outage_ends_nothing_but_what_is_over(tmp_path: Path, postgres_server: str, postgres_database: str) -> None:
    """Without its database nothing is decided but that a token has ended; afterwards everything is, again."""
    with streaming_gateway(tmp_path, store_url=postgres_database, workers=2) as streaming:
        server = streaming.server
        token = server.token("stays")
        short = server.token("ends", ttl=20 - LEEWAY, iat=int(time.time()) - 120)
        events = streaming.streams()
        stream = Stream(server, token)
        events.send(b"data: before\n\n")
        assert stream.event() == b"data: before"
        clients = [streaming.socket(token) for _ in range(8)]
        ending = [streaming.socket(short) for _ in range(4)]
        name = urlsplit(postgres_database).path.strip("/")
        asyncio.run(_rename(postgres_server, name, f"{name}_gone"))
        try:
            assert {closed(client).code for client in ending} == {4401}  # type: ignore[union-attr]  # None fails, too
            assert server.login(token).code == "store_unavailable"
            events.send(b"data: meanwhile\n\n")
            assert stream.event() == b"data: meanwhile"
            for client in clients:
                client.send("still here")
                assert client.recv(timeout=60) == "still here"
        finally:
            asyncio.run(_rename(postgres_server, f"{name}_gone", name))
        while server.login(server.token("anybody")).status != 200:
            time.sleep(0.1)
        ENDINGS["logout"].does(streaming, token)
        assert {closed(client).code for client in clients} == {4401}  # type: ignore[union-attr]  # None fails, too
        assert stream.is_cut()


class Crowd:
    """Many who were let in by one gateway of this process, and whom of them it ended."""

    def __init__(self, followed: Followed, folder: Folder) -> None:
        self.gateway: Gateway = followed.gateway
        self.followed = followed
        self.folder = folder
        self.live = Live(lambda: self.gateway.decision.forwarder)
        self.tokens: list[bytes] = []
        self.ended: dict[int, Code] = {}

    async def admitted(self, token: bytes) -> Admitted:
        forwarder = self.gateway.decision.forwarder
        assert forwarder is not None
        fields = [(b"host", b"g"), (b"authorization", b"Bearer " + token)]
        request = Request(b"GET", b"/chat/one", b"", fields)
        return await forwarder.admit(request, forwarder.routes.all[0])

    async def add(self, token: bytes) -> Contact:
        """One more, with this token."""
        number = len(self.tokens)
        self.tokens.append(token)
        admitted = await self.admitted(token)
        forwarder = self.gateway.decision.forwarder
        assert forwarder is not None
        assert admitted.authenticated is not None
        self.live.add(number, admitted, forwarder.routes.all[0], lambda code: self.ended.update({number: code}))
        if self.live._looking is not None:
            self.live._looking.cancel()  # the test looks by itself
        return admitted.authenticated.identity.contact

    async def settle(self) -> None:
        """Let the store's changes be heard."""
        before = self.gateway.authenticator.resolver.revocations.of("acme").heard
        for _ in range(200):
            await asyncio.sleep(0.01)
            if self.gateway.authenticator.resolver.revocations.of("acme").heard != before:
                return


@asynccontextmanager
async def crowd(folder: Folder, people: int) -> AsyncIterator[Crowd]:
    folder.write(more=ROUTE)
    async with following(folder) as followed:
        one = Crowd(followed, folder)
        for number in range(people):
            await one.add(folder.token(f"person-{number}"))
        yield one


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


async def test_of_thousands_one_ends_and_others_have_their_turn(folder: Folder) -> None:
    """A look asks nothing where nothing was heard; it asks all where something was, and stalls nobody meanwhile."""
    async with crowd(folder, 2_000) as one:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        await one.live.look()
        assert all(entry.standing is not None and entry.standing.unchanged for entry in one.live._entries.values())
        await one.gateway.authenticator.revoke(one.tokens[1_234], "acme")
        await one.gateway.store.find_by_external_id("acme", "person-1")
        other = asyncio.create_task(others())
        for _ in range(100):
            await one.live.look()
            if one.ended:
                break
            await asyncio.sleep(0.01)
        other.cancel()
        assert one.ended == {1_234: Code.TOKEN_REVOKED}
        assert len(one.live._entries) == 1_999
        assert turns > 2_000 // 256


async def test_what_a_look_does_not_do(folder: Folder) -> None:
    """It makes nobody, restores nobody and writes no value of a token: the next request does, if somebody comes."""
    async with crowd(folder, 0) as one:
        contact = await one.add(folder.token("written", name="Signed"))
        gone = await one.add(folder.token("forgotten"))
        await one.live.look()

        async def change(transaction: Any) -> None:
            await transaction.update(_with(contact, name="Corrected", external_id="written"))
            await transaction.update(_with(gone, external_id="another"))

        await one.gateway.store.write(change)
        for _ in range(100):
            await one.live.look()
            if one.ended:
                break
            await asyncio.sleep(0.01)
        assert one.ended == {1: Code.CONTACT_UNKNOWN}
        found = await one.gateway.store.find("acme", contact.id)
        assert found is not None
        assert found.name == "Corrected"
        assert await one.gateway.store.find_by_external_id("acme", "forgotten") is None


def _with(contact: Contact, **changes: Any) -> Contact:
    from msgspec.structs import replace  # noqa: PLC0415 - of one helper

    return replace(contact, **changes)


async def test_a_fault_lets_nobody_stay(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw ends the one whom it befell, and the look goes on."""
    async with crowd(folder, 3) as one:
        resolver = one.gateway.authenticator.resolver
        find = resolver.find

        async def faulty(principal: Any) -> Contact:
            if principal.user_id == "person-1":
                raise ZeroDivisionError
            return await find(principal)

        monkeypatch.setattr(resolver, "find", faulty)
        await one.live.look()
        assert set(one.ended) == {1}
        assert all(entry.standing is not None and entry.standing.unchanged for entry in one.live._entries.values())


async def test_keys_that_are_out_keep_nobody_else_from_being_asked(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An issuer whose keys are nowhere leaves its people in; another one's revocation acts all the same."""
    async with crowd(folder, 3) as one:
        verifier = one.gateway.authenticator.verifier
        verify = verifier.verify

        async def without_keys(token: bytes, *rest: Any) -> Any:
            if token == one.tokens[0]:
                raise Outage(Code.KEYS_UNAVAILABLE, "on purpose")
            return await verify(token, *rest)

        monkeypatch.setattr(verifier, "verify", without_keys)
        await one.gateway.authenticator.revoke(one.tokens[2], "acme")
        for _ in range(100):
            await one.live.look()
            if one.ended:
                break
            await asyncio.sleep(0.01)
        assert one.ended == {2: Code.TOKEN_REVOKED}


async def test_a_configuration_without_routes_or_issuer_ends_all(folder: Folder) -> None:
    """And one with the same settings ends nothing."""
    async with crowd(folder, 3) as one:
        await one.live.look()
        folder.write(more=ROUTE + "\n# the same")
        await one.followed.reloader.look(asked=True)
        await one.live.look()
        assert one.ended == {}
        folder.secrets.clear()
        other = folder.add_secret("other")
        folder.write(more=ROUTE)
        await one.followed.reloader.look(asked=True)
        await one.live.look()
        assert set(one.ended) == {0, 1, 2}
        assert set(one.ended.values()) <= {Code.SIGNATURE_INVALID, Code.KID_UNKNOWN}
        await one.add(issue_token({"user_id": "late"}, other, ttl=600, now=time.time()).encode())
        folder.write()
        await one.followed.reloader.look(asked=True)
        await one.live.look()
        assert one.ended[3] is Code.ISSUER_UNKNOWN
