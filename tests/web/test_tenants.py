"""C04: an access token opens its own workspace, whatever address of the admin listener it is presented at."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from gateway import __version__
from gateway.contacts.access_token import Scope
from gateway.web.admin.openapi.document import openapi_document
from tests.web.conftest import access_token, other_workspace, running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.web.conftest import Server

PATHS = openapi_document(__version__)["paths"]
NAMED = sorted(
    (method.upper(), path) for path, item in PATHS.items() for method in item if method != "parameters" and "{" in path
)
LISTS = sorted(
    path
    for path, item in PATHS.items()
    if "get" in item and "{" not in path and path.startswith(("/contacts", "/visitors"))
)


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str, dict[str, str]]]:
    """A gateway of two workspaces, a token of the other one, and what the first one holds."""
    folder = tmp_path_factory.mktemp("gateway")
    with running_gateway(folder, others=other_workspace(folder)) as server:

        def made(path: str, body: Any) -> Any:
            reply = server.admin("POST", path, body)
            assert reply.status == 200, reply.body
            return reply.json()["id"]

        user = made("/contacts", {"external_id": "theirs", "email": "theirs@example.com", "phone": "+442079460000"})
        lead = made("/contacts", {"role": "lead", "external_id": "visitor", "email": "theirs@example.com"})
        merged = made("/contacts", {"role": "lead"})
        archived = made("/contacts", {"external_id": "archived"})
        made("/contacts/merge", {"from": merged, "into": user, "skip_duplicate_validation": True})
        server.admin("POST", f"/contacts/{archived}/archive")
        attribute = made("/data_attributes", {"name": "secret", "model": "contact", "data_type": "string"})
        headers, path = {"Content-Type": "text/csv"}, "/contacts/imports?match=external_id"
        job = server.request("POST", path, server.access_token, headers=headers, body=b"user_id\nx-1\n", admin=True)
        ids = {"user": user, "lead": lead, "merged": merged, "archived": archived}
        ids |= {"attribute_id": str(attribute), "job_id": job.json()["id"], "external_id": "theirs"}
        yield server, access_token(server, *Scope, workspace="other"), ids


@pytest.mark.parametrize("whose", ["user", "lead", "merged", "archived"])
@pytest.mark.parametrize(("method", "path"), NAMED)
def test_c04_what_another_workspace_holds_is_nowhere(
    tenants: tuple[Server, str, dict[str, str]], method: str, path: str, whose: str
) -> None:
    """By any id that stands there, in any state: 404 as for an id that never was, and the record stays as it is."""
    server, foreign, ids = tenants
    before = {name: server.admin("GET", f"/contacts/{ids[name]}").body for name in ("user", "lead")}
    places = {**ids, "contact_id": ids[whose]}
    address = re.sub(r"{(\w+)}", lambda found: places[found[1]], path)
    body = {"name": "ours", "archived": True} if method in {"PUT", "POST"} else None
    reply = server.admin(method, address, body, token=foreign)
    if path == "/contacts/{contact_id}/history":  # it is told of what was deleted, too: nothing was
        assert reply.status == 404 or reply.json()["data"] == []
    else:
        assert reply.status == 404, reply.body
    assert {name: server.admin("GET", f"/contacts/{ids[name]}").body for name in before} == before


@pytest.mark.parametrize("path", LISTS)
def test_c04_lists_hold_nothing_of_another_workspace(tenants: tuple[Server, str, dict[str, str]], path: str) -> None:
    """Everybody who is listed belongs to the token's workspace: here, nobody."""
    server, foreign, ids = tenants
    asked = {"/visitors": "?user_id=visitor", "/contacts/archived": "?email=theirs@example.com"}
    reply = server.admin("GET", path + asked.get(path, ""), token=foreign)
    assert reply.status == 404 or reply.json()["data"] == []
    assert not any(value.encode() in reply.body for value in ids.values() if len(value) == 24)


def test_c04_bodies_name_nobody_of_another_workspace(tenants: tuple[Server, str, dict[str, str]]) -> None:
    """Merges, conversions and searches: ids of another workspace are ids of nobody."""
    server, foreign, ids = tenants
    pair = {"from": ids["lead"], "into": ids["user"]}
    for path in ("/contacts/merge", "/contacts/merge/preview"):
        assert server.admin("POST", path, pair, token=foreign).status == 404
    assert server.admin("PUT", "/visitors", {"id": ids["lead"], "name": "ours"}, token=foreign).status == 404
    assert server.admin("PUT", "/visitors", {"user_id": "visitor", "name": "ours"}, token=foreign).status == 404
    convert = {"type": "user", "user": {"user_id": "ours"}, "visitor": {"id": ids["lead"]}}
    assert server.admin("POST", "/visitors/convert", convert, token=foreign).status == 404
    own = server.admin("POST", "/contacts", {"role": "lead", "external_id": "own-visitor"}, token=foreign).json()["id"]
    convert = {"type": "user", "user": {"id": ids["user"]}, "visitor": {"id": own}}
    assert server.admin("POST", "/visitors/convert", convert, token=foreign).status == 404
    for field, value in (("id", ids["user"]), ("email", "theirs@example.com"), ("external_id", "theirs")):
        query = {"query": {"field": field, "operator": "=", "value": value}}
        assert server.admin("POST", "/contacts/search", query, token=foreign).json()["data"] == []
    used = {"role": "lead", "custom_attributes": {"secret": "x"}}
    assert server.admin("POST", "/contacts", used, token=foreign).status == 400  # not declared here
    assert server.admin("DELETE", f"/contacts/{own}", token=foreign).status == 200
