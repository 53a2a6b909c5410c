"""Searching and listing over HTTP, against a running gateway: the answer's shape, cursors, and bad queries."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contacts.access_token import Scope
from gateway.contacts.database.stores import store_for
from tests.contacts.records import contact, insert
from tests.web.conftest import STORES, access_token, gateway_on, other_workspace, running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.web.conftest import Reply, Server


@pytest.fixture(params=STORES, scope="module")
def crowded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A gateway with 23 contacts, on each store."""
    folder = tmp_path_factory.mktemp("crowded")
    with gateway_on(request.param, request, folder, others=other_workspace(folder)) as gateway:
        for number in range(23):
            body = {"external_id": f"U-{number}", "email": f"p{number}@example.com", "name": f"n{number % 3}"}
            assert gateway.admin("POST", "/contacts", body).status == 200
        yield gateway


def search(server: Server, query: Any, pagination: Any = None, sort: Any = None) -> Reply:
    body = {"query": query, "pagination": pagination, "sort": sort}
    return server.admin("POST", "/contacts/search", {key: value for key, value in body.items() if value is not None})


EVERYBODY = {"field": "role", "operator": "=", "value": "user"}


def problem(reply: Reply) -> dict[str, Any]:
    assert reply.status == 400
    body = reply.json()
    assert body["type"] == "error.list"
    error: dict[str, Any] = body["errors"][0]
    return error


def test_the_shape_of_an_answer(crowded: Server) -> None:
    """type, data, total_count, pages (facts: Intercom 2.8); the contacts as they are retrieved one by one."""
    reply = search(crowded, EVERYBODY, {"per_page": 10.0})  # to JSON Schema an integer, too
    assert reply.status == 200
    body = reply.json()
    following = body["pages"]["next"].pop("starting_after")
    assert isinstance(following, str)
    assert {key: value for key, value in body.items() if key != "data"} == {
        "type": "list",
        "total_count": 23,
        "pages": {"type": "pages", "page": 1, "per_page": 10, "total_pages": 3, "next": {"page": 2, "per_page": 10}},
    }
    assert len(body["data"]) == 10
    assert crowded.admin("GET", f"/contacts/{body['data'][0]['id']}").json() == body["data"][0]


def test_nothing_found_is_an_answer(crowded: Server) -> None:
    """An empty page, no next one."""
    body = search(crowded, {"field": "email", "operator": "=", "value": "nobody@example.com"}).json()
    pages = {"type": "pages", "page": 1, "per_page": 50, "total_pages": 0, "next": None}
    assert body == {"type": "list", "data": [], "total_count": 0, "pages": pages}


def walk(server: Server, *, listed: bool, per_page: int) -> list[dict[str, Any]]:
    """All pages, by the cursors."""
    pages = []
    cursor = None
    while True:
        if listed:
            after = f"&starting_after={cursor}" if cursor else ""
            reply = server.admin("GET", f"/contacts?per_page={per_page}{after}")
        else:
            reply = search(server, EVERYBODY, {"per_page": per_page, "starting_after": cursor})
        assert reply.status == 200
        pages.append(reply.json())
        if pages[-1]["pages"]["next"] is None:
            return pages
        cursor = pages[-1]["pages"]["next"]["starting_after"]


@pytest.mark.parametrize("listed", [True, False])
def test_pages_follow_one_another(crowded: Server, listed: bool) -> None:
    """Every contact once, newest first, page by page, with the count and the numbers in each."""
    pages = walk(crowded, listed=listed, per_page=7)
    assert [page["pages"]["page"] for page in pages] == [1, 2, 3, 4]
    assert {page["total_count"] for page in pages} == {23}
    assert {page["pages"]["total_pages"] for page in pages} == {4}
    met = [(one["created_at"], one["id"]) for page in pages for one in page["data"]]
    assert met == sorted(met, reverse=True)
    assert len(set(met)) == 23


def test_pages_by_an_order_of_one_s_own(crowded: Server) -> None:
    """`sort` and a nested group; the order holds from page to page."""
    query = {
        "operator": "AND",
        "value": [
            EVERYBODY,
            {"operator": "OR", "value": [{"field": "name", "operator": "^", "value": "N1"}, EVERYBODY]},
        ],
    }
    names: list[str] = []
    cursor = None
    for _ in range(5):
        pagination = {"per_page": 5, "starting_after": cursor}
        body = search(crowded, query, pagination, {"field": "name", "order": "ascending"}).json()
        names += [one["name"] for one in body["data"]]
        cursor = (body["pages"]["next"] or {}).get("starting_after")
    assert cursor is None
    assert names == sorted(names)
    assert len(names) == 23


def cursor_of(server: Server, query: Any = EVERYBODY, sort: Any = None) -> str:
    cursor: str = search(server, query, {"per_page": 1}, sort).json()["pages"]["next"]["starting_after"]
    return cursor


def test_a_cursor_of_another_query_is_refused(crowded: Server) -> None:
    """Of another filter, order or list: 400 `client_error` with what to do (facts: Intercom 2.8)."""
    other = {"field": "role", "operator": "!=", "value": "lead"}
    for cursor in (cursor_of(crowded, other), cursor_of(crowded, EVERYBODY, {"field": "name"})):
        error = problem(search(crowded, EVERYBODY, {"starting_after": cursor}))
        assert (error["code"], error["field"]) == ("client_error", "pagination.starting_after")
        assert "not a cursor of this list and query" in error["message"]
    error = problem(crowded.admin("GET", f"/contacts?starting_after={cursor_of(crowded)}"))
    assert (error["code"], error["field"]) == ("client_error", "starting_after")
    assert search(crowded, {**EVERYBODY, "value": "user"}, {"starting_after": cursor_of(crowded)}).status == 200


def test_a_tampered_cursor_is_refused(crowded: Server) -> None:
    """Each changed character, each cut, a longer one, another spelling of the same bytes, and what never was one."""
    good = cursor_of(crowded)
    changed = [good[:at] + ("A" if good[at] != "A" else "B") + good[at + 1 :] for at in range(0, len(good), 5)]
    last = good[:-1] + chr(ord(good[-1]) + 1)
    forged = base64.b64encode(json.dumps([1747365555000, "6" * 24, 2]).encode()).decode()
    odd = [
        "x",
        "=",
        good + "=",
        good + "A",
        good[:-4],
        last,
        forged,
        "'; DROP TABLE contacts; --",
        "ü",
        "\0",
        5,
        [],
        "A" * 5_000,
    ]
    for cursor in [*changed, *odd]:
        error = problem(search(crowded, EVERYBODY, {"starting_after": cursor}))
        assert error["code"] == "client_error", cursor


def test_a_cursor_is_its_workspace_s_own(crowded: Server) -> None:
    """Another workspace's access token cannot use it (advisory C04)."""
    cursor = cursor_of(crowded)
    stranger = access_token(crowded, Scope.CONTACTS_READ, workspace="other")
    body = {"query": EVERYBODY, "pagination": {"starting_after": cursor}}
    assert problem(crowded.admin("POST", "/contacts/search", body, stranger))["code"] == "client_error"
    assert crowded.admin("POST", "/contacts/search", {"query": EVERYBODY}, stranger).json()["total_count"] == 0


def test_a_cursor_outlives_its_page(crowded: Server) -> None:
    """The record at which a page ended may go; the next page begins all the same."""
    passing = [crowded.admin("POST", "/contacts", {"external_id": f"passing-{n}"}).json()["id"] for n in range(2)]
    query = {"field": "external_id", "operator": "^", "value": "Passing-"}
    first = search(crowded, query, {"per_page": 1}).json()
    met = first["data"][0]["id"]
    assert crowded.admin("DELETE", f"/contacts/{met}").status == 200
    rest = search(crowded, query, {"starting_after": first["pages"]["next"]["starting_after"]}).json()
    assert [one["id"] for one in rest["data"]] == [one for one in passing if one != met]
    assert (first["total_count"], rest["total_count"]) == (2, 2)  # as the first page counted
    assert crowded.admin("DELETE", f"/contacts/{rest['data'][0]['id']}").status == 200


def test_what_is_written_is_found_at_once(crowded: Server) -> None:
    """No lag between a write and a search, and nothing after an end (S14)."""
    query = {"field": "external_id", "operator": "=", "value": "at-once"}
    for _ in range(10):
        made = crowded.admin("POST", "/contacts", {"external_id": "at-once"}).json()
        assert search(crowded, query).json()["data"] == [made]
        assert crowded.admin("DELETE", f"/contacts/{made['id']}").status == 200
        assert search(crowded, query).json()["total_count"] == 0


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "parameter_missing", "query"),
        ({"query": None}, "parameter_invalid", "query"),
        ({"query": EVERYBODY, "limit": 5}, "parameter_invalid", "body"),
        ({"query": {"field": "emal", "operator": "=", "value": "x"}}, "parameter_invalid", "query.field"),
        (
            {"query": {"operator": "AND", "value": [EVERYBODY, EVERYBODY, {**EVERYBODY, "operator": "=="}]}},
            "parameter_invalid",
            "query.value[2].operator",
        ),
        ({"query": {"operator": "OR", "value": [EVERYBODY] * 10_000}}, "parameter_invalid", "query.value"),
        ({"query": {"field": "name", "operator": "=", "value": "a\0"}}, "parameter_invalid", "query.value"),
        ({"query": EVERYBODY, "sort": {"field": "name", "order": "up"}}, "invalid_sort_order", "sort.order"),
        ({"query": EVERYBODY, "sort": {"field": "1; DROP TABLE contacts"}}, "parameter_invalid", "sort.field"),
        ({"query": EVERYBODY, "pagination": 5}, "parameter_invalid", "pagination"),
        ({"query": EVERYBODY, "pagination": {"per_page": 0}}, "parameter_invalid", "pagination.per_page"),
        ({"query": EVERYBODY, "pagination": {"per_page": 151}}, "parameter_invalid", "pagination.per_page"),
        ({"query": EVERYBODY, "pagination": {"per_page": "50"}}, "parameter_invalid", "pagination.per_page"),
        ({"query": EVERYBODY, "pagination": {"per_page": True}}, "parameter_invalid", "pagination.per_page"),
        ({"query": EVERYBODY, "pagination": {"offset": 5}}, "parameter_invalid", "pagination"),
    ],
)
def test_a_bad_search_is_told_what_and_where(crowded: Server, body: Any, code: str, field: str) -> None:
    """400, a code of the vocabulary, words, and a path into the body."""
    error = problem(crowded.admin("POST", "/contacts/search", body))
    assert (error["code"], error["field"]) == (code, field)
    assert error["message"]


@pytest.mark.parametrize(
    "query",
    ["per_page=0", "per_page=151", "per_page=x", "per_page=5&per_page=6", "starting_after=x", "email=a@example.com"],
)
def test_a_bad_list_is_refused(crowded: Server, query: str) -> None:
    """What a list does not understand it does not ignore: a filter that did nothing would list everybody."""
    assert problem(crowded.admin("GET", f"/contacts?{query}"))["code"] in {"parameter_invalid", "client_error"}


def test_a_large_body_is_refused(crowded: Server) -> None:
    """More than a megabyte is not read."""
    body = {"query": {"field": "name", "operator": "IN", "value": ["x" * 1_000] * 1_100}}
    assert crowded.admin("POST", "/contacts/search", body).status == 413


def test_searching_needs_the_scope_to_read(crowded: Server) -> None:
    """An access token that only writes finds nothing (R30)."""
    writer = access_token(crowded, Scope.CONTACTS_WRITE)
    assert crowded.admin("GET", "/contacts", token=writer).status == 403
    assert crowded.admin("POST", "/contacts/search", {"query": EVERYBODY}, writer).status == 403


def test_a_declared_type_decides(crowded: Server) -> None:
    """A number written as text compares as a number where the attribute is declared so, and a date by its day."""
    for name, kind in (("seats", "integer"), ("born", "date")):
        body = {"name": name, "model": "contact", "data_type": kind}
        assert crowded.admin("POST", "/data_attributes", body).status == 200
    attributes = {"seats": 12, "born": 86_400 * 5 + 7}
    made = crowded.admin("POST", "/contacts", {"external_id": "typed", "custom_attributes": attributes})
    assert made.status == 200
    for field, operator, value in (("seats", ">", "9"), ("seats", "IN", ["12"]), ("born", "=", 86_400 * 5)):
        query = {"field": f"custom_attributes.{field}", "operator": operator, "value": value}
        assert search(crowded, query).json()["data"] == [made.json()]
    query = {"field": "custom_attributes.seats", "operator": "=", "value": "many"}
    assert problem(search(crowded, query))["field"] == "query.value"
    assert crowded.admin("DELETE", f"/contacts/{made.json()['id']}").status == 200


def test_heavy_searches_do_not_hold_up_logins(crowded: Server) -> None:
    """While searches read everything, over and over, logins and look-ups are answered."""
    slow = {"field": "custom_attributes.x", "operator": "!~", "value": "c"}
    query = {"operator": "AND", "value": [{"operator": "OR", "value": [slow] * 15}] * 15}
    stop = threading.Event()
    replies: list[int] = []

    def search_on() -> None:
        while not stop.is_set():
            replies.append(search(crowded, query).status)

    threads = [threading.Thread(target=search_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(20):
            assert crowded.login(crowded.token(f"login-{number}"), {"app_id": "acme"}).status == 200
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert replies
    assert set(replies) == {200}
    for number in range(20):
        found = search(crowded, {"field": "external_id", "operator": "=", "value": f"login-{number}"}).json()["data"]
        assert crowded.admin("DELETE", f"/contacts/{found[0]['id']}").status == 200


def test_r32_a_search_that_takes_too_long_is_refused(tmp_path: Path) -> None:
    """225 filters, for each of which every one of 40,000 records is read: 422, and the next search is answered."""
    with running_gateway(tmp_path) as server:
        asyncio.run(fill(tmp_path, 40_000))
        inner = {"operator": "AND", "value": [custom("~", "b")] * 14 + [custom("~", "c")]}
        reply = search(server, {"operator": "OR", "value": [inner] * 15})
        assert reply.status == 422
        error = reply.json()["errors"][0]
        assert (error["code"], error["field"]) == ("request_timeout", "query")
        assert search(server, EVERYBODY).json()["total_count"] == 40_000


def custom(operator: str, value: str) -> dict[str, str]:
    return {"field": "custom_attributes.x", "operator": operator, "value": value}


async def fill(folder: Path, contacts: int) -> None:
    """Many contacts, put into the store beside the running gateway."""
    store = store_for(f"sqlite:///{folder / 'contacts.db'}")
    await store.open()
    await insert(store, *(contact(custom_attributes={"x": "a" * 200 + "b"}) for _ in range(contacts)))
    await store.close()


def test_the_clock_does_not_matter_to_a_page(crowded: Server) -> None:
    """A search by time sees what was written in this very second."""
    query = {"field": "created_at", "operator": "<=", "value": str(int(time.time()) + 1)}
    assert search(crowded, query).json()["total_count"] == 23
