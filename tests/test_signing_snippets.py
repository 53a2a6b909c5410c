"""The README's snippets that sign the login token: each is a file, and a real gateway accepts what it signs.

Where the library is to be had, the very file runs. Debian carries neither firebase/php-jwt nor java-jwt: of these two
files the syntax alone is checked.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.node import installed
from tests.programs import missing, needed

if TYPE_CHECKING:
    import pytest

    from gateway.testing import GatewayServer

TESTS = Path(__file__).parent
EXAMPLES = TESTS / "examples"
SIGNING = EXAMPLES / "signing"
# The word behind the fence, and the file.
SNIPPETS = {
    "python": SIGNING / "python/login_token.py",
    "javascript": SIGNING / "node/login_token.mjs",
    "ruby": SIGNING / "ruby/login_token.rb",
    "go": SIGNING / "go/login_token.go",
    "php": SIGNING / "php/login_token.php",
    "java": SIGNING / "java/LoginToken.java",
}
USER_ID, EMAIL = 'o\u2019brien-\u5f35"1', "obrien@example.com"
GO_LIBRARY = Path("/usr/share/gocode/src/github.com/golang-jwt/jwt")


def signed(command: list[str], server: GatewayServer, folder: Path, **environ: str) -> str:
    """The token that a command prints for `USER_ID` and `EMAIL`."""
    env = {**os.environ, "MESSENGER_SECRET": server.messenger_secret, **environ}
    done = subprocess.run(
        [*command, USER_ID, EMAIL], cwd=folder, env=env, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def assert_accepted(server: GatewayServer, token: str) -> None:
    """The token leads to its person, and lives for about an hour."""
    answer = server.login(token)
    assert answer.status == 200, answer.body
    identity = answer.json()["identity"]
    assert (identity["user_id"], identity["email"]) == (USER_ID, EMAIL)
    assert 3000 < identity["expires_at"] - time.time() <= 3601


def test_python(gateway_server: GatewayServer, tmp_path: Path) -> None:
    """PyJWT."""
    code = "import sys; from login_token import login_token; print(login_token(*sys.argv[1:]))"
    path = str(SNIPPETS["python"].parent)
    token = signed([sys.executable, "-c", code], gateway_server, tmp_path, PYTHONPATH=path, PYTHONDONTWRITEBYTECODE="1")
    assert_accepted(gateway_server, token)


def test_node(
    gateway_server: GatewayServer, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> None:
    """The package jsonwebtoken, installed by `npm ci` from the lock of the interoperability tests."""
    packages = installed(TESTS / "identity/interop", tmp_path_factory.getbasetemp(), worker_id)
    (tmp_path / "node_modules").symlink_to(packages / "node_modules")
    (tmp_path / "login_token.mjs").write_bytes(SNIPPETS["javascript"].read_bytes())
    code = "import { loginToken } from './login_token.mjs'; console.log(loginToken(...process.argv.slice(-2)))"
    token = signed(["node", "--input-type=module", "-e", code, "--"], gateway_server, tmp_path)
    assert_accepted(gateway_server, token)


def test_ruby(gateway_server: GatewayServer, tmp_path: Path) -> None:
    """The gem jwt."""
    ruby = needed("ruby", "ruby")
    if subprocess.run([ruby, "-e", "require 'jwt'"], capture_output=True, check=False).returncode:
        missing("the gem jwt is not installed (Debian package: ruby-jwt)")
    command = [ruby, "-r", str(SNIPPETS["ruby"]), "-e", "puts login_token(*ARGV)"]
    assert_accepted(gateway_server, signed(command, gateway_server, tmp_path, LANG="C.UTF-8"))


def test_go(gateway_server: GatewayServer, tmp_path: Path) -> None:
    """golang-jwt, in the version that Debian has: version 4, which signs by the same names as version 5."""
    go = needed("go", "golang-go")
    if not GO_LIBRARY.exists():
        missing("golang-jwt is not installed (Debian package: golang-github-golang-jwt-jwt-dev)")
    (tmp_path / "login").mkdir()
    (tmp_path / "login/login_token.go").write_bytes(SNIPPETS["go"].read_bytes())
    (tmp_path / "go.mod").write_text(f"""\
module app

go 1.19

require github.com/golang-jwt/jwt/v5 v5.0.0

replace github.com/golang-jwt/jwt/v5 => {GO_LIBRARY}
""")
    (tmp_path / "main.go").write_text("""\
package main

import (
	"fmt"
	"os"

	"app/login"
)

func main() {
	token, err := login.Token(os.Args[1], os.Args[2])
	if err != nil {
		panic(err)
	}
	fmt.Println(token)
}
""")
    offline = {"GOPROXY": "off", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GOPATH": str(tmp_path / "path")}
    token = signed([go, "run", "."], gateway_server, tmp_path, GOCACHE=str(tmp_path / "cache"), **offline)
    assert_accepted(gateway_server, token)
    formatted = subprocess.run([needed("gofmt", "golang-go"), "-l", "."], cwd=tmp_path, capture_output=True, check=True)
    assert formatted.stdout == b""


def test_php() -> None:
    """firebase/php-jwt: the syntax alone."""
    subprocess.run([needed("php", "php-cli"), "-l", str(SNIPPETS["php"])], capture_output=True, check=True, timeout=60)


def test_java() -> None:
    """java-jwt: the syntax alone."""
    java = needed("java", "default-jdk-headless")
    command = [java, str(EXAMPLES / "Parsed.java"), str(SNIPPETS["java"])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_readme_shows_these_very_files() -> None:
    """One source: where the README shows how to sign, each of its blocks is a file that is tested here, and all are."""
    readme = (TESTS.parent / "README.md").read_text()
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    shown = [(language, text) for language, text in blocks if "MESSENGER_SECRET" in text and language != "console"]
    assert shown in ([], [(language, path.read_text()) for language, path in SNIPPETS.items()])
