"""Merging over real sockets: Intercom's shapes, and what a merge means for people who are logged in."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contacts.access_token import Scope
from tests.postgres import empty_database
from tests.web.conftest import access_token, running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.web.conftest import Reply, Server

_numbers = itertools.count()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def each_store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres_server: str
) -> Iterator[Server]:
    """A gateway on each store."""
    folder = tmp_path_factory.mktemp("merging")
    if request.param == "sqlite":
        with running_gateway(folder) as running:
            yield running
    else:
        with empty_database(postgres_server) as url, running_gateway(folder, store_url=url) as running:
            yield running


def create(server: Server, **fields: Any) -> Any:
    """A contact that stands."""
    reply = server.admin("POST", "/contacts", fields)
    assert reply.status == 200, reply.body
    return reply.json()


def lead_and_user(server: Server, **fields: Any) -> tuple[Any, Any]:
    """Two that share an email."""
    email = f"person-{next(_numbers)}@example.com"
    lead = create(server, role="lead", email=email, name="Lead", phone="+49 30 123456", **fields)
    return lead, create(server, external_id=f"merging-{next(_numbers)}", email=email, name="Own")


def merge(server: Server, source: Any, into: Any, **more: Any) -> Reply:
    return server.admin("POST", "/contacts/merge", {"from": source["id"], "into": into["id"], **more})


def error(reply: Reply) -> tuple[int, str, str]:
    """Status, code and message of the one error of an `error.list`."""
    body = reply.json()
    assert body["type"] == "error.list"
    (one,) = body["errors"]
    return reply.status, one["code"], one["message"]


def test_a_merge_and_its_undo(server: Server) -> None:
    """200 and the survivor; the old id is 410 with a canonical link; the undo brings both back as they were."""
    lead, user = lead_and_user(server)
    survivor = merge(server, lead, user)
    assert survivor.status == 200
    expected = {**user, "phone": lead["phone"], "updated_at": survivor.json()["updated_at"]}
    assert survivor.json() == expected == server.admin("GET", f"/contacts/{user['id']}").json()
    gone = server.admin("GET", f"/contacts/{lead['id']}")
    assert error(gone)[:2] == (410, "contact_merged")
    assert gone.headers["link"] == f'</contacts/{user["id"]}>; rel="canonical"'
    assert server.admin("PUT", f"/contacts/{lead['id']}", {"name": "x"}).status == 410
    undone = server.admin("POST", f"/contacts/{lead['id']}/unmerge")
    assert undone.status == 200
    assert undone.json() == {"type": "contact.unmerge", "contact": lead, "survivor": user, "kept_changes": []}
    for contact in (lead, user):
        assert server.admin("GET", f"/contacts/{contact['id']}").json() == contact


def test_the_preview(server: Server) -> None:
    """200 either way, field by field or with reasons, and nothing changes."""
    lead, user = lead_and_user(server)
    preview = server.admin("POST", "/contacts/merge/preview", {"from": lead["id"], "into": user["id"]})
    assert preview.status == 200
    body = preview.json()
    assert body["allowed"] is True
    changes = body["summary"]["attribute_changes"]
    assert changes == {
        "attributes": [
            {"field": "phone", "outcome": "adopted", "from_value": lead["phone"], "new_into_value": lead["phone"]},
            {
                "field": "name",
                "outcome": "discarded",
                "from_value": "Lead",
                "into_value": "Own",
                "new_into_value": "Own",
            },
        ],
        "total_count": 2,
    }
    nouns = {"conversations", "tickets", "phone_calls", "tags", "notes"}
    assert body["summary"]["reassignments"] == {noun: {"from": 0, "into": 0} for noun in nouns}
    refused = server.admin("POST", "/contacts/merge/preview", {"from": user["id"], "into": lead["id"]})
    assert (refused.status, refused.json()["allowed"]) == (200, False)
    assert [reason["code"] for reason in refused.json()["reasons"]] == ["invalid_merge_role_pair"]
    for contact in (lead, user):
        assert server.admin("GET", f"/contacts/{contact['id']}").json() == contact


def test_refusals_have_intercoms_codes(server: Server) -> None:
    """`invalid_merge`, `not_found`, `parameter_not_allowed`, `unprocessable_entity` (facts: Intercom 2.6)."""
    lead, user = lead_and_user(server)
    stranger = create(server, external_id=f"merging-{next(_numbers)}")
    assert error(merge(server, user, lead))[:2] == (400, "invalid_merge")
    assert error(merge(server, user, user))[:2] == (400, "invalid_merge")
    status, code, message = error(merge(server, lead, stranger))
    assert (status, code) == (400, "invalid_merge")
    assert "skip_duplicate_validation" in message
    assert error(merge(server, user, stranger))[:2] == (422, "unprocessable_entity")
    assert error(merge(server, user, stranger, skip_duplicate_validation=True))[:2] == (400, "parameter_not_allowed")
    for pair in (({"id": "0" * 24}, user), (user, {"id": "0" * 24}), ({"id": "not an id"}, user)):
        assert error(merge(server, *pair))[:2] == (404, "not_found")
    assert merge(server, lead, stranger, skip_duplicate_validation=True).status == 200
    assert error(merge(server, lead, user))[:2] == (410, "contact_merged")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "parameter_missing"),
        ({"from": "0" * 24}, "parameter_missing"),
        ({"into": "0" * 24, "from": None}, "parameter_missing"),
        ({"from": 7, "into": "0" * 24}, "parameter_invalid"),
        ({"from": ["0" * 24], "into": "0" * 24}, "parameter_invalid"),
        ({"from": "0" * 24, "into": "1" * 24, "skip_duplicate_validation": "true"}, "parameter_invalid"),
    ],
)
def test_bodies_that_are_none(server: Server, body: Any, code: str) -> None:
    """Both ids are needed, as texts; the flag is a boolean."""
    for path in ("/contacts/merge", "/contacts/merge/preview"):
        assert error(server.admin("POST", path, body))[:2] == (400, code)


def test_undos_that_are_refused(server: Server) -> None:
    """422 in words for what cannot be undone, 404 for nobody, 409 naming who took an identifier since."""
    lead, user = lead_and_user(server)
    for contact_id in ("0" * 24, "nobody"):
        assert error(server.admin("POST", f"/contacts/{contact_id}/unmerge"))[:2] == (404, "not_found")
    assert error(server.admin("POST", f"/contacts/{lead['id']}/unmerge"))[:2] == (422, "unprocessable_entity")
    second = create(server, role="lead", email=user["email"])
    assert merge(server, lead, user).status == 200
    assert merge(server, second, user).status == 200
    status, code, message = error(server.admin("POST", f"/contacts/{lead['id']}/unmerge"))
    assert (status, code) == (422, "unprocessable_entity")
    assert second["id"] in message
    adopting = create(server, email=f"adopting-{next(_numbers)}@example.com")
    moved = create(server, role="lead", external_id=f"moved-{next(_numbers)}", email=adopting["email"])
    assert merge(server, moved, adopting).json()["external_id"] == moved["external_id"]
    server.admin("PUT", f"/contacts/{adopting['id']}", {"external_id": None})
    thief = create(server, external_id=moved["external_id"])
    status, code, message = error(server.admin("POST", f"/contacts/{moved['id']}/unmerge"))
    assert (status, code) == (409, "conflict")
    assert message.endswith(f"id={thief['id']}")


def test_kept_changes_are_reported(server: Server) -> None:
    """What came to the survivor after the merge stays there, and the answer says what."""
    lead, user = lead_and_user(server)
    merge(server, lead, user)
    server.admin("PUT", f"/contacts/{user['id']}", {"phone": "+49 30 999999"})
    undone = server.admin("POST", f"/contacts/{lead['id']}/unmerge").json()
    assert undone["contact"] == lead
    assert undone["survivor"]["phone"] == "+49 30 999999"
    assert undone["kept_changes"] == [
        {"field": "phone", "before_merge": None, "after_merge": lead["phone"], "value": "+49 30 999999"}
    ]


def test_merge_history(server: Server) -> None:
    """Pages in both orders that neither skip nor repeat; in the contact itself when it is asked for."""
    _, user = lead_and_user(server)
    leads = [create(server, role="lead", email=user["email"]) for _ in range(5)]
    for lead in leads:
        assert merge(server, lead, user).status == 200
    ids = [lead["id"] for lead in leads]
    path = f"/contacts/{user['id']}/merge_history"
    for order, expected in (("asc", ids), ("desc", ids[::-1])):
        seen, cursor = [], ""
        while True:
            page = server.admin("GET", f"{path}?per_page=2&order={order}&cursor={cursor}").json()
            assert page["type"] == "list"
            seen += [item["source_contact_id"] for item in page["data"]]
            if not page["has_more"]:
                assert "next_cursor" not in page
                break
            cursor = page["next_cursor"]
        assert seen == expected
    item = server.admin("GET", path).json()["data"][0]
    assert item.keys() == {"type", "source_contact_id", "source_contact_role", "merged_at"}
    assert (item["type"], item["source_contact_role"]) == ("merge_history", "lead")
    by_id = server.admin("GET", f"/contacts/{user['id']}?include_merge_history=true").json()
    by_external_id = server.admin(
        "GET", f"/contacts/find_by_external_id/{user['external_id']}?include_merge_history=true"
    ).json()
    assert by_id == by_external_id
    assert [one["source_contact_id"] for one in by_id["merge_history"]] == ids[::-1]
    assert "merge_history" not in server.admin("GET", f"/contacts/{user['id']}").json()
    assert error(server.admin("GET", f"/contacts/{ids[0]}/merge_history"))[:2] == (410, "contact_merged")
    assert error(server.admin("GET", f"/contacts/{'0' * 24}/merge_history"))[:2] == (404, "not_found")


def test_odd_queries_of_the_merge_history(server: Server) -> None:
    """A page size, an order or a cursor that is none is 400; so is another list's cursor."""
    _, user = lead_and_user(server)
    for _ in range(2):
        merge(server, create(server, role="lead", email=user["email"]), user)
    path = f"/contacts/{user['id']}/merge_history"
    for query in ("per_page=0", "per_page=151", "per_page=x", "per_page=-1", "per_page=", "order=up", "cursor=%FF"):
        assert error(server.admin("GET", f"{path}?{query}"))[:2] == (400, "parameter_invalid")
    cursor = server.admin("GET", f"{path}?per_page=1").json()["next_cursor"]
    _, other = lead_and_user(server)
    for address in (
        f"{path}?cursor={cursor[:-4]}",
        f"{path}?cursor=%C3%BF",
        f"{path}?cursor={'9' * 5000}",
        f"{path}?cursor={cursor}&order=asc",
        f"/contacts/{other['id']}/merge_history?cursor={cursor}",
    ):
        assert error(server.admin("GET", address))[:2] == (400, "client_error")


def test_scopes(server: Server) -> None:
    """R30: reading never merges; a preview and a history need no more than reading."""
    lead, user = lead_and_user(server)
    reader, writer = access_token(server, Scope.CONTACTS_READ), access_token(server, Scope.CONTACTS_WRITE)
    body = {"from": lead["id"], "into": user["id"]}
    assert server.admin("POST", "/contacts/merge", body, reader).status == 403
    assert server.admin("POST", "/contacts/merge/preview", body, reader).status == 200
    assert server.admin("GET", f"/contacts/{user['id']}/merge_history", token=reader).status == 200
    assert server.admin("POST", "/contacts/merge", body, writer).status == 200
    assert server.admin("POST", f"/contacts/{lead['id']}/unmerge", token=reader).status == 403
    assert server.admin("POST", f"/contacts/{lead['id']}/unmerge", token=writer).status == 200


def test_b14_a_merge_and_its_undo_act_on_the_next_request(each_store: Server) -> None:
    """C05: whoever's token is remembered, of the source, the survivor or what was merged before, is asked again."""
    server = each_store
    email = f"warm-{next(_numbers)}@example.com"
    names = [f"warm-{next(_numbers)}" for _ in range(3)]
    tokens = [server.token(name, email=email) for name in names]
    ids = [server.login(token).json()["contact"]["id"] for token in tokens]
    assert len(set(ids)) == 3

    def answers() -> list[str]:
        """Whom each token leads to; asked twice, so that the second answer may come from memory."""
        found = [
            [server.request("GET", path, token).json()["contact"]["id"] for token in tokens]
            for path in ("/messenger/me",) * 2
        ]
        assert found[0] == found[1]
        forwarded = [server.request("GET", "/auth", token).headers["x-contact-id"] for token in tokens]
        assert forwarded == found[0]
        return forwarded

    first, second, third = ({"id": contact_id} for contact_id in ids)
    assert answers() == ids
    assert merge(server, first, second).status == 200
    assert answers() == [ids[1], ids[1], ids[2]]
    assert merge(server, second, third).status == 200
    assert answers() == [ids[2]] * 3
    assert server.admin("POST", f"/contacts/{ids[1]}/unmerge").status == 200
    assert answers() == [ids[1], ids[1], ids[2]]
    assert server.admin("POST", f"/contacts/{ids[0]}/unmerge").status == 200
    assert answers() == ids


def test_merges_crosswise_leave_one_and_lose_nothing(each_store: Server) -> None:
    """A into B, B into A, a login and an edit of each at once: one survivor, both ids lead to it, nothing is 5xx."""
    server = each_store
    for turn in range(8):
        email, ids = f"cross-{next(_numbers)}@example.com", []
        names = [f"cross-{turn}-{next(_numbers)}" for _ in range(2)]
        tokens = [server.token(name, email=email) for name in names]
        ids = [server.login(token).json()["contact"]["id"] for token in tokens]
        one, two = ({"id": contact_id} for contact_id in ids)
        with ThreadPoolExecutor(8) as pool:
            merges = [pool.submit(merge, server, *pair) for pair in ((one, two), (two, one))]
            logins = [pool.submit(server.login, server.token(name, email=email, name=f"N{turn}")) for name in names]
            edits = [pool.submit(server.admin, "PUT", f"/contacts/{each}", {"phone": f"+493012{turn}"}) for each in ids]
        assert sorted(reply.result().status for reply in merges) == [200, 410]
        assert {reply.result().status for reply in logins} == {200}
        assert {reply.result().status for reply in edits} <= {200, 410}
        survivors = {server.request("GET", "/messenger/me", token).json()["contact"]["id"] for token in tokens}
        assert len(survivors) == 1
        assert survivors <= set(ids)
