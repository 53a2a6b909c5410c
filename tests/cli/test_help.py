"""Help at each level, wrong use, and what a command imports before it starts."""

from __future__ import annotations

import subprocess
import sys

import pytest

import gateway
from tests.cli.conftest import run

COMMANDS = [
    ("serve",),
    ("init",),
    ("check",),
    ("doctor",),
    ("token", "issue"),
    ("token", "inspect"),
    ("token", "broken"),
    ("token", "revoke"),
    ("token", "revocations"),
    ("access-token", "create"),
    ("access-token", "list"),
    ("access-token", "revoke"),
    ("keys", "list"),
    ("keys", "generate"),
    ("keys", "import"),
    ("keys", "rotate"),
    ("keys", "retire"),
    ("keys", "export"),
    ("contacts", "find"),
    ("db", "migrate"),
    ("db", "check"),
    ("config", "check"),
    ("config", "show"),
]
GROUPS = [(), ("token",), ("access-token",), ("keys",), ("contacts",), ("db",), ("config",)]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_a_command(command: tuple[str, ...]) -> None:
    """Each command says what it does, and shows examples that begin with its own name."""
    ended = run(*command, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert f"Usage: gateway {' '.join(command)}" in ended.out
    assert f"gateway {' '.join(command)}" in ended.out.partition("Examples")[2]


@pytest.mark.parametrize("group", GROUPS, ids=" ".join)
def test_help_of_a_group(group: tuple[str, ...]) -> None:
    """Each group lists its commands; without a command it prints the same, and that is wrong use."""
    ended = run(*group, "--help")
    assert (ended.code, ended.err) == (0, "")
    for command in COMMANDS:
        if command[: len(group)] == group:
            assert command[len(group)] in ended.out
    alone = run(*group)
    assert (alone.code, alone.err) == (2, "")
    assert alone.out.strip() == ended.out.strip()


@pytest.mark.parametrize("command", [*COMMANDS, *GROUPS], ids=" ".join)
def test_an_unknown_option_is_wrong_use(command: tuple[str, ...]) -> None:
    """Exit code 2, one line, and where to read on."""
    ended = run(*command, "--nonsense")
    assert (ended.code, ended.out) == (2, "")
    assert "--nonsense" in ended.error
    assert ended.err.splitlines()[1].endswith("--help` explains")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["tokn"], "No such command 'tokn'. Did you mean 'token'?"),
        (["token", "isue"], "No such command 'isue'. Did you mean 'issue'?"),
        (["token", "issue", "--ttl", "soon"], "Invalid value for '--ttl'"),
        (["token", "issue", "--user-id"], "Option '--user-id' requires an argument"),
        (["token", "inspect"], "Missing argument 'TOKEN'"),
        (["token", "broken"], "which one?"),
        (["access-token", "create", "--scope", "contacts:read"], "Missing option '--name'"),
        (["access-token", "create", "--name", "x", "--scope", "everything"], "Invalid value for '--scope'"),
        (["contacts", "find", "one", "two"], "Got unexpected extra argument"),
        (["serve", "--workers", "many"], "Invalid value for '--workers'"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else "",
)
def test_wrong_use(arguments: list[str], told: str) -> None:
    """Whatever is wrong in a command line ends as one line and a hint, with exit code 2."""
    ended = run(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.error.startswith(told)


def test_version() -> None:
    """`--version` prints the version alone."""
    assert run("--version").out == f"{gateway.__version__}\n"


@pytest.mark.parametrize(
    "command",
    [command for command in COMMANDS if command[0] not in {"serve", "init"}],
    ids=" ".join,
)
def test_without_a_configuration(command: tuple[str, ...]) -> None:
    """In an empty folder a command says what is missing and what makes it; it makes nothing itself."""
    needed: dict[tuple[str, ...], list[str]] = {
        ("check",): ["http://127.0.0.1:1"],
        ("token", "inspect"): ["x"],
        ("token", "broken"): ["expired"],
        ("token", "revoke"): ["--issued-before", "now"],
        ("access-token", "create"): ["--name", "x", "--scope", "contacts:read"],
        ("access-token", "revoke"): ["x"],
        **{("keys", name): ["x"] for name in ("generate", "import", "rotate", "export")},
        ("keys", "retire"): ["x", "y"],
        ("contacts", "find"): ["x"],
    }
    ended = run(*command, *needed.get(command, []))
    assert (ended.code, ended.out) == (1, "")
    assert ended.error == "there is no configuration here"
    assert "gateway init" in ended.err


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--version"], {"pydantic", "jwt", "cryptography", "apsw", "asyncpg", "starlette", "uvicorn", "rich"}),
        (["--help"], {"pydantic", "jwt", "cryptography", "apsw", "asyncpg", "starlette", "uvicorn"}),
        (["token", "issue", "--user-id", "u"], {"asyncpg", "apsw", "starlette", "uvicorn", "rich"}),
        (["token", "broken", "expired"], {"asyncpg", "apsw", "starlette", "uvicorn", "rich"}),
        (["keys", "rotate", "local"], {"asyncpg", "apsw", "starlette", "uvicorn", "rich"}),
        (["keys", "list", "--json"], {"asyncpg", "apsw", "starlette", "uvicorn", "rich", "httpcore2"}),
        (["config", "show"], {"asyncpg", "apsw", "starlette", "uvicorn", "rich"}),
        (["db", "check"], {"asyncpg", "starlette", "uvicorn", "rich"}),
        (["check", "--help"], {"asyncpg", "apsw", "uvicorn", "httpcore2"}),
        (["doctor", "--json"], {"asyncpg", "uvicorn", "httpcore2"}),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("development")
def test_a_command_imports_what_it_needs(arguments: list[str], unwanted: set[str]) -> None:
    """A command starts without the server, the drivers and the rest, as long as it does not need them."""
    code = """
import sys
from gateway.cli import main
try:
    main()
finally:
    print(*{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    imported = set(done.stderr.split())
    assert "typer" in imported
    assert not imported & unwanted
