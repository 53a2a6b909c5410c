"""What a good configuration changes, when, and what becomes of requests on their way."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from typing import TYPE_CHECKING

from gateway.errors import Code
from gateway.web.transport import Request
from keys.jwk import generate_signing_key, signing_key_from_secret
from tests.awaited import at_once
from tests.reloading.conftest import HOST, Folder, Followed, Logged, following

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from starlette.types import Message, Scope

    from gateway.contacts.store import ContactTransaction


class TestTakingOver:
    """What a good configuration changes, and when."""

    async def test_a_secret_is_added_and_removed(self, folder: Folder, followed: Followed, logged: Logged) -> None:
        """Both are told by id; a removed secret's tokens are refused at the next request, remembered ones too (B09)."""
        old = folder.secrets["first"]
        remembered = folder.token("ada", old)
        assert [await followed.status(remembered) for _ in range(3)] == [200] * 3
        new = folder.add_secret("second")
        assert await followed.code(folder.token("ada", new)) == Code.KID_UNKNOWN
        folder.write()
        await followed.reloader.look()
        assert [await followed.status(folder.token("ada", key)) for key in (old, new)] == [200, 200]
        assert [await followed.status(remembered) for _ in range(3)] == [200] * 3
        del folder.secrets["first"]
        folder.write()
        await followed.reloader.look()
        assert await followed.code(remembered) == Code.KID_UNKNOWN
        assert await followed.status(folder.token("ada", new)) == 200
        assert [line.get("keys_added") for line in logged.lines("reloaded")] == [["acme/messenger/second"], None]
        assert logged.lines("reloaded")[1]["keys_removed"] == ["acme/messenger/first"]
        assert all(line["changed"] == ["workspaces.acme"] for line in logged.lines("reloaded"))

    async def test_a_secret_is_replaced_in_its_file(self, folder: Folder, followed: Followed, logged: Logged) -> None:
        """The configuration stays as it is; the file alone says something new."""
        before = folder.token("ada")
        assert await followed.status(before) == 200
        folder.add_secret("first")
        await followed.reloader.look()
        assert await followed.code(before) == Code.SIGNATURE_INVALID
        assert await followed.status(folder.token("ada")) == 200
        assert logged.lines()[-1]["keys_replaced"] == ["acme/messenger/first"]

    async def test_a_jwks_file_is_replaced(self, folder: Folder, followed: Followed) -> None:
        """Its old key is refused, its new one verifies."""
        issuer = """
[[workspaces.acme.issuers]]
name = "login"
issuer = "https://login.example"
audience = "messenger"
algorithms = "ES256"
user_id_claim = "user_id"
jwks_file = "jwks.json"
"""
        keys = [generate_signing_key("ES256") for _ in range(2)]
        claims = {"iss": "https://login.example", "aud": "messenger"}
        tokens = [folder.token("ada", key, **claims) for key in keys]
        folder.replace(json.dumps({"keys": [keys[0].public_jwk()]}), folder.path / "jwks.json")
        folder.write(more=issuer)
        await followed.reloader.look()
        assert [await followed.status(token) for token in tokens] == [200, 401]
        folder.replace(json.dumps({"keys": [keys[1].public_jwk()]}), folder.path / "jwks.json")
        await followed.reloader.look()
        assert [await followed.status(token) for token in tokens] == [401, 200]

    async def test_a_workspace_comes_and_goes(self, folder: Folder, followed: Followed) -> None:
        """With its addresses and its remembered answers; the other one stands."""
        other = """
[workspaces.other]
[[workspaces.other.issuers]]
name = "messenger"
profile = "intercom"
secrets = [{ id = "first", secret_file = "other" }]
"""
        (folder.path / "other").write_text(os.urandom(32).hex())
        theirs = signing_key_from_secret((folder.path / "other").read_text(), kid="first")
        asked = ((folder.token("ada", theirs), b"/auth/other"), (folder.token("ada"), b"/auth"))
        folder.write(top='[public]\ndefault_workspace = "acme"', more=other)
        assert [await followed.status(*one) for one in asked] == [404, 200]
        await followed.reloader.look()
        assert [await followed.status(*one) for one in asked * 2] == [200] * 4
        folder.write()
        await followed.reloader.look()
        assert [await followed.status(*one) for one in asked] == [404, 200]

    async def test_policies_are_raised_and_lowered(self, folder: Folder, followed: Followed) -> None:
        """Also for tokens that are remembered, and contacts that are known."""
        token = folder.token("ada")
        assert await followed.status(token) == 200
        folder.write(issuer="max_lifetime = 60")
        await followed.reloader.look()
        assert await followed.code(token) == Code.LIFETIME_TOO_LONG
        folder.write(workspace='first_sight = "reject"')
        await followed.reloader.look()
        assert await followed.status(token) == 200
        assert await followed.code(folder.token("somebody new")) == Code.CONTACT_UNKNOWN
        folder.write(workspace='extra_placeholders = ["ada"]')
        await followed.reloader.look()
        assert await followed.code(token) == Code.USER_ID_PLACEHOLDER
        folder.write()
        await followed.reloader.look()
        assert [await followed.status(one) for one in (token, folder.token("somebody new"))] == [200, 200]

    async def test_the_admin_listener_changes_too(self, folder: Folder, followed: Followed) -> None:
        """The application behind it is another one, and the server holds the same object as before."""
        held, behind = followed.gateway.admin, followed.gateway.configured.admin
        folder.write(top="[admin]\nrequests_per_minute = 60")
        await followed.reloader.look()
        assert followed.gateway.admin is held
        assert held.app is followed.gateway.configured.admin is not behind

    async def test_a_header_gets_another_name(self, folder: Folder, followed: Followed) -> None:
        """The endings are those of the new configuration, also for an answer that was remembered."""
        token = folder.token("ada")
        assert b"x-user-id" in dict((await followed.answer(token, b"/auth")).headers)
        folder.write(top='[public.headers]\nuser_id = "X-Person"')
        await followed.reloader.look()
        headers = dict((await followed.answer(token, b"/auth")).headers)
        assert headers[b"x-person"] == b"ada"
        assert b"x-user-id" not in headers

    async def test_an_environment_twin_is_followed(self, folder: Folder) -> None:
        """`..._SECRET_FILE` of the environment names a file that is watched as if the configuration named it."""
        folder.write()
        twin = folder.path / "twin"
        folder.replace("t" + os.urandom(32).hex(), twin)
        environ = {"GATEWAY_WORKSPACES__ACME__ISSUERS__0__SECRETS__0__SECRET_FILE": str(twin)}
        async with following(folder, environ) as followed:
            token = folder.token("ada")
            assert await followed.status(token) == 401
            folder.replace(folder.secret_file("first").read_text(), twin)
            await followed.reloader.look()
            assert await followed.status(token) == 200

    async def test_the_log_becomes_as_talkative_as_it_says(
        self, folder: Folder, followed: Followed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`log_level` needs no restart."""
        levels: list[str] = []
        monkeypatch.setattr("gateway.reloading.configure_logging", levels.append)  # else pytest's own handlers go
        folder.write(top='log_level = "debug"')
        await followed.reloader.look()
        await followed.reloader.look(asked=True)
        assert levels == ["debug"]

    async def test_nothing_happens_while_nothing_changes(
        self, followed: Followed, folder: Folder, logged: Logged
    ) -> None:
        """Looking reads nothing; being asked reads, whatever changed."""
        configured = followed.gateway.configured
        for _ in range(3):
            await followed.reloader.look()
        assert followed.gateway.configured is configured
        await followed.reloader.look(asked=True)
        assert followed.gateway.configured is not configured
        assert [line["event"] for line in logged.lines()] == ["configuration reloaded"]
        assert await followed.status(folder.token("ada")) == 200


class TestInFlight:
    """Requests that a reload meets on their way."""

    async def test_a_decision_that_began_ends_as_it_began(self, folder: Folder, followed: Followed) -> None:
        """A first login waits for its contact to be written; its secret goes meanwhile, and the next request knows."""
        token, gate = folder.token("ada"), threading.Event()

        async def occupy(_transaction: ContactTransaction) -> None:
            gate.wait(timeout=60)

        occupied = asyncio.create_task(followed.gateway.store.write(occupy))
        login = asyncio.create_task(followed.status(token))
        await asyncio.sleep(0)
        folder.add_secret("second")
        del folder.secrets["first"]
        folder.write()
        await followed.gateway.take_over(folder.files().read())
        assert await followed.code(token) == Code.KID_UNKNOWN
        assert not login.done()
        gate.set()
        await occupied
        assert await login == 200
        assert await followed.code(token) == Code.KID_UNKNOWN

    async def test_a_request_is_decided_when_it_is_whole(self, folder: Folder, followed: Followed) -> None:
        """A body that comes byte by byte keeps no old key alive."""
        token = folder.token("ada")
        folder.add_secret("second")
        del folder.secrets["first"]
        folder.write()

        async def receive() -> Message:
            await followed.gateway.take_over(folder.files().read())
            return {"type": "http.request", "body": b"{}"}

        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [HOST, (b"content-type", b"application/json"), (b"content-length", b"2")]
        headers.append((b"authorization", b"Bearer " + token))
        scope: Scope = {"type": "http", "method": "POST", "path": "/messenger/login", "query_string": b""}
        await followed.gateway.public({**scope, "headers": headers}, receive, send)
        assert sent[0]["status"] == 401

    async def test_an_address_that_went_meanwhile_is_not_found(self, folder: Folder, followed: Followed) -> None:
        """A carrier let the request in by the old addresses; the new ones decide."""
        assert b"/auth/acme" in followed.gateway.decision.endings
        folder.replace(folder.config.read_text().replace("workspaces.acme", "workspaces.other"))
        await followed.gateway.take_over(folder.files().read())
        answer = await followed.answer(folder.token("ada"), b"/auth/acme")
        assert answer.status == 404
        assert json.loads(answer.body)["code"] == Code.REQUEST_INVALID

    async def test_a_decision_still_needs_no_waiting(self, folder: Folder, followed: Followed) -> None:
        """The express lane stays a lane after a reload: who is known is answered in one go."""
        token = folder.token("ada")
        assert await followed.status(token) == 200
        await followed.gateway.take_over(folder.files().read())
        for _ in range(2):
            headers = [HOST, (b"authorization", b"Bearer " + token)]
            request = Request(b"GET", b"/messenger/me", b"", headers)
            assert at_once(followed.gateway.decision.decide(request)).status == 200

    async def test_changes_are_heard_after_a_reload(self, folder: Folder, followed: Followed) -> None:
        """The new authenticator hears of changed contacts as the old one did, and the old one of none."""
        token = folder.token("ada")
        store = followed.gateway.store
        for _ in range(3):
            await followed.gateway.take_over(folder.files().read())
        identity = json.loads((await followed.answer(token)).body)
        assert await followed.status(token) == 200
        await store.write(lambda transaction: transaction.delete("acme", identity["contact"]["id"]))
        again = json.loads((await followed.answer(token)).body)
        assert again["contact"]["id"] != identity["contact"]["id"]


async def until(done: Callable[[], bool]) -> None:
    for _ in range(4000):
        if done():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it does not happen")


class TestRunning:
    """The watch itself."""

    async def test_it_follows_files_and_questions(self, folder: Folder, followed: Followed) -> None:
        """A change is taken over without being asked; a hundred questions at once are a handful of answers."""
        running = asyncio.create_task(followed.reloader.run())
        try:
            new = folder.add_secret("second")
            folder.write()
            await until(lambda: followed.state.reloads > 0)
            assert await followed.status(folder.token("ada", new)) == 200
            reloads = followed.state.reloads
            for _ in range(100):
                followed.reloader.ask()
                await asyncio.sleep(0)
            await until(lambda: followed.state.reloads > reloads)
            await asyncio.sleep(1)
            assert followed.state.reloads - reloads <= 2
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
