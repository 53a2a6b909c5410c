"""What counts as a change of a configuration's files."""

from __future__ import annotations

import asyncio
import os
import pickle
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from gateway.errors import SettingsInvalid
from gateway.reloading import ConfigurationFiles, ConfigurationSource

if TYPE_CHECKING:
    from tests.reloading.conftest import Folder, Followed


class TestFiles:
    """What counts as a change."""

    def changes(self, folder: Folder) -> ConfigurationFiles:
        files = folder.files()
        files.read()
        assert not files.changed()
        return files

    def test_a_file_in_its_place(self, folder: Folder) -> None:
        """With the same size, and with the time of the old one."""
        files = self.changes(folder)
        found = folder.config.stat()
        folder.replace(folder.config.read_text())
        os.utime(folder.config, ns=(found.st_atime_ns, found.st_mtime_ns))
        assert files.changed()

    def test_a_file_that_is_written_in_place(self, folder: Folder) -> None:
        """With the same size."""
        files = self.changes(folder)
        time.sleep(0.02)  # the clock of a file system is coarse
        text = folder.config.read_text()
        folder.config.write_text(text)
        assert files.changed()

    def test_a_named_file(self, folder: Folder) -> None:
        """A secret's file belongs to the configuration."""
        files = self.changes(folder)
        folder.add_secret("first")
        assert files.changed()

    def test_a_file_that_goes_and_comes(self, folder: Folder) -> None:
        """Each is a change."""
        files = self.changes(folder)
        text = folder.secret_file("first").read_text()
        folder.secret_file("first").unlink()
        assert files.changed()
        with pytest.raises(SettingsInvalid):
            files.read()
        assert not files.changed()
        folder.secret_file("first").write_text(text)
        assert files.changed()

    def test_a_mode(self, folder: Folder) -> None:
        """A file that we could not read may be readable by now."""
        files = self.changes(folder)
        time.sleep(0.02)
        folder.secret_file("first").chmod(0o400)
        assert files.changed()

    def test_a_link_that_leads_elsewhere(self, folder: Folder) -> None:
        """Kubernetes swaps a link to the folder of a mounted secret; the files themselves never change."""
        texts = {}
        for name in ("one", "two"):
            (folder.path / name).mkdir()
            texts[name] = os.urandom(32).hex()
            (folder.path / name / "secret").write_text(texts[name])
        (folder.path / "..data").symlink_to("one")
        folder.secret_file("first").unlink()
        folder.secret_file("first").symlink_to("..data/secret")
        files = self.changes(folder)
        (folder.path / "..new").symlink_to("two")
        (folder.path / "..new").replace(folder.path / "..data")
        assert files.changed()
        (secret,) = files.read().workspaces["acme"].issuers[0].secrets
        assert secret.text() == texts["two"]

    def test_a_change_while_it_is_read(self, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is a change at the next look, for the files are looked at before they are read."""
        files = self.changes(folder)
        made = ConfigurationSource.settings

        def changed_meanwhile(source: ConfigurationSource, *given: Any) -> Any:
            settings = made(source, *given)
            folder.write(workspace='first_sight = "reject"')
            return settings

        monkeypatch.setattr(ConfigurationSource, "settings", changed_meanwhile)
        files.read()
        assert files.changed()

    def test_a_name_that_is_no_name(self, folder: Folder) -> None:
        """A name that no file can have is a problem like another, not the end of the watch."""
        files = self.changes(folder)
        folder.replace(folder.config.read_text().replace("secret-first", "secret\\u0000"))
        with pytest.raises(SettingsInvalid):
            files.read()
        assert not files.changed()

    def test_nothing_but_the_environment(self, folder: Folder) -> None:
        """Without any file the environment says everything, and the files that it names are watched."""
        secret = folder.secret_file("first")
        prefix = "GATEWAY_WORKSPACES__ACME__ISSUERS__0__"
        environ = {f"{prefix}NAME": "messenger", f"{prefix}PROFILE": "intercom", f"{prefix}SECRETS__0__ID": "first"}
        environ[f"{prefix}SECRETS__0__SECRET_FILE"] = str(secret)
        files = ConfigurationFiles(ConfigurationSource(None), environ)
        assert files.read().workspaces["acme"].issuers[0].secrets[0].id == "first"
        assert not files.changed()
        folder.add_secret("first")
        assert files.changed()

    def test_a_pipe(self, folder: Folder) -> None:
        """`--config <(decrypt gateway.toml)` is read once, whoever has to know; the files in it are followed."""
        text = folder.config.read_text().replace("secret-first", str(folder.secret_file("first")))
        folder.config.unlink()
        os.mkfifo(folder.config)
        writer = threading.Thread(target=folder.config.write_text, args=(text,))
        writer.start()
        source = ConfigurationSource.at(folder.config, {"workers": 2})
        writer.join()
        for _ in range(2):
            files = ConfigurationFiles(pickle.loads(pickle.dumps(source)), {})
            settings = files.read()
            assert (list(settings.workspaces), settings.workers) == (["acme"], 2)
            assert not files.changed()
            folder.add_secret("first")
            assert files.changed()

    async def test_a_file_that_is_being_written_is_waited_for(self, folder: Folder, followed: Followed) -> None:
        """Half a file may be a good one with less in it: it is read once nobody has written it for a moment."""
        folder.add_secret("second")
        folder.write()
        whole = folder.config.read_text()
        half = whole.replace('{ id = "second", secret_file = "secret-second" }', "")
        folder.config.write_text(half)
        look = asyncio.create_task(followed.reloader.look())
        for _ in range(4):
            await asyncio.sleep(0.1)
            assert not look.done()
            folder.config.write_text(half)
        folder.config.write_text(whole)
        await look
        assert set(folder.secrets) == {
            key.kid for key in followed.gateway.authenticator.verifier.all_issuers[0].keys.keys
        }
