"""Archive, block and back, over real sockets (facts: Intercom 2.5, 2.7; S2, S4, S12)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.web.conftest import running_gateway

if TYPE_CHECKING:
    from pathlib import Path

    from tests.web.conftest import Reply, Server


def error(reply: Reply) -> Any:
    """The one error of an `error.list`."""
    (one,) = reply.json()["errors"]
    return one


def create(server: Server, **fields: Any) -> str:
    reply = server.admin("POST", "/contacts", fields)
    assert reply.status == 200
    contact_id: str = reply.json()["id"]
    return contact_id


def step(server: Server, contact_id: str, name: str) -> Reply:
    """As the official client does it: no body, `Content-Length: 0`, no content type."""
    return server.request("POST", f"/contacts/{contact_id}/{name}", server.access_token, body=b"", admin=True)


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("archive", {"archived": True}),
        ("unarchive", {"archived": False}),
        ("block", {"blocked": True}),
        ("unblock", {"blocked": False}),
    ],
)
def test_each_step_answers_with_the_reference_and_may_be_repeated(
    server: Server, name: str, state: dict[str, bool]
) -> None:
    """`{type, id, external_id}`, which may be null, and the state (facts: Intercom 2.2); unknown ids are 404."""
    for fields in ({"external_id": f"steps-{name}"}, {"role": "lead"}):
        contact_id = create(server, **fields)
        expected = {"type": "contact", "id": contact_id, "external_id": fields.get("external_id"), **state}
        for _ in range(2):
            reply = step(server, contact_id, name)
            assert (reply.status, reply.json()) == (200, expected)
    for unknown in ("0" * 24, "1", "..%2f"):
        assert (step(server, unknown, name).status, error(step(server, unknown, name))["code"]) == (404, "not_found")


def test_s12_an_archived_contact_is_away_and_comes_back_as_it_was(server: Server) -> None:
    """404 by id and by external id; after unarchive the same record (S2), but for `updated_at`."""
    contact_id = create(server, external_id="away", email="away@example.com", name="A")
    before = server.admin("GET", f"/contacts/{contact_id}").json()
    step(server, contact_id, "archive")
    for path in (f"/contacts/{contact_id}", "/contacts/find_by_external_id/away"):
        assert server.admin("GET", path).status == 404
    assert server.admin("PUT", f"/contacts/{contact_id}", {"name": "B"}).status == 404
    step(server, contact_id, "unarchive")
    after = server.admin("GET", f"/contacts/{contact_id}").json()
    assert {**after, "updated_at": before["updated_at"]} == before
    assert server.admin("GET", "/contacts/find_by_external_id/away").json() == after


@pytest.mark.parametrize("key", ["external_id", "email"])
@pytest.mark.parametrize(
    ("steps", "code", "who"),
    [
        ([], "conflict", "A contact"),
        (["archive"], "conflict", "An archived contact"),
        (["block"], "not_restorable", "A blocked contact"),
        (["archive", "block", "archive"], "not_restorable", "A blocked contact"),
        (["block", "unblock"], "conflict", "A contact"),
    ],
)
def test_s4_identifiers_stay_reserved(server: Server, steps: list[str], code: str, who: str, key: str) -> None:
    """Create and update are 409 whatever the holder's state; the message ends in its id, which clients read there."""
    value = f"{len(steps)}-{'-'.join(steps)}-{key}{'@example.com' if key == 'email' else ''}"
    holder = create(server, **{key: value})
    for name in steps:
        assert step(server, holder, name).status == 200
    other = create(server, external_id=f"other-{value}")
    replies = [
        server.admin("POST", "/contacts", {key: value}),
        server.admin("PUT", f"/contacts/{other}", {key: value}),
    ]
    for reply in replies:
        assert (reply.status, error(reply)["code"], error(reply)["field"]) == (409, code, key)
        assert error(reply)["message"] == f"{who} matching those details already exists with id={holder}"
    assert server.admin("DELETE", f"/contacts/{holder}").status == 200
    assert server.admin("POST", "/contacts", {key: value}).status == 200


def test_leads_that_share_an_email_hide_no_user_with_it(server: Server) -> None:
    """The user is found behind any number of older leads with the address."""
    for _ in range(5):
        create(server, role="lead", email="crowd@example.com")
    user = create(server, email="crowd@example.com")
    reply = server.admin("POST", "/contacts", {"external_id": "crowd", "email": "crowd@example.com"})
    assert (reply.status, error(reply)["message"].endswith(user)) == (409, True)


def test_a_block_is_lifted_by_unblock_alone(server: Server) -> None:
    """Neither archive, nor unarchive, nor a login brings a blocked contact back."""
    contact_id = server.login(server.token("blocked-one")).json()["contact"]["id"]
    step(server, contact_id, "block")
    assert step(server, contact_id, "archive").json()["archived"] is True
    reply = step(server, contact_id, "unarchive")
    assert (reply.status, error(reply)["code"]) == (400, "not_restorable")
    assert server.login(server.token("blocked-one")).code == "contact_blocked"
    step(server, contact_id, "unblock")
    assert server.login(server.token("blocked-one")).json()["contact"]["id"] == contact_id


def test_a_merged_contact_cannot_be_restored(server: Server) -> None:
    """Unarchive is 400 `bad_request`; every other step leads to the survivor with 410 and `Link`."""
    source, into = create(server, role="lead", email="m@example.com"), create(server, email="m@example.com")
    merged = server.admin("POST", "/contacts/merge", {"from": source, "into": into})
    assert merged.status == 200
    reply = step(server, source, "unarchive")
    assert (reply.status, error(reply)["code"]) == (400, "bad_request")
    for name in ("archive", "block", "unblock"):
        gone = step(server, source, name)
        assert (gone.status, gone.headers["link"]) == (410, f'</contacts/{into}>; rel="canonical"')


def test_what_was_put_away_is_listed_in_pages(tmp_path: Path) -> None:
    """Archived and blocked contacts by id, each once, with their email and state; found by email (complaint 7)."""
    with running_gateway(tmp_path) as server:
        ids = [create(server, external_id=f"put-{n}", email=f"put-{n}@example.com") for n in range(5)]
        for contact_id in ids:
            step(server, contact_id, "block" if contact_id == ids[0] else "archive")
        create(server, external_id="stays")
        seen: list[Any] = []
        query = ""
        while True:
            page = server.admin("GET", f"/contacts/archived?per_page=2{query}").json()
            assert (page["type"], page["total_count"]) == ("list", 5)
            seen += page["data"]
            if page["pages"]["next"] is None:
                break
            query = f"&starting_after={page['pages']['next']['starting_after']}"
        assert [one["id"] for one in seen] == sorted(ids)
        assert {one["id"] for one in seen if one["blocked"]} == {ids[0]}
        assert all(one["archived"] is not one["blocked"] for one in seen)
        (found,) = server.admin("GET", "/contacts/archived?email=PUT-3@Example.com").json()["data"]
        assert found["id"] == ids[3]
        assert server.admin("GET", "/contacts/archived?email=stays@example.com").json()["total_count"] == 0


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("per_page=0", 400, "per_page"),
        ("per_page=151", 400, "per_page"),
        ("per_page=%D9%A3", 400, "per_page"),
        ("starting_after=x", 400, "starting_after"),
        ("email=nobody", 422, "email"),
    ],
)
def test_r33_a_bad_query_is_refused_with_its_place(server: Server, query: str, status: int, field: str) -> None:
    """4xx naming the parameter."""
    reply = server.admin("GET", f"/contacts/archived?{query}")
    assert (reply.status, error(reply)["field"]) == (status, field)


@pytest.mark.parametrize(("name", "code"), [("block", "contact_blocked"), ("archive", "contact_archived")])
def test_a_step_acts_on_a_remembered_token(tmp_path: Path, name: str, code: str) -> None:
    """Soon every request of a token that was seen before is refused, whichever of two workers it reaches."""
    with running_gateway(tmp_path, workers=2, extra='archived_login = "reject"') as server:
        token = server.token("remembered")
        contact_id = server.login(token).json()["contact"]["id"]
        for _ in range(40):  # new connections, so that both workers remember it
            assert server.login(token).status == 200
        assert step(server, contact_id, name).status == 200
        for _ in range(50):  # a second is promised; a machine under load may need more
            time.sleep(0.2)
            if {refusal(server.login(token)) for _ in range(40)} == {code}:
                return
        raise AssertionError("a worker did not hear of it")


def refusal(reply: Reply) -> str | None:
    return None if reply.status == 200 else reply.code


def test_a_step_acts_at_once_in_its_own_process(server: Server) -> None:
    """The very next login of a remembered token meets the block, and the very next one after that its end."""
    token = server.token("at-once")
    contact_id = server.login(token).json()["contact"]["id"]
    for _ in range(3):
        assert server.login(token).status == 200
        step(server, contact_id, "block")
        assert server.login(token).code == "contact_blocked"
        step(server, contact_id, "unblock")
