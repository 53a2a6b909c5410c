"""Packages of Node for the tests: installed by `npm ci` from a lock, once a run, into a temporary folder."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def installed(source: Path, base: Path, worker_id: str) -> Path:
    """A copy of `source` with what its `package-lock.json` names; skips the test, in CI fails it, without Node.

    `base` is pytest's folder for temporary files: the workers of pytest-xdist share the folder above their own.
    """
    missing = [program for program in ("node", "npm") if shutil.which(program) is None]
    if missing:
        wanted = ", ".join(json.loads((source / "package.json").read_text())["dependencies"])
        message = f"{' and '.join(missing)} not found: install Debian's nodejs and npm to test against {wanted}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    folder = (base if worker_id == "master" else base.parent) / source.name
    with (folder.parent / f"{source.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "installed").exists():
            shutil.copytree(source, folder, dirs_exist_ok=True)
            # npm's own cache is shared by everybody on the machine; its log belongs to nobody.
            command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=150)
            assert done.returncode == 0, done.stderr
            (folder / "installed").touch()
    return folder


def assert_names_no_registry(source: Path, *packages: str) -> None:
    """A registry is chosen by whoever installs: a lock pins versions and hashes of its packages, and no host."""
    lock = json.loads((source / "package-lock.json").read_text())
    entries = {name: entry for name, entry in lock["packages"].items() if name}
    assert {f"node_modules/{package}" for package in packages} <= entries.keys()
    for name, entry in entries.items():
        assert "resolved" not in entry, name
        assert entry["integrity"].startswith("sha512-"), name
