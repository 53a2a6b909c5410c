"""External ids as paths: what real HTTP clients make of them, and what the gateway makes of that."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.web.conftest import Server

ODD = [
    *(
        "a/b",
        "/a",
        "a/",
        "a//b",
        "/",
        "a?b=c",
        "a#b",
        "#",
        "100%",
        "%",
        "%2F",
        "%25",
        "a%2Fb",
        "a\\b",
        "a b",
        "a+b",
        "+",
    ),
    *(
        "../contacts",
        "..;/x",
        "a/../b",
        "./a",
        "~",
        "a;b",
        "a:b",
        "@",
        "a&b=c",
        "caf\u00e9",
        "\u5f20\u4e09",
        "\U0001f600",
    ),
]


def by_http_client(server: Server, path: str) -> Any:
    """The standard library's lowest client: sends a path as it is given."""
    connection = http.client.HTTPConnection("127.0.0.1", server.admin_port, timeout=30)
    connection.request("GET", path, headers={"Authorization": f"Bearer {server.access_token}"})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def by_urllib(server: Server, path: str) -> Any:
    """The standard library's higher client."""
    url = f"http://127.0.0.1:{server.admin_port}{path}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {server.access_token}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return json.loads(error.read())


def by_httpx(server: Server, path: str) -> Any:
    """A client that parses and writes addresses anew."""
    with httpx.Client(base_url=f"http://127.0.0.1:{server.admin_port}", timeout=30) as client:
        return client.get(path, headers={"Authorization": f"Bearer {server.access_token}"}).json()


@pytest.mark.parametrize("get", [by_http_client, by_urllib, by_httpx])
def test_s12_every_client_finds_an_odd_external_id(server: Server, get: Callable[[Server, str], Any]) -> None:
    """`quote(x, safe="")` and nothing else: the record with exactly this id, though its neighbours stand, too."""
    made = {}
    for external_id in ODD:
        reply = server.admin("POST", "/contacts", {"external_id": external_id})
        assert reply.status == 200, (external_id, reply.body)
        made[external_id] = reply.json()
    try:
        for external_id, contact in made.items():
            found = get(server, f"/contacts/find_by_external_id/{quote(external_id, safe='')}")
            assert found == contact, external_id
    finally:
        for contact in made.values():
            assert server.admin("DELETE", f"/contacts/{contact['id']}").status == 200


@pytest.mark.parametrize("external_id", [".", ".."])
def test_an_id_that_is_a_dot_segment_is_found_by_search(server: Server, external_id: str) -> None:
    """No escape keeps `..` from being taken out of a path by some clients; a search finds it whatever the client is."""
    contact = server.admin("POST", "/contacts", {"external_id": external_id}).json()
    path = f"/contacts/find_by_external_id/{external_id}"
    assert by_http_client(server, path) == contact  # it sends what it is told, and the gateway takes nothing away
    for get in (by_urllib, by_httpx):
        assert get(server, path) == contact or get(server, path).get("type") in {"error.list", "list"}
    query = {"query": {"field": "external_id", "operator": "=", "value": external_id}}
    assert server.admin("POST", "/contacts/search", query).json()["data"] == [contact]
    assert server.admin("DELETE", f"/contacts/{contact['id']}").status == 200
