"""The first part of the Contacts API over real sockets (facts: Intercom 2.2 to 2.5)."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from msgspec.structs import replace

from gateway.contacts.access_token import Scope
from gateway.contacts.contact import Contact, State
from gateway.contacts.database.stores import store_for
from tests.web.conftest import access_token, other_workspace, running_gateway

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gateway.contacts.store import ContactTransaction, Event
    from tests.web.conftest import Server


def error(reply: Any) -> Any:
    """The one error of an `error.list`."""
    body = reply.json()
    assert body["type"] == "error.list"
    (one,) = body["errors"]
    return one


def test_create_retrieve_update_delete(server: Server) -> None:
    """The life of a record; every success is 200, the id never changes, deletion frees the identifiers."""
    created = server.admin("POST", "/contacts", {"external_id": "crud", "email": "Crud@Example.com", "name": "C"})
    assert created.status == 200
    contact = created.json()
    assert (contact["external_id"], contact["email"], contact["role"]) == ("crud", "crud@example.com", "user")
    path = f"/contacts/{contact['id']}"
    assert server.admin("GET", path).json() == contact
    assert server.admin("GET", "/contacts/find_by_external_id/crud").json() == contact
    updated = server.admin("PUT", path, {"id": "0" * 24, "external_id": "crud-2", "name": None})
    assert (updated.json()["id"], updated.json()["name"]) == (contact["id"], None)
    assert server.admin("GET", "/contacts/find_by_external_id/crud").status == 404
    deleted = server.admin("DELETE", path)
    assert deleted.json() == {"type": "contact", "id": contact["id"], "external_id": "crud-2", "deleted": True}
    assert server.admin("GET", path).status == 404
    assert server.admin("POST", "/contacts", {"external_id": "crud-2"}).status == 200


@pytest.mark.parametrize("key", ["external_id", "email"])
def test_r34_an_identifier_that_is_taken_is_a_conflict(server: Server, key: str) -> None:
    """409 whose message ends in the other record's id: clients read it there."""
    value = {"external_id": "taken", "email": "taken@example.com"}[key]
    body = {"external_id": f"holder-{key}", key: value}
    holder = server.admin("POST", "/contacts", body).json()
    reply = server.admin("POST", "/contacts", {"external_id": f"second-{key}", key: value})
    assert (reply.status, error(reply)["code"]) == (409, "conflict")
    assert error(reply)["message"].endswith(f"already exists with id={holder['id']}")
    other = server.admin("POST", "/contacts", {"external_id": f"third-{key}"}).json()
    assert server.admin("PUT", f"/contacts/{other['id']}", {key: value}).status == 409


def test_leads_may_share_an_email(server: Server) -> None:
    """The uniqueness of emails holds for users; leads are never found by external id."""
    bodies = [{"role": "lead", "email": "lead@example.com"}] * 2
    assert [server.admin("POST", "/contacts", body).status for body in bodies] == [200, 200]


def test_a_user_never_becomes_a_lead(server: Server) -> None:
    """User to lead is 400; lead to user is done."""
    user = server.admin("POST", "/contacts", {"external_id": "was-user"}).json()
    assert server.admin("PUT", f"/contacts/{user['id']}", {"role": "lead"}).status == 400
    lead = server.admin("POST", "/contacts", {"role": "lead"}).json()
    promoted = server.admin("PUT", f"/contacts/{lead['id']}", {"role": "user", "external_id": "promoted"})
    assert promoted.json()["role"] == "user"


def test_s10_a_missing_user_id_is_added_later(server: Server) -> None:
    """A record known by its email gets its external_id through the API, keeps its id, and the login meets it."""
    contact = server.admin("POST", "/contacts", {"email": "later@example.com"}).json()
    server.admin("PUT", f"/contacts/{contact['id']}", {"external_id": "later"})
    assert server.login(server.token("later")).json()["contact"]["id"] == contact["id"]


def test_s13_a_correction_acts_on_the_next_login(server: Server) -> None:
    """A corrected external_id is what the next request of a remembered token resolves by."""
    token = server.token("wrong")
    before = server.login(token).json()["contact"]["id"]
    assert server.login(token).json()["contact"]["id"] == before
    server.admin("PUT", f"/contacts/{before}", {"external_id": "right"})
    assert server.login(token).json()["contact"]["id"] != before
    assert server.login(server.token("right")).json()["contact"]["id"] == before


@pytest.mark.parametrize("external_id", ["a/b", "a?b", "a#b", "100%", "../x", "a b", "caf\u00e9", "a%2Fb"])
def test_an_odd_external_id_is_found(server: Server, external_id: str) -> None:
    """Percent-encoded once, decoded once: slashes, dots and percent signs stay part of the id."""
    created = server.admin("POST", "/contacts", {"external_id": external_id}).json()
    found = server.admin("GET", f"/contacts/find_by_external_id/{quote(external_id, safe='')}")
    assert found.json() == created


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 400, None),
        ({"name": "nobody"}, 400, None),
        ({"external_id": "undefined"}, 422, "external_id"),
        ({"external_id": " blank"}, 422, "external_id"),
        ({"external_id": True}, 422, "external_id"),
        ({"external_id": "x" * 300}, 422, "external_id"),
        ({"external_id": "nul\0"}, 422, "external_id"),
        ({"email": "a@b@c.example"}, 422, "email"),
        ({"external_id": "x1", "name": 5}, 400, "name"),
        ({"external_id": "x2", "name": "n\0"}, 400, "name"),
        ({"external_id": "x3", "signed_up_at": "soon"}, 400, "signed_up_at"),
        ({"external_id": "x4", "signed_up_at": 1e400}, 400, None),
        ({"external_id": "x5", "custom_attributes": {"a": {"b": 1}}}, 400, "custom_attributes.a"),
        ({"external_id": "x6", "email_verified": True}, 400, "email_verified"),
    ],
)
def test_r33_a_bad_body_is_refused_with_its_place(server: Server, body: Any, status: int, field: str | None) -> None:
    """4xx in the shape `error.list`, naming the field; nothing is written."""
    reply = server.admin("POST", "/contacts", body)
    assert reply.status == status
    assert error(reply)["field"] == field
    if "external_id" in body:
        path = f"/contacts/find_by_external_id/{quote(str(body['external_id']), safe='')}"
        found = server.admin("GET", path)
        assert (found.status, error(found)["code"]) == (404, "not_found")


def test_s8_the_same_rules_guard_the_api(server: Server) -> None:
    """A placeholder is refused with the same code as at login."""
    reply = server.admin("POST", "/contacts", {"external_id": "null"})
    assert "user_id_placeholder" in error(reply)["message"]


@pytest.mark.parametrize("path", ["/contacts/1", "/contacts/" + "0" * 24, "/nowhere", "/contacts/find_by_external_id/"])
def test_nobody_is_not_found(server: Server, path: str) -> None:
    """404 not_found in the same shape."""
    reply = server.admin("GET", path)
    assert (reply.status, error(reply)["code"]) == (404, "not_found")


def test_r30_every_address_needs_an_access_token(server: Server) -> None:
    """No token, a wrong one, and an end user's own are all 401 (B13)."""
    for token in ("gwa_wrong", server.token("user")):
        reply = server.admin("GET", "/contacts/1", token=token)
        assert (reply.status, error(reply)["code"]) == (401, "unauthorized")
    assert server.request("GET", "/contacts/1", admin=True).status == 401


def test_an_access_token_is_no_login_token(server: Server) -> None:
    """The operator's token opens nothing on the public listener (B13)."""
    assert server.login(server.access_token).code == "token_malformed"


def test_a22_a_large_body_is_cut(server: Server) -> None:
    """A body past the limit is 413 in the same shape, declared or not."""
    reply = server.admin("POST", "/contacts", {"external_id": "large", "name": "x" * 2_000_000})
    assert (reply.status, error(reply)["code"]) == (413, "client_error")
    chunked = b"POST /contacts HTTP/1.1\r\nHost: g\r\nConnection: close\r\nAuthorization: Bearer %b\r\n"
    chunked += b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" + b" " * 2_000_000 + b"\r\n0\r\n\r\n"
    assert b" 413 " in server.raw(chunked % (server.access_token.encode(), 2_000_000), admin=True)


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"[]",
        b'"text"',
        b"",
        b"[" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"external_id": "x", "external_id": "y"}',
        b'{"external_id": "x", "custom_attributes": {"a": 1, "a": 2}}',
        b'{"external_id": "x", "name": "\\ud800"}',
        b'{"external_id": "x", "signed_up_at": NaN}',
        b'{"external_id": "x", "signed_up_at": Infinity}',
        b'{"external_id": "x", "signed_up_at": 1e400}',
        b'{"external_id": "x", "custom_attributes": {"a": 1e999}}',
        b'{"external_id": "x", "custom_attributes": {"a": ' + b"9" * 5000 + b"}}",
        b'{"external_id": "x"} {}',
        b"\xef\xbb\xbf{}",
        b'{"external_id": "\xff"}',
    ],
)
def test_r33_what_is_no_strict_json_is_a_bad_request(server: Server, body: bytes) -> None:
    """Not a JSON object, duplicate members, numbers and texts that cannot be kept: 400, and nothing is written."""
    before = server.contacts()
    for method, path in (("POST", "/contacts"), ("PUT", f"/contacts/{'0' * 24}")):
        reply = server.request(method, path, server.access_token, body=body, admin=True)
        assert (reply.status, error(reply)["code"]) == (400, "parameter_invalid")
    assert server.contacts() == before


@pytest.mark.parametrize("role", [{}, [], 1, True, "admin", "USER", None])
def test_another_role_is_ignored(server: Server, role: Any) -> None:
    """Values other than user and lead are ignored (facts: Intercom 2.4)."""
    external_id = f"role-{role}"
    created = server.admin("POST", "/contacts", {"external_id": external_id, "role": role})
    assert (created.status, created.json()["role"]) == (200, "user")
    assert server.admin("POST", "/contacts", {"role": role}).status == 400


def test_r16_ids_and_times_are_not_written(server: Server) -> None:
    """S2: `id`, `workspace_id`, `created_at`, `type` and unknown keys in a body are ignored, in create and update."""
    foreign = {"id": "f" * 24, "workspace_id": "other", "created_at": 1, "type": "x", "state": "blocked", "unknown": {}}
    created = server.admin("POST", "/contacts", {"external_id": "foreign-keys", **foreign}).json()
    assert created["id"] != "f" * 24
    assert (created["workspace_id"], created["type"]) == ("acme", "contact")
    updated = server.admin("PUT", f"/contacts/{created['id']}", {"name": "N", **foreign}).json()
    assert updated == {**created, "name": "N", "updated_at": updated["updated_at"]}


def test_the_object_has_every_key(server: Server) -> None:
    """Every key of facts: Intercom 2.3 stands, with null for what is not known; what was written comes back."""
    server.declare(plan="string", seats="integer", rate="float", paid="boolean", gone="date")
    written = {
        "external_id": "all-keys",
        "email": "all@keys.example",
        "phone": "+1 555 0100",
        "name": "All Keys",
        "avatar": "https://example.com/a.png",
        "signed_up_at": 1_700_000_000,
        "last_seen_at": 1_700_000_001,
        "owner_id": 321,
        "unsubscribed_from_emails": True,
        "language_override": "de",
        "custom_attributes": {"plan": "pro", "seats": 3, "rate": 0.5, "paid": True, "gone": None},
    }
    contact = server.admin("POST", "/contacts", written).json()
    texts = (
        "browser browser_version browser_language os utm_campaign utm_content utm_medium utm_source utm_term referrer"
    )
    mobile = "app_name app_version device last_seen_at os_version sdk_version"
    times = "last_replied_at last_contacted_at last_email_opened_at last_email_clicked_at enabled_push_messaging"
    unknown = [
        *texts.split(),
        *times.split(),
        *(f"{os}_{name}" for os in ("ios", "android") for name in mobile.split()),
    ]
    for name in unknown:
        assert contact.pop(name) is None
    for name in ("tags", "notes", "companies", "opted_out_subscription_types", "opted_in_subscription_types"):
        path = "subscriptions" if name.startswith("opted") else name
        url = f"/contacts/{contact['id']}/{path}"
        assert contact.pop(name) == {"type": "list", "data": [], "url": url, "total_count": 0, "has_more": False}
    location = dict.fromkeys(("country", "region", "city", "country_code", "continent_code"))
    now = contact["created_at"]
    assert contact == {
        **{name: value for name, value in written.items() if name not in {"avatar", "owner_id", "custom_attributes"}},
        "type": "contact",
        "id": contact["id"],
        "workspace_id": "acme",
        "role": "user",
        "email_domain": "keys.example",
        "avatar": {"type": "avatar", "image_url": "https://example.com/a.png"},
        "owner_id": "321",
        "social_profiles": {"type": "list", "data": []},
        "has_hard_bounced": False,
        "marked_email_as_spam": False,
        "created_at": now,
        "updated_at": now,
        "location": {"type": "location", **location},
        "custom_attributes": {"plan": "pro", "seats": 3, "rate": 0.5, "paid": True},
    }


def test_an_update_is_partial(server: Server) -> None:
    """Absent stays, null and the empty text clear; custom attributes one by one (facts: Intercom 2.4)."""
    server.declare(a="integer", b="integer", c="string")
    body = {"external_id": "partial", "name": "N", "phone": "1", "custom_attributes": {"a": 1, "b": 2}}
    contact = server.admin("POST", "/contacts", body).json()
    path = f"/contacts/{contact['id']}"
    updated = server.admin("PUT", path, {"phone": None, "custom_attributes": {"b": None, "c": ""}}).json()
    assert (updated["name"], updated["phone"], updated["custom_attributes"]) == ("N", None, {"a": 1})
    assert server.admin("PUT", path, {}).json() == updated


def test_r34_a_lead_that_becomes_a_user_keeps_no_ones_email(server: Server) -> None:
    """Leads are exempt from the uniqueness of emails; on the way to user it holds for them, too."""
    user = server.admin("POST", "/contacts", {"external_id": "has-email", "email": "shared@example.com"}).json()
    lead = server.admin("POST", "/contacts", {"role": "lead", "email": "shared@example.com"}).json()
    reply = server.admin("PUT", f"/contacts/{lead['id']}", {"role": "user"})
    assert (reply.status, error(reply)["code"]) == (409, "conflict")
    assert error(reply)["message"].endswith(f"id={user['id']}")


def test_what_a_token_signed_is_not_proven_less_by_a_copy(server: Server) -> None:
    """An operator who writes the same email again does not lower its proof; another one is `imported`."""
    contact = server.login(server.token("proof", email="proof@example.com")).json()["contact"]
    path = f"/contacts/{contact['id']}"
    assert server.admin("PUT", path, {"email": "proof@example.com", "name": "P"}).status == 200
    assert proof_of(server, contact["id"]) == "signed"
    assert server.admin("PUT", path, {"email": "other-proof@example.com"}).status == 200
    assert proof_of(server, contact["id"]) == "imported"
    assert server.admin("PUT", path, {"email": "other-proof@example.com", "email_verified": False}).status == 200
    assert proof_of(server, contact["id"]) == "claimed"


def proof_of(server: Server, contact_id: str) -> str | None:
    return asyncio.run(stored(server, contact_id))[0].email_proof


async def stored(server: Server, contact_id: str) -> tuple[Contact, Sequence[Event]]:
    """A contact and its history, read from the store itself."""
    store = store_for(f"sqlite:///{server.folder / 'contacts.db'}")
    await store.open()
    try:
        contact = await store.find("acme", contact_id)
        assert contact is not None
        return contact, await store.events("acme", contact_id)
    finally:
        await store.close()


def test_every_write_leaves_a_line_of_history(server: Server) -> None:
    """Created, updated (with every field that changed, before and after) and deleted, by whom."""
    contact_id = server.admin("POST", "/contacts", {"external_id": "history", "name": "A"}).json()["id"]
    server.admin("PUT", f"/contacts/{contact_id}", {"name": "B", "avatar": "https://example.com/b.png"})
    server.admin("PUT", f"/contacts/{contact_id}", {"name": "B"})
    _, (updated, created) = asyncio.run(stored(server, contact_id))
    assert (created.kind, created.after["external_id"], created.after["name"]) == ("created", "history", "A")
    assert (updated.kind, updated.before) == ("updated", {"name": "A", "avatar": None})
    assert updated.after == {"name": "B", "avatar": "https://example.com/b.png"}
    assert created.actor == updated.actor
    assert created.actor.startswith("access_token:")
    server.admin("DELETE", f"/contacts/{contact_id}")
    assert asyncio.run(history_of_deleted(server, contact_id))[0].kind == "deleted"


async def history_of_deleted(server: Server, contact_id: str) -> Sequence[Event]:
    store = store_for(f"sqlite:///{server.folder / 'contacts.db'}")
    await store.open()
    try:
        return await store.events("acme", contact_id)
    finally:
        await store.close()


@pytest.mark.parametrize("state", [State.MERGED, State.ARCHIVED, State.BLOCKED])
def test_s12_what_is_not_live_is_not_served(server: Server, state: State) -> None:
    """Archived and blocked: 404. Merged: 410 with a link to the survivor, which the old id does not change."""
    ids = [server.admin("POST", "/contacts", {"external_id": f"{state}-{n}"}).json()["id"] for n in ("a", "b")]
    asyncio.run(put_into(server, state, *ids))
    for method, path in (
        ("GET", f"/contacts/{ids[0]}"),
        ("PUT", f"/contacts/{ids[0]}"),
        ("GET", f"/contacts/find_by_external_id/{state}-a"),
    ):
        reply = server.admin(method, path, {"name": "changed"} if method == "PUT" else None)
        if state is State.MERGED:
            assert (reply.status, error(reply)["code"]) == (410, "contact_merged")
            assert reply.headers["link"] == f'</contacts/{ids[1]}>; rel="canonical"'
        else:
            assert (reply.status, error(reply)["code"]) == (404, "not_found")
    assert server.admin("GET", f"/contacts/{ids[1]}").json()["name"] is None
    retry = server.admin("POST", "/contacts", {"external_id": f"{state}-a"})
    code = "not_restorable" if state is State.BLOCKED else "conflict"
    assert (retry.status, error(retry)["code"]) == (409, code)
    if state is State.ARCHIVED:
        assert error(retry)["message"] == f"An archived contact matching those details already exists with id={ids[0]}"


async def put_into(server: Server, state: State, contact_id: str, other_id: str) -> None:
    """Bring a contact into a state, as a command would."""
    store = store_for(f"sqlite:///{server.folder / 'contacts.db'}")
    await store.open()

    async def work(transaction: ContactTransaction) -> None:
        if state is State.MERGED:
            await transaction.merge("acme", contact_id, other_id, now=int(time.time()))
            return
        contact = await transaction.find("acme", contact_id)
        assert contact is not None
        await transaction.update(replace(contact, state=state))

    await store.write(work)
    await store.close()


def test_r34_parallel_creates_make_one_contact(server: Server) -> None:
    """50 parallel creates of one external_id: one 200, 49 conflicts that name it (S4)."""
    with concurrent.futures.ThreadPoolExecutor(25) as pool:
        replies = list(pool.map(lambda _: server.admin("POST", "/contacts", {"external_id": "raced"}), range(50)))
    (winner,) = [reply for reply in replies if reply.status == 200]
    for reply in replies:
        if reply is not winner:
            assert (reply.status, error(reply)["code"]) == (409, "conflict")
            assert error(reply)["message"].endswith(f"id={winner.json()['id']}")


def test_r37_parallel_updates_lose_nothing(server: Server) -> None:
    """40 parallel writes of 40 custom attributes: all of them stand afterwards."""
    server.declare(**{f"a{number}": "integer" for number in range(40)})
    path = f"/contacts/{server.admin('POST', '/contacts', {'external_id': 'parallel'}).json()['id']}"
    bodies = [{"custom_attributes": {f"a{number}": number}} for number in range(40)]
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        assert {reply.status for reply in pool.map(lambda body: server.admin("PUT", path, body), bodies)} == {200}
    assert server.admin("GET", path).json()["custom_attributes"] == {f"a{number}": number for number in range(40)}


def test_scopes_are_enforced(server: Server) -> None:
    """Reading needs contacts:read, writing contacts:write; a token without the scope is 403, a revoked one 401."""
    contact = server.admin("POST", "/contacts", {"external_id": "scoped"}).json()
    path = f"/contacts/{contact['id']}"
    reads = [("GET", path, None), ("GET", "/contacts/find_by_external_id/scoped", None)]
    writes = [("PUT", path, {"name": "x"}), ("POST", "/contacts", {"external_id": "s2"}), ("DELETE", path, None)]
    reader, writer = access_token(server, Scope.CONTACTS_READ), access_token(server, Scope.CONTACTS_WRITE)
    revoked = access_token(server, *Scope, revoked=True)
    for method, address, body in reads + writes:
        assert server.admin(method, address, body, token=revoked).status == 401
        lacking = server.admin(method, address, body, token=writer if method == "GET" else reader)
        assert (lacking.status, error(lacking)["code"]) == (403, "forbidden")
    for method, address, body in reads:
        assert server.admin(method, address, body, token=reader).status == 200
    for method, address, body in writes:
        assert server.admin(method, address, body, token=writer).status == 200


def test_c04_an_access_token_opens_its_own_workspace(tmp_path: Path) -> None:
    """A token of a workspace sees and writes that workspace alone; the same ids live in each."""
    with running_gateway(tmp_path, others=other_workspace(tmp_path)) as server:
        contact = server.admin("POST", "/contacts", {"external_id": "same", "email": "same@example.com"}).json()
        path = f"/contacts/{contact['id']}"
        foreign = access_token(server, *Scope, workspace="other")
        for method, address in (("GET", path), ("GET", "/contacts/find_by_external_id/same"), ("DELETE", path)):
            assert server.admin(method, address, token=foreign).status == 404
        assert server.admin("PUT", path, {"name": "theirs"}, token=foreign).status == 404
        other = server.admin("POST", "/contacts", {"external_id": "same", "email": "same@example.com"}, token=foreign)
        assert (other.status, other.json()["workspace_id"]) == (200, "other")
        assert server.admin("GET", path).json() == contact


def test_an_access_token_of_a_workspace_that_stands_no_more(server: Server) -> None:
    """403 at every address, never a fault."""
    orphan = access_token(server, *Scope, workspace="elsewhere")
    for method, address in (("GET", "/contacts/1"), ("POST", "/contacts"), ("GET", "/contacts/find_by_external_id/x")):
        reply = server.admin(method, address, {} if method == "POST" else None, token=orphan)
        assert (reply.status, error(reply)["code"]) == (403, "forbidden")


@pytest.mark.parametrize("credential", ["", "Bearer", "Bearer ", "Basic dTpw", "Bearer gwa_\u00ff", "Bearer a b"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"])
def test_r30_401_has_a_challenge(server: Server, method: str, credential: str) -> None:
    """Every verb and address, known or not: 401, a challenge, and nothing that tells one from the other."""
    for path in ("/contacts", "/contacts/1", "/nowhere", "/"):
        headers = {"Authorization": credential} if credential else {}
        reply = server.request(method, path, headers=headers, body=b"{}", admin=True)
        assert reply.status == 401
        assert reply.headers["www-authenticate"] == 'Bearer realm="identity-gateway-admin"'
        assert reply.headers["cache-control"] == "no-store"
        if method != "HEAD":
            assert error(reply) == {"code": "unauthorized", "message": "Access Token Invalid", "field": None}
            assert f'"request_id": "{reply.json()["request_id"]}"' in server.log()


@pytest.mark.parametrize("method", ["PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_an_unsupported_method_is_404(server: Server, method: str) -> None:
    """As Intercom has it: the resource was not found, in the same shape."""
    reply = server.request(method, "/contacts", server.access_token, admin=True)
    assert (reply.status, error(reply)["code"]) == (404, "not_found")


def test_b22_the_admin_pages_stand_on_their_own_listener(server: Server) -> None:
    """No spelling of a path reaches the Contacts API through the public listener, nor login through the admin one."""
    contact = server.admin("POST", "/contacts", {"external_id": "own-listener"}).json()
    for path in (f"/contacts/{contact['id']}", f"//contacts/{contact['id']}", f"/auth/../contacts/{contact['id']}"):
        assert server.request("GET", path, server.access_token).status == 404
    assert server.request("POST", "/messenger/login", server.token("x"), admin=True).status == 401
    assert server.request("GET", "/auth", server.access_token, admin=True).status == 404


def test_two_hosts_and_two_credentials_at_the_admin_listener(server: Server) -> None:
    """The transport's checks hold here, too, in this listener's shape."""
    credential = b"Authorization: Bearer %b\r\n" % server.access_token.encode()
    for more in (b"Host: b\r\n", credential, b"X: " + b"x" * 33_000 + b"\r\n"):
        request = b"GET /contacts/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%b%b\r\n" % (credential, more)
        received = server.raw(request, admin=True)
        assert received.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413"))
        assert b'"type":"error.list"' in received
