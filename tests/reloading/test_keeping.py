"""What is not taken over: a configuration with a problem, and what only a restart changes."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from gateway.contacts.revocation_memory import Revocations
from gateway.errors import Code, Outage, SettingsInvalid
from gateway.reloading import ConfigurationSource, with_fixed
from keys.jwk import signing_key_from_secret
from tests.reloading.conftest import Folder, Followed, Logged, listeners_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


BROKEN: dict[str, tuple[Callable[[Folder], object], str]] = {
    "not TOML": (lambda folder: folder.replace("[store"), "not TOML"),
    "half a file": (lambda folder: folder.replace(folder.config.read_text()[:-60]), "not TOML"),
    "empty": (lambda folder: folder.replace(""), "workspaces: required"),
    "not text": (lambda folder: folder.config.write_bytes(b"\xff\xfe"), "not text in UTF-8"),
    "gone": (lambda folder: folder.config.unlink(), "cannot be read"),
    "a folder": (lambda folder: folder.put_folder(folder.config), "cannot be read"),
    "unknown key": (lambda folder: folder.write(workspace="frist_sight = 1"), "frist_sight: no such setting"),
    "wrong value": (lambda folder: folder.write(workspace="alarm_emails = 1"), "alarm_emails: "),
    "no issuer": (lambda folder: folder.write(more="[workspaces.other]\nissuers = []"), "workspaces.other.issuers: "),
    "secret gone (B24)": (lambda folder: folder.secret_file("first").unlink(), "secret-first"),
    "secret a folder (B24)": (
        lambda folder: folder.put_folder(folder.secret_file("first")),
        "secret-first",
    ),
    "secret too short": (lambda folder: folder.secret_file("first").write_text("short"), "secret_file: "),
    "secret empty": (lambda folder: folder.secret_file("first").write_text(""), "secret_file: "),
}


class TestKeeping:
    """A configuration that cannot be used changes nothing."""

    @pytest.mark.parametrize("name", BROKEN)
    async def test_b24_the_last_good_one_stays(
        self, folder: Folder, followed: Followed, logged: Logged, name: str
    ) -> None:
        """It is told once, and shown until it is mended; nobody is let in who was not, nobody refused who was not."""
        breaks, problem = BROKEN[name]
        good, secret = folder.config.read_text(), folder.secret_file("first").read_text()
        token, configured = folder.token("ada"), followed.gateway.configured
        stranger = folder.token("ada", signing_key_from_secret(os.urandom(32).hex(), kid="first"))
        assert await followed.status(token) == 200
        breaks(folder)
        for _ in range(3):
            await followed.reloader.look()
        assert followed.gateway.configured is configured
        assert [await followed.status(one) for one in (token, folder.token("new"), stranger)] == [200, 200, 401]
        shown = followed.state.shown()
        assert shown["state"] == "kept"
        assert problem in "\n".join(shown["problems"])
        (line,) = logged.lines()
        assert (line["level"], line["problems"]) == ("error", shown["problems"])
        if folder.config.is_dir():
            folder.config.rmdir()
        if folder.secret_file("first").is_dir():
            folder.secret_file("first").rmdir()
        folder.replace(good)
        folder.replace(secret, folder.secret_file("first"))
        await followed.reloader.look()
        assert followed.state.shown()["state"] == "ok"
        assert logged.lines()[-1]["event"] == "configuration reloaded"
        assert [await followed.status(one) for one in (token, stranger)] == [200, 401]

    async def test_every_problem_is_told_and_no_secret(
        self, folder: Folder, followed: Followed, logged: Logged
    ) -> None:
        """All problems at once, by place; what was written there is neither in the log nor in `/readyz` (R12, B24)."""
        password = "correct horse battery staple " * 2
        folder.write(
            top=f'frobnicate = "{password}"',
            workspace=f'email_conflict = "{password}"',
            more=f"""
[[workspaces.acme.issuers]]
name = "messenger"
profile = "intercom"
secrets = [{{ id = "inline", secret = "{password[:20]}" }}, {{ id = "{password}", secret_file = "nowhere" }}]
""",
        )
        await followed.reloader.look()
        assert len(followed.state.problems) >= 5
        assert "correct horse" not in json.dumps([logged.lines(), followed.state.shown()])

    async def test_it_is_told_again_when_it_breaks_otherwise_or_somebody_asks(
        self, folder: Folder, followed: Followed, logged: Logged
    ) -> None:
        """Once for each new set of problems, and once for each SIGHUP."""
        folder.replace("[store")
        await followed.reloader.look()
        since = followed.state.since
        folder.replace("[store ")
        await followed.reloader.look()
        assert len(logged.lines("broken")) == 1
        folder.replace("")
        await followed.reloader.look()
        assert len(logged.lines("broken")) == 2
        await followed.reloader.look(asked=True)
        assert len(logged.lines("broken")) == 3
        assert followed.state.since == since

    async def test_what_a_broken_configuration_names_is_waited_for(self, folder: Folder, followed: Followed) -> None:
        """The configuration comes first and the secret that it names after it: no further change is needed."""
        new = folder.add_secret("second")
        text = folder.secret_file("second").read_text()
        folder.secret_file("second").unlink()
        folder.write()
        await followed.reloader.look()
        assert followed.state.shown()["state"] == "kept"
        folder.replace(text, folder.secret_file("second"))
        await followed.reloader.look()
        assert await followed.status(folder.token("ada", new)) == 200

    async def test_a_broken_start_is_no_reload(self, folder: Folder) -> None:
        """The first reading raises: there is no last good configuration."""
        folder.replace("[store")
        with pytest.raises(SettingsInvalid, match="not TOML"):
            folder.files().read()

    async def test_a_store_that_is_down_is_tried_again(
        self, folder: Folder, followed: Followed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An outage while taking over is no fault of the files: the old one stays, and the next look tries again."""
        token = folder.token("ada")
        new = folder.add_secret("second")
        folder.write()
        listeners = len(listeners_of(followed.gateway))
        real = Revocations.open
        monkeypatch.setattr(Revocations, "open", _down)
        await followed.reloader.look()
        assert "store_unavailable" in followed.state.problems[0]
        assert await followed.status(token) == 200
        assert len(listeners_of(followed.gateway)) == listeners
        monkeypatch.setattr(Revocations, "open", real)
        await followed.reloader.look()
        assert followed.state.shown()["state"] == "ok"
        assert await followed.status(folder.token("ada", new)) == 200

    async def test_a_disk_that_failed_for_a_moment_is_asked_again(
        self, followed: Followed, logged: Logged, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A file that could not be read is what it was when it can be read: no change says so, time does."""
        with monkeypatch.context() as patched:
            patched.setattr("gateway.reloading.RETRY_SECONDS", 0)
            patched.setattr(ConfigurationSource, "tables", _unreadable)
            for _ in range(2):
                await followed.reloader.look(asked=not followed.state.problems)
        assert followed.state.problems == ("secret: cannot be read",)
        await followed.reloader.look()
        assert followed.state.shown()["state"] == "ok"
        assert [line["level"] for line in logged.lines()] == ["error", "info"]
        configured = followed.gateway.configured
        await followed.reloader.look()
        assert followed.gateway.configured is configured

    async def test_a_fault_of_our_own_ends_nothing(
        self, folder: Folder, followed: Followed, logged: Logged, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever it is, it stands in the log by its place, its words do not (R12), and the watch goes on."""

        def fault(_self: object) -> None:
            raise RuntimeError("the secret is 0123")

        with monkeypatch.context() as patched:
            patched.setattr(ConfigurationSource, "tables", fault)
            await followed.reloader.look(asked=True)
        (line,) = logged.lines()
        assert "fault" in json.dumps(line["exception"])
        assert "0123" not in json.dumps([line, followed.state.shown()])
        assert await followed.status(folder.token("ada")) == 200
        await followed.reloader.look(asked=True)
        assert followed.state.shown()["state"] == "ok"


def _unreadable(_source: ConfigurationSource) -> None:
    raise SettingsInvalid(["secret: cannot be read"])


async def _down(_self: Revocations, _workspaces: Iterable[str]) -> None:
    raise Outage(Code.STORE_UNAVAILABLE, "on purpose")


class TestFixed:
    """What only a restart changes."""

    async def test_it_stays_and_is_named(self, folder: Folder, followed: Followed, logged: Logged) -> None:
        """In one line of the log, once, and in `/readyz` until it is undone; the rest is taken over."""
        before = followed.gateway.configured.settings
        new = folder.add_secret("second")
        top = 'workers = 3\ndrain_seconds = 7\n[public]\nbind = "127.0.0.1:1"\nexpress_lane = false\n'
        top += '[admin]\nbind = "127.0.0.1:2"\nrequests_per_minute = 60\n[keys]\nfolder = "elsewhere"'
        folder.write(top=top)
        folder.replace(folder.config.read_text().replace("contacts.db", "others.db"))
        await followed.reloader.look()
        names = ["workers", "drain_seconds", "store", "keys"]
        names += ["public.bind", "public.express_lane", "admin.bind"]
        for _ in range(2):
            (line,) = logged.lines("only a restart")
            assert line["settings"] == names
            assert followed.state.shown()["needs_restart"] == names
            folder.replace(folder.config.read_text() + "\n")
            await followed.reloader.look()
        now = followed.gateway.configured.settings
        assert (now.workers, now.drain_seconds, now.store, now.keys) == (
            before.workers,
            before.drain_seconds,
            before.store,
            before.keys,
        )
        assert (now.public, now.admin.bind, now.admin.requests_per_minute) == (before.public, before.admin.bind, 60)
        assert await followed.status(folder.token("ada", new)) == 200
        folder.write()
        await followed.reloader.look()
        assert followed.state.shown()["needs_restart"] == []

    def test_every_setting_is_either_fixed_or_taken_over(self, folder: Folder) -> None:
        """Whoever adds a top-level setting decides which."""
        standing = folder.files().read()
        fixed, partly = {"workers", "drain_seconds", "store", "keys"}, {"public", "admin"}
        taken_over = {"log_level", "assertion", "limits"}
        assert set(type(standing).model_fields) == {"workspaces"} | taken_over | partly | fixed
        settings, names = with_fixed(standing.model_copy(update=dict.fromkeys(fixed)), standing)
        assert settings == standing
        assert set(names) == fixed
