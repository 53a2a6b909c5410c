"""Intercom's official client for Node, unchanged, against a running gateway.

The package is installed by `npm ci` from the lock beside `node/calls.mjs` into a temporary folder.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.node import assert_names_no_registry, installed

if TYPE_CHECKING:
    from tests.web.conftest import Server

NODE = Path(__file__).parent / "node"


class Client:
    """The client in a process of its own; each `run` is a program of several calls."""

    def __init__(self, folder: Path, server: Server) -> None:
        self._folder = folder
        self._job = {"token": server.access_token, "url": f"http://127.0.0.1:{server.admin_port}"}

    def run(self, *calls: dict[str, Any], **changed: str) -> list[dict[str, Any]]:
        done = subprocess.run(
            ["node", "calls.mjs"],
            cwd=self._folder,
            input=json.dumps({**self._job, **changed, "calls": calls}),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        answers: list[dict[str, Any]] = json.loads(done.stdout)
        assert len(answers) == len(calls)
        return answers

    def done(self, *given: Any, take: int = 0) -> Any:
        """What one call comes to."""
        (answer,) = self.run(call(*given, take=take))
        assert "done" in answer, answer
        return answer["done"]

    def refused(self, *given: Any) -> tuple[int, str]:
        """Status and code of a call that is refused."""
        (answer,) = self.run(call(*given))
        assert "refused" in answer, answer
        return answer["refused"], answer["code"]


def call(*given: Any, take: int = 0) -> dict[str, Any]:
    return {"call": given, "take": take}


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The client, installed."""
    return installed(NODE, tmp_path_factory.getbasetemp(), worker_id)


@pytest.fixture
def client(node_folder: Path, server: Server) -> Client:
    return Client(node_folder, server)


def unique(text: str) -> str:
    """A name that no other test of the same gateway uses."""
    return f"{text}-{time.monotonic_ns()}"


def test_the_lock_names_no_registry() -> None:
    """Versions and hashes, and no host."""
    assert_names_no_registry(NODE, "intercom-client")


def test_the_life_of_a_contact(client: Client) -> None:
    """Create, find both ways, update, archive, unarchive, delete: one record, one id."""
    key = unique("node/life?")
    made = client.done("contacts", "create", {"external_id": key, "name": "N", "phone": "1"})
    assert (made["external_id"], made["role"], made["workspace_id"]) == (key, "user", "acme")
    one = {"contact_id": made["id"]}
    found, by_key, updated, archived, gone, back, deleted, missing = client.run(
        call("contacts", "find", one),
        call("contacts", "showContactByExternalId", {"external_id": key}),
        call("contacts", "update", {**one, "name": "M", "phone": None}),
        call("contacts", "archive", one),
        call("contacts", "find", one),
        call("contacts", "unarchive", one),
        call("contacts", "delete", one),
        call("contacts", "find", one),
    )
    assert found["done"] == made
    assert by_key["done"] == made
    assert (updated["done"]["id"], updated["done"]["name"], updated["done"]["phone"]) == (made["id"], "M", None)
    reference = {"type": "contact", "id": made["id"], "external_id": key}
    assert archived["done"] == {**reference, "archived": True}
    assert gone["refused"] == 404
    assert back["done"] == {**reference, "archived": False}
    assert deleted["done"] == {**reference, "deleted": True}
    assert (missing["refused"], missing["code"]) == (404, "not_found")


def test_a_conflict_and_a_block(client: Client) -> None:
    """409 names the other record; a blocked one keeps its identifiers."""
    key = unique("node-conflict")
    made = client.done("contacts", "create", {"external_id": key})
    (conflict,) = client.run(call("contacts", "create", {"external_id": key}))
    assert (conflict["refused"], conflict["code"]) == (409, "conflict")
    assert conflict["message"].rpartition("id=")[2] == made["id"]
    blocked = client.done("contacts", "blockContact", {"contact_id": made["id"]})
    assert blocked == {"type": "contact", "id": made["id"], "external_id": key, "blocked": True}
    assert client.refused("contacts", "create", {"external_id": key})[0] == 409


def test_merge_a_lead_into_a_user(client: Client) -> None:
    """The client sends `from` and `into`; the lead's id answers 410 with a link."""
    email = f"{unique('node-merge')}@example.com"
    lead = client.done("contacts", "create", {"role": "lead", "email": email, "name": "L"})
    user = client.done("contacts", "create", {"email": email})
    merge = ("contacts", "mergeLeadInUser", {"from": lead["id"], "into": user["id"]})
    merged = client.done(*merge)
    assert (merged["id"], merged["name"]) == (user["id"], "L")
    (gone,) = client.run(call("contacts", "find", {"contact_id": lead["id"]}))
    assert (gone["refused"], gone["code"]) == (410, "contact_merged")
    assert gone["link"] == f'</contacts/{user["id"]}>; rel="canonical"'


def test_search_and_list(client: Client) -> None:
    """Its pagers, too: everybody once."""
    name = unique("node-sought")
    creations = [call("contacts", "create", {"role": "lead", "name": name}) for _ in range(5)]
    made = {answer["done"]["id"] for answer in client.run(*creations)}
    query = {"field": "name", "operator": "=", "value": name}
    found = client.done("contacts", "search", {"query": query, "pagination": {"per_page": 10}}, take=1)
    assert len(found) == 5
    assert {contact["id"] for contact in found} == made
    group = {"operator": "AND", "value": [query, {"field": "role", "operator": "=", "value": "user"}]}
    assert client.done("contacts", "search", {"query": group}, take=1) == []
    listed = [contact["id"] for contact in client.done("contacts", "list", {"per_page": 2}, take=1000)]
    assert len(listed) == len(set(listed))
    assert made <= set(listed)
    wrong = {"field": "no_such_field", "operator": "=", "value": name}
    assert client.refused("contacts", "search", {"query": wrong})[0] == 400


def test_what_is_attached_is_empty(client: Client) -> None:
    """Companies, segments, subscriptions, tags."""
    one = {"contact_id": client.done("contacts", "create", {"role": "lead"})["id"]}
    assert client.done("contacts", "listAttachedCompanies", one, take=1) == []
    for method in ("listAttachedSegments", "listAttachedSubscriptions", "listAttachedTags"):
        assert client.done("contacts", method, one)["data"] == []


def test_data_attributes(client: Client) -> None:
    """Declared, used, archived, listed again."""
    name = unique("node_seats").replace("-", "_")
    declaration = {"name": name, "model": "contact", "data_type": "integer"}
    declared = client.done("dataAttributes", "create", declaration)
    assert (declared["full_name"], declared["archived"]) == (f"custom_attributes.{name}", False)
    used = client.done("contacts", "create", {"role": "lead", "custom_attributes": {name: 3}})
    assert used["custom_attributes"] == {name: 3}
    archived = client.done(
        "dataAttributes", "update", {"data_attribute_id": declared["id"], "body": {"archived": True}}
    )
    assert archived["archived"] is True
    active = client.done("dataAttributes", "list", {"model": "contact"})["data"]
    every = client.done("dataAttributes", "list", {"model": "contact", "include_archived": True})["data"]
    assert name in {one["name"] for one in every} - {one["name"] for one in active}
    assert client.refused("dataAttributes", "create", declaration)[0] == 400


def test_visitors(client: Client, server: Server) -> None:
    """Found, updated and converted into a user who then logs in."""
    visitor, key = unique("node-visitor"), unique("node-user")
    lead = client.done("contacts", "create", {"role": "lead", "external_id": visitor})
    assert client.done("visitors", "find", {"user_id": visitor})["id"] == lead["id"]
    assert client.done("visitors", "update", {"user_id": visitor, "name": "V"})["name"] == "V"
    conversion = {"type": "user", "user": {"user_id": key}, "visitor": {"user_id": visitor}}
    converted = client.done("visitors", "mergeToContact", conversion)
    assert (converted["id"], converted["role"], converted["external_id"]) == (lead["id"], "user", key)
    assert server.login(server.token(key)).json()["contact"]["id"] == lead["id"]


def test_a_token_that_does_not_stand(client: Client) -> None:
    """401 becomes the client's own class."""
    (answer,) = client.run(call("contacts", "find", {"contact_id": "0" * 24}), token="gwa_nobody")
    assert (answer["refused"], answer["kind"], answer["code"]) == (401, "UnauthorizedError", "unauthorized")
