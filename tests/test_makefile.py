"""`make` on a bare machine: what it plans, what it says when something is missing, how it recovers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A fresh clone, as far as `make` looks at it."""
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "requirements-dev.lock"):
        shutil.copy(ROOT / name, folder)
    return folder


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`make` without what a `make test` around this one handed down."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def python(folder: Path, script: str) -> str:
    """A stand-in for a Python that lacks something."""
    path = folder / "python-stub"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return f"PYTHON={path}"


def mark(folder: Path) -> Path:
    """The file by which `make` knows that the virtual environment was finished."""
    (line,) = [line for line in make(folder, "-n", "serve").stdout.splitlines() if ".made-" in line]
    return folder / line.split()[-1]


def test_help_lists_every_target(clone: Path) -> None:
    """`make` alone, and `make help`, say what can be made."""
    text = (ROOT / "Makefile").read_text()
    (targets,) = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    for arguments in ([], ["help"]):
        listed = re.findall(r"^  make (\S+) +\S", make(clone, *arguments).stdout, re.MULTILINE)
        assert listed == targets.split()


def test_a_fresh_clone_is_set_up(clone: Path) -> None:
    """`make serve` and `make test` make the virtual environment, install the lock by its hashes, and start."""
    for target, lock in (("serve", "requirements.lock"), ("test", "requirements-dev.lock")):
        plan = make(clone, "-n", target).stdout
        steps = [
            plan.index("-m venv .venv"),
            plan.index(f"--require-hashes -r {lock}"),
            plan.index("--no-deps -e ."),
            plan.index("gateway serve" if target == "serve" else "-m pytest"),
        ]
        assert steps == sorted(steps)


def test_a_set_up_that_was_interrupted_begins_anew(clone: Path) -> None:
    """A `.venv` that was left half-made is made again; one that was finished is used."""
    (clone / ".venv/bin").mkdir(parents=True)
    (clone / ".venv/bin/python").touch()
    assert "rm -rf .venv" in make(clone, "-n", "serve").stdout
    mark(clone).touch()
    plan = make(clone, "-n", "serve").stdout
    assert "rm -rf .venv" not in plan
    assert "--require-hashes" in plan


def test_a_clone_that_was_moved_is_set_up_again(clone: Path) -> None:
    """The programs of a virtual environment hold its path, so it does not follow a clone to another folder."""
    finished = mark(clone)
    finished.parent.mkdir()
    finished.touch()
    moved = clone.rename(clone.parent / "moved")
    assert "rm -rf .venv" in make(moved, "-n", "serve").stdout


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 1", "Python 3.11 or newer is needed"),
        ('case "$2" in *ensurepip*) exit 1;; esac', "apt-get install python3-venv"),
    ],
    ids=["old_python", "no_venv"],
)
def test_what_is_missing_is_named(clone: Path, script: str, told: str) -> None:
    """A Python that is too old, or that cannot make a virtual environment, ends in one clear line; nothing is made."""
    ended = make(clone, "serve", python(clone, script))
    assert ended.returncode == 2
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (clone / ".venv").exists()


def test_a_python_that_is_not_there(clone: Path) -> None:
    """No Python at all is named too."""
    ended = make(clone, "serve", "PYTHON=python9.99")
    assert ended.returncode == 2
    assert "Python 3.11 or newer is needed" in ended.stderr


def test_options_reach_their_programs(clone: Path) -> None:
    """`TESTS=...` goes to pytest; `QUICK=1` and `JSON=1` to the benchmark; a lock is made without a registry's name."""
    assert '-n auto tests/web -k "login or me"' in make(clone, "-n", "test", 'TESTS=tests/web -k "login or me"').stdout
    assert make(clone, "-n", "bench").stdout.rstrip().endswith("-m tests.benchmarks")
    assert make(clone, "-n", "bench", "QUICK=1", "JSON=1").stdout.rstrip().endswith("--quick --json")
    assert make(clone, "-n", "lock").stdout.count("--no-emit-index-url") == 2


def test_cleaning_keeps_contacts_and_keys(clone: Path) -> None:
    """`make clean` removes what was set up and nothing of the data folder."""
    (clone / "var").mkdir()
    (clone / "var/contacts.db").touch()
    (clone / ".venv").mkdir()
    assert make(clone, "clean").returncode == 0
    assert not (clone / ".venv").exists()
    assert (clone / "var/contacts.db").exists()
