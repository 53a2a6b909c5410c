"""What no operation of the admin listener takes as a body, told operation by operation from its own document (R33)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from gateway import __version__
from gateway.web.admin.openapi.document import openapi_document

if TYPE_CHECKING:
    from tests.web.conftest import Server

OPERATIONS = sorted(
    (method.upper(), re.sub(r"{\w+}", "0" * 24, path))
    for path, item in openapi_document(__version__)["paths"].items()
    for method, described in item.items()
    if method != "parameters" and "application/json" in described.get("requestBody", {}).get("content", {})
)
NO_STRICT_OBJECT = {
    "nothing": b"",
    "no JSON": b"{external_id: 1}",
    "an array": b"[]",
    "null": b"null",
    "two objects": b"{} {}",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "invalid UTF-8": b'{"external_id": "\xff\xfe"}',
    "an overlong form": b'{"external_id": "\xc0\xaf"}',
    "UTF-16": '{"external_id": "x"}'.encode("utf-16"),
    "a member twice": b'{"from": "0", "from": "1", "query": {}, "query": {}, "name": "a", "name": "b"}',
    "a member twice inside": b'{"query": {"field": "id", "field": "email"}, "custom_attributes": {"a": 1, "a": 2}}',
    "NaN": b'{"signed_up_at": NaN}',
    "half a surrogate pair": b'{"name": "\\ud800"}',
    "a number without end": b'{"signed_up_at": ' + b"9" * 10_000 + b"}",
    "an infinite float": b'{"signed_up_at": 1e999}',
    "a deep pit": b'{"query": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "half a body": b'{"name": "x',
}


def refusal(server: Server, method: str, path: str, body: bytes) -> tuple[int, str]:
    """Status and code of an answer, which is an `error.list`."""
    headers = {"Content-Type": "application/json"}
    reply = server.request(method, path, server.access_token, headers=headers, body=body, admin=True)
    answer = reply.json()
    assert answer["type"] == "error.list"
    (error,) = answer["errors"]
    return reply.status, error["code"]


def test_there_are_operations_with_a_body() -> None:
    """The tests below are about something."""
    assert {("POST", "/contacts"), ("POST", "/contacts/search"), ("POST", "/contacts/merge")} <= set(OPERATIONS)


@pytest.mark.parametrize("kind", NO_STRICT_OBJECT)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_r33_only_one_strict_json_object_is_a_body(server: Server, method: str, path: str, kind: str) -> None:
    """400 that says so, before anything is looked up."""
    assert refusal(server, method, path, NO_STRICT_OBJECT[kind]) == (400, "parameter_invalid")


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_a22_ten_megabytes_are_too_much(server: Server, method: str, path: str) -> None:
    """413, also for what would be good JSON; the gateway goes on."""
    assert refusal(server, method, path, b'{"name": "%b"}' % (b"x" * 10_000_000)) == (413, "client_error")
    assert server.admin("GET", "/contacts").status == 200


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_a_body_that_never_ends_changes_nothing(server: Server, method: str, path: str) -> None:
    """A client that goes away in the middle of its body leaves nothing behind."""
    before = server.contacts()
    head = f"{method} {path} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {server.access_token}\r\n"
    server.raw(f'{head}Content-Length: 100\r\n\r\n{{"external_id": "half"'.encode(), admin=True)
    assert server.contacts() == before


@pytest.mark.parametrize("query", ["user_id=%ff", "email=%ed%a0%80@example.com", "\udcff=1"])
@pytest.mark.parametrize("path", ["/visitors", "/contacts", "/contacts/archived", "/contacts/duplicates"])
def test_r33_a_query_that_is_not_utf_8_is_mended_for_nobody(server: Server, path: str, query: str) -> None:
    """Bytes that are no text are refused: read as the replacement character, they could be somebody else's id."""
    target = f"{path}?{query}".encode("utf-8", "surrogateescape")
    request = b"GET %b HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nAuthorization: Bearer %b\r\n\r\n"
    received = server.raw(request % (target, server.access_token.encode()), admin=True)
    assert received.startswith(b"HTTP/1.1 400"), received
