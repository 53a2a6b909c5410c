"""What SQLite's file promises: whose it is, and that it is never silently replaced."""

# ruff: noqa: ASYNC240 - a test that looks at its file keeps nobody waiting

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from typing import TYPE_CHECKING

import apsw
import pytest

from gateway.contacts.database.sqlite import SqliteStore
from gateway.contacts.database.stores import store_for
from gateway.errors import Outage, StoreUnusable
from tests.contacts.records import WORKSPACE, contact, insert, until

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.contacts.store import ContactStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "contacts.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


class TestFile:
    """What the file promises."""

    async def test_it_is_for_its_owner_only(self, store: ContactStore, path: Path) -> None:
        """The database, its log and its index are 0600 whatever the umask, and a folder made for them 0700."""
        await insert(store, contact())
        files = sorted(path.parent.iterdir())
        assert [file.name for file in files] == ["contacts.db", "contacts.db-shm", "contacts.db-wal"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    async def test_r38_a_missing_database_is_reported(self, url: str, path: Path) -> None:
        """Opening makes nothing: neither a file nor a folder."""
        with pytest.raises(StoreUnusable, match="gateway db migrate"):
            await store_for(url).open()
        assert not path.parent.exists()

    @pytest.mark.parametrize("damage", ["empty", "garbage", "header", "cut"])
    async def test_r38_a_damaged_database_is_reported(self, url: str, path: Path, damage: str) -> None:
        """Neither opened, nor migrated, nor replaced: its bytes stay as they are for whoever repairs it."""
        store = store_for(url)
        await store.migrate()
        whole = path.read_bytes()
        content = {
            "empty": b"",
            "garbage": b"no database " * 1000,
            "header": b"SQLite format 4\0" + whole[16:],
            "cut": whole[:1000],
        }[damage]
        path.write_bytes(content)
        for call in (store.open, store.migrate):
            with pytest.raises(StoreUnusable):
                await call()
        assert path.read_bytes() == content

    async def test_r38_damage_inside_is_found_by_check(self, url: str, path: Path) -> None:
        """Pages that were overwritten are reported."""
        store = store_for(url)
        await store.migrate()
        content = bytearray(path.read_bytes())
        content[4096 : 4096 * 3] = b"\xff" * 4096 * 2
        path.write_bytes(content)
        assert await store.check() != []

    async def test_r38_a_log_without_its_database_is_reported(self, url: str, path: Path) -> None:
        """Where a database was removed but not its log, none is made: the log would be played into the new one."""
        log = path.with_name("contacts.db-wal")
        path.parent.mkdir()
        log.write_bytes(b"what somebody may still want")
        with pytest.raises(StoreUnusable, match="write-ahead log"):
            await store_for(url).migrate()
        assert [file.name for file in path.parent.iterdir()] == [log.name]

    async def test_an_interrupted_creation_is_no_obstacle(self, url: str, path: Path) -> None:
        """What a process left that was killed while it made a database hinders nobody, also under the same number."""
        path.parent.mkdir()
        path.with_name(f"contacts.db.{os.getpid()}").write_bytes(b"half")
        await store_for(url).migrate()
        await store_for(url).open()

    @pytest.mark.parametrize("fate", ["removed", "replaced"])
    async def test_r36_nothing_is_acknowledged_into_a_file_without_a_name(
        self, store: ContactStore, path: Path, caplog: pytest.LogCaptureFixture, fate: str
    ) -> None:
        """A database that is removed or replaced under a running program is reported, and used no more."""
        await insert(store, contact(external_id="u-1"))
        aside = path.with_name("aside.db")
        path.rename(aside)
        if fate == "replaced":
            shutil.copy(aside, path)
        await until(lambda: "removed or replaced" in caplog.text)
        await until(lambda: not store.hears_changes)
        with pytest.raises(Outage):
            await insert(store, contact())
        with pytest.raises(Outage):
            await store.find_by_external_id(WORKSPACE, "u-1")

    async def test_somebody_elses_database_is_refused(self, url: str, path: Path) -> None:
        """A database without our mark is neither opened nor migrated."""
        path.parent.mkdir()
        with contextlib.closing(apsw.Connection(str(path))) as connection:
            connection.execute("CREATE TABLE contacts (name TEXT)")
        for call in (store_for(url).open, store_for(url).migrate):
            with pytest.raises(StoreUnusable, match="not a contact store"):
                await call()

    @pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "mysql://x/y", "contacts.db", ""])
    def test_other_urls_are_refused(self, url: str) -> None:
        """A store is named by one of the two kinds of URL."""
        with pytest.raises(StoreUnusable):
            store_for(url)

    def test_three_slashes_are_relative_and_four_absolute(self) -> None:
        """The URL's path is a path as it stands after `sqlite:///`."""
        relative, absolute = store_for("sqlite:///var/contacts.db"), store_for("sqlite:////var/contacts.db")
        assert isinstance(relative, SqliteStore)
        assert isinstance(absolute, SqliteStore)
        assert (str(relative.path), str(absolute.path)) == ("var/contacts.db", "/var/contacts.db")
