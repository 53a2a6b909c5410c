"""What the product is for, statement by statement: S1 to S21 end to end, through the running gateway on each store.

The statements are those of the help article on understanding and managing user IDs (facts: Intercom 6.1). Each has
tests of its own parts elsewhere; here it is shown as its user meets it, over HTTP and by commands.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import csv
import json
import os
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from gateway.contacts.contact import mint_contact_id
from tests.web.conftest import STORES, Reply, command, gateway_on

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.web.conftest import Server

CONTACT_ID = re.compile("[0-9a-f]{24}")


@pytest.fixture(scope="module", params=STORES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A gateway over each store."""
    with gateway_on(request.param, request, tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture(params=STORES)
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A maker of gateways over each store, with settings of a workspace of its own."""

    @contextlib.contextmanager
    def run(**settings: Any) -> Iterator[Server]:
        with gateway_on(request.param, request, tmp_path, **settings) as running:
            yield running

    return run


def unique(text: str) -> str:
    """A name that no other test of the same gateway uses."""
    return f"{text}-{time.monotonic_ns()}"


def make(server: Server, **fields: Any) -> dict[str, Any]:
    """A contact by the API."""
    reply = server.admin("POST", "/contacts", fields)
    assert reply.status == 200, reply.body
    contact: dict[str, Any] = reply.json()
    return contact


def log_in(server: Server, user_id: Any, **claims: Any) -> dict[str, Any]:
    """The contact of a login."""
    reply = server.login(server.token(user_id, **claims))
    assert reply.status == 200, reply.body
    contact: dict[str, Any] = reply.json()["contact"]
    return contact


def by_external_id(server: Server, external_id: str) -> Reply:
    return server.admin("GET", f"/contacts/find_by_external_id/{quote(external_id, safe='')}")


def search(server: Server, field: str, operator: str, value: Any) -> list[dict[str, Any]]:
    """Everybody whom one filter finds."""
    body = {"query": {"field": field, "operator": operator, "value": value}, "pagination": {"per_page": 150}}
    reply = server.admin("POST", "/contacts/search", body)
    assert reply.status == 200, reply.body
    assert reply.json()["pages"]["next"] is None
    found: list[dict[str, Any]] = reply.json()["data"]
    return found


def code(reply: Reply) -> Any:
    """The code of an `error.list`."""
    return reply.json()["errors"][0]["code"]


def history(server: Server, identifier: str) -> list[dict[str, Any]]:
    """How a record came to be, newest first."""
    (found,) = json.loads(command(server, "contacts", "find", identifier, "--history", "--json"))
    events: list[dict[str, Any]] = found["history"]
    return events


def everybody(server: Server) -> Iterator[dict[str, Any]]:
    """All live contacts, page by page."""
    after = ""
    while after is not None:
        page = server.admin("GET", f"/contacts?per_page=150&starting_after={after}" if after else "/contacts").json()
        yield from page["data"]
        after = page["pages"]["next"] and page["pages"]["next"]["starting_after"]


def imported(server: Server, file: Path, match: str, *, exit_code: int = 0) -> dict[str, Any]:
    """The report of an import that writes, of which a rehearsal said the very same."""
    arguments = ("contacts", "import", str(file), "--match", match, "--json")
    rehearsed = json.loads(command(server, *arguments, exit_code=exit_code))
    report: dict[str, Any] = json.loads(command(server, *arguments, "--apply", exit_code=exit_code))
    assert rehearsed | {"rehearsal": False} == report
    counted = sum(report[outcome] for outcome in ("created", "updated", "unchanged", "linked", "rejected"))
    assert report["rows"] == counted
    return report


def test_s01_every_record_gets_an_id_of_its_own(server: Server, tmp_path: Path) -> None:
    """User, lead, visitor turned user, import, first login: 24 hex digits each, never the same twice."""
    user, lead = make(server, external_id=unique("s1")), make(server, role="lead", external_id=unique("s1-visitor"))
    conversion = {"type": "user", "user": {"user_id": unique("s1-v")}, "visitor": {"user_id": lead["external_id"]}}
    visitor = server.admin("POST", "/visitors/convert", conversion).json()
    key = unique("s1-csv")
    (tmp_path / "people.csv").write_text(f"user_id,email\n{key},{key}@example.com\n")
    assert imported(server, tmp_path / "people.csv", "external_id")["created"] == 1
    ids = [
        user["id"],
        make(server, role="lead")["id"],
        visitor["id"],
        by_external_id(server, key).json()["id"],
        log_in(server, unique("s1-jwt"))["id"],
    ]
    assert all(CONTACT_ID.fullmatch(contact_id) for contact_id in ids)
    assert len(set(ids)) == len(ids)


def test_s01_a_hundred_thousand_ids_of_one_second_differ() -> None:
    """64 random bits beside the second."""
    assert len({mint_contact_id(1_790_000_000, os.urandom) for _ in range(100_000)}) == 100_000


def test_s02_the_id_never_changes(server: Server) -> None:
    """Nothing that a client writes, and no step in a record's life, gives it another id."""
    contact = make(server, external_id=unique("s2"), id="0" * 24)
    path = f"/contacts/{contact['id']}"
    assert contact["id"] != "0" * 24
    assert server.admin("PUT", path, {"id": "f" * 24, "external_id": unique("s2"), "name": "N"}).status == 200
    for step in ("archive", "unarchive", "block", "unblock"):
        assert server.admin("POST", f"{path}/{step}").json()["id"] == contact["id"]
    lead = make(server, role="lead")
    merge = {"from": lead["id"], "into": contact["id"], "skip_duplicate_validation": True}
    assert server.admin("POST", "/contacts/merge", merge).json()["id"] == contact["id"]
    standing = server.admin("GET", path).json()
    assert (standing["id"], standing["created_at"], standing["name"]) == (contact["id"], contact["created_at"], "N")


def test_s03_the_user_id_is_the_customers_and_can_be_edited(server: Server) -> None:
    """A changed user_id resolves at once, the old one no more; one that is taken is refused."""
    old, new, taken = unique("s3-old"), unique("s3-new"), make(server, external_id=unique("s3-taken"))
    contact = log_in(server, old)
    path = f"/contacts/{contact['id']}"
    assert server.admin("PUT", path, {"external_id": new}).json()["external_id"] == new
    assert by_external_id(server, old).status == 404
    assert by_external_id(server, new).json()["id"] == contact["id"]
    assert log_in(server, new)["id"] == contact["id"]
    conflict = server.admin("PUT", path, {"external_id": taken["external_id"]})
    assert (conflict.status, code(conflict)) == (409, "conflict")


def test_s04_one_user_id_one_contact(server: Server) -> None:
    """50 parallel creates and 50 parallel first logins of one id: one record; ids compare byte by byte."""
    key = unique("s4")
    with concurrent.futures.ThreadPoolExecutor(25) as pool:
        creates = list(pool.map(lambda _: server.admin("POST", "/contacts", {"external_id": key}), range(50)))
        logins = set(pool.map(lambda _: log_in(server, f"{key}-login")["id"], range(50)))
    (made,) = [reply.json() for reply in creates if reply.status == 200]
    for reply in creates:
        if reply.status != 200:
            assert (reply.status, reply.json()["errors"][0]["message"].rpartition("id=")[2]) == (409, made["id"])
    assert len(logins) == 1
    assert make(server, external_id=key.upper())["id"] != made["id"]
    for padded in (f" {key}", f"{key} ", f"{key}\n"):
        assert server.admin("POST", "/contacts", {"external_id": padded}).status == 422
        assert server.login(server.token(padded)).status == 422


def test_s05_the_same_user_id_meets_the_same_record(server: Server) -> None:
    """Another token of the same id updates the record; another id in the same place is another person."""
    key = unique("s5")
    first = log_in(server, key, name="Old", email=f"{key}@example.com")
    second = log_in(server, key, name="New", email=f"{key}@example.com", iat=time.time() + 1)
    assert (second["id"], second["name"]) == (first["id"], "New")
    assert log_in(server, f"{key}-other")["id"] != first["id"]
    assert [contact["id"] for contact in search(server, "email", "=", f"{key}@example.com")] == [first["id"]]


@pytest.mark.parametrize(("policy", "status"), [("flag", 200), ("reject", 409), ("allow", 200)])
def test_s06_a_second_user_id_for_one_email_is_told(workspace: Any, policy: str, status: int) -> None:
    """Under each policy the login ends as configured; nothing is merged, and the report lists what came of it."""
    with workspace(extra=f'email_conflict = "{policy}"') as server:
        first = log_in(server, "s6-a", email="s6@example.com")
        reply = server.login(server.token("s6-b", email="s6@example.com"))
        assert reply.status == status
        people = {contact["id"] for contact in search(server, "email", "=", "s6@example.com")}
        groups = server.admin("GET", "/contacts/duplicates").json()["data"]
        if policy == "reject":
            assert reply.code == "identity_conflict"
            assert people == {first["id"]}
            return
        second = reply.json()["contact"]["id"]
        assert people == {first["id"], second}
        assert any({first["id"], second} <= {one["id"] for one in group["contacts"]} for group in groups)


def test_s06_the_api_refuses_a_second_user_with_an_email(server: Server) -> None:
    """The API is stricter than a login: 409 naming the record."""
    email = f"{unique('s6')}@example.com"
    first = make(server, external_id=unique("s6"), email=email)
    reply = server.admin("POST", "/contacts", {"external_id": unique("s6"), "email": email.upper()})
    assert (reply.status, reply.json()["errors"][0]["message"].rpartition("id=")[2]) == (409, first["id"])


def test_s07_no_way_leads_into_somebody_elses_account(server: Server) -> None:
    """A's token with B's email is A; an email that two share, or that was merely claimed, leads to nobody."""
    email = f"{unique('s7')}@example.com"
    owner = log_in(server, unique("s7-b"), email=email)
    attacker = log_in(server, unique("s7-a"), email=email)
    assert attacker["id"] != owner["id"]
    ambiguous = server.login(server.token(None, email=email))
    assert (ambiguous.status, ambiguous.code) == (409, "email_ambiguous")
    claimed = f"{unique('s7-claimed')}@example.com"
    lead = make(server, role="lead", email=claimed, email_verified=False)
    person = log_in(server, unique("s7-c"), email=claimed)
    assert person["id"] != lead["id"]
    unproven = log_in(server, unique("s7-d"), email=email, email_verified=False)
    assert unproven["id"] not in {owner["id"], attacker["id"]}
    assert server.admin("GET", f"/contacts/{owner['id']}").json()["external_id"] == owner["external_id"]


PLACEHOLDERS = [
    *("undefined", "NULL", "None", "nil", "nan", "N/A", "na", "unknown", "anonymous", "Guest", "test", "user"),
    *("default", "0", "-1", "[object Object]", "00000000-0000-0000-0000-000000000000", "{{user.id}}", "${id}"),
    *("\uff35\uff4e\uff44\uff45\uff46\uff49\uff4e\uff45\uff44", '"undefined"', "true", "aaaa"),
]


def test_s08_a_placeholder_is_nobody(server: Server, tmp_path: Path) -> None:
    """By token, by create, by update, by file: the same code, and no record."""
    contact = make(server, external_id=unique("s8"))
    for value in PLACEHOLDERS:
        login = server.login(server.token(value))
        assert (login.status, login.code) == (422, "user_id_placeholder"), value
        for method, path in (("POST", "/contacts"), ("PUT", f"/contacts/{contact['id']}")):
            reply = server.admin(method, path, {"external_id": value})
            assert reply.status == 422, value
            assert reply.json()["errors"][0]["message"].startswith("user_id_placeholder"), value
        assert by_external_id(server, value).status == 404, value
    no_ids: tuple[Any, ...] = (True, 1.5, {}, [])
    for no_id in no_ids:
        assert server.login(server.token(no_id)).code == "claim_type"
    with (tmp_path / "placeholders.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["user_id"], *([value] for value in PLACEHOLDERS)])
    report = imported(server, tmp_path / "placeholders.csv", "external_id", exit_code=1)
    assert (report["created"], report["rejected"]) == (0, len(PLACEHOLDERS))


def test_s09_one_user_id_of_several_people_is_noticed(server: Server) -> None:
    """Emails that flip A, B, A on one user_id: an alarm in the record's history, and in the report of duplicates."""
    key = unique("s9")
    for number, person in enumerate(("a", "b", "a")):
        log_in(server, key, email=f"{person}-{key}@example.com", iat=int(time.time()) - 10 + number)
    assert "shared_user_id" in {event["kind"] for event in history(server, key)}
    groups = server.admin("GET", "/contacts/duplicates?kind=shared_user_id").json()["data"]
    assert key in {contact["external_id"] for group in groups for contact in group["contacts"]}


def test_s10_a_missing_user_id_is_added_later(server: Server) -> None:
    """A record known by its email gets its user_id; there is no second row."""
    email, key = f"{unique('s10')}@example.com", unique("s10")
    contact = make(server, email=email)
    assert contact["external_id"] is None
    assert server.admin("PUT", f"/contacts/{contact['id']}", {"external_id": key}).status == 200
    assert by_external_id(server, key).json()["id"] == contact["id"]
    assert log_in(server, key, email=email)["id"] == contact["id"]
    assert len(search(server, "email", "=", email)) == 1


def test_s11_user_ids_are_filled_from_the_customers_database(server: Server, tmp_path: Path) -> None:
    """By id, or by email where that is safe: the counts are exact, a second run changes nothing, nobody is doubled."""
    mark = unique("s11")
    by_id, by_email = (make(server, email=f"{name}-{mark}@example.com") for name in ("id", "email"))
    shared = f"shared-{mark}@example.com"
    log_in(server, f"{mark}-x", email=shared)
    log_in(server, f"{mark}-y", email=shared)
    ids, emails = tmp_path / "ids.csv", tmp_path / "emails.csv"
    ids.write_text(f"id,user_id\n{by_id['id']},{mark}-1\n{'0' * 24},{mark}-2\n")
    emails.write_text(
        f"user_id,email,name\n{mark}-3,{by_email['email'].upper()},Trap\n{mark}-4,{shared},Ambiguous\n{mark}-5,,New\n"
    )
    report = imported(server, ids, "id", exit_code=1)
    assert (report["updated"], report["rejected"]) == (1, 1)
    report = imported(server, emails, "email-if-unset", exit_code=1)
    assert (report["linked"], report["created"], report["rejected"]) == (1, 1, 1)
    assert by_external_id(server, f"{mark}-1").json()["id"] == by_id["id"]
    trapped = by_external_id(server, f"{mark}-3").json()
    assert (trapped["id"], trapped["name"]) == (by_email["id"], "Trap")
    assert by_external_id(server, f"{mark}-4").status == 404
    assert len(search(server, "email", "=", by_email["email"])) == 1
    again = imported(server, emails, "email-if-unset", exit_code=1)
    assert (again["unchanged"], again["rejected"]) == (2, 1)


def test_s12_a_contact_is_found_by_either_id(server: Server) -> None:
    """Both look-ups give the same record; a lead, an archived and a merged one answer as they should."""
    for odd in ("plain", "a/b", "a?b", "a#b", "100%", "..", "a b", "\u5f35"):
        contact = make(server, external_id=f"{odd}|{unique('s12')}")
        assert by_external_id(server, contact["external_id"]).json() == contact
        assert server.admin("GET", f"/contacts/{contact['id']}").json() == contact
    lead = make(server, role="lead", external_id=unique("s12-lead"))
    assert by_external_id(server, lead["external_id"]).status == 404
    archived, gone = (
        make(server, external_id=unique("s12")),
        make(server, role="lead", email=unique("s12") + "@b.example"),
    )
    server.admin("POST", f"/contacts/{archived['id']}/archive")
    assert by_external_id(server, archived["external_id"]).status == 404
    survivor = make(server, email=gone["email"])
    assert server.admin("POST", "/contacts/merge", {"from": gone["id"], "into": survivor["id"]}).status == 200
    reply = server.admin("GET", f"/contacts/{gone['id']}")
    assert (reply.status, code(reply)) == (410, "contact_merged")
    assert reply.headers["link"] == f'</contacts/{survivor["id"]}>; rel="canonical"'


def test_s13_a_wrong_user_id_is_corrected(server: Server) -> None:
    """The old id is free and leads nobody into the corrected record; the history says who did it and when."""
    wrong, right = unique("s13-wrong"), unique("s13-right")
    token = server.token(wrong)
    contact = server.login(token).json()["contact"]
    assert server.admin("PUT", f"/contacts/{contact['id']}", {"external_id": right}).status == 200
    assert server.login(token).json()["contact"]["id"] != contact["id"]
    assert log_in(server, right)["id"] == contact["id"]
    (event,) = [event for event in history(server, right) if event["kind"] == "updated"]
    assert (event["before"], event["after"]) == ({"external_id": wrong}, {"external_id": right})
    assert event["actor"].startswith("access_token:")
    assert abs(event["at"] - time.time()) < 60


def test_s14_search_finds_identifiers_at_once(server: Server) -> None:
    """Right after the record was made, each operator on user_id and email; emails compare without case."""
    key = unique("s14")
    contact = make(server, external_id=key, email=f"{key}@Example.com")
    for field, operator, value in (
        ("external_id", "=", key),
        ("external_id", "IN", [key, "nobody"]),
        ("external_id", "^", key[:-1]),
        ("external_id", "$", key[1:]),
        ("external_id", "~", key[1:-1]),
        ("email", "=", f"{key}@EXAMPLE.com"),
        ("email", "~", key),
        ("id", "=", contact["id"]),
    ):
        assert [found["id"] for found in search(server, field, operator, value)] == [contact["id"]], (field, operator)
    assert search(server, "external_id", "=", key.upper()) == []
    server.admin("DELETE", f"/contacts/{contact['id']}")
    assert search(server, "external_id", "=", key) == []


def test_s15_the_user_id_of_a_token_is_a_primary_key(server: Server) -> None:
    """Text, or an integer in its decimal text; missing, empty and another record's contact id are refused."""
    number = time.monotonic_ns()
    assert log_in(server, number)["id"] == log_in(server, str(number))["id"]
    somebody = log_in(server, unique("s15"))
    for user_id, expected in (
        (somebody["id"], "user_id_is_contact_id"),
        ("", "user_id_placeholder"),
        (None, "user_id_missing"),
    ):
        reply = server.login(server.token(user_id))
        assert (reply.status, reply.code) == (422, expected)


def test_s16_who_is_known_by_email_alone(server: Server) -> None:
    """The email in both places; alone it is the user_id; a differing one is refused; a real key comes later."""
    email, key = f"{unique('s16')}@example.com", unique("s16")
    contact = log_in(server, email, email=email)
    assert log_in(server, None, email=email)["id"] == contact["id"]
    differing = server.login(server.token(email, email="other@example.com"))
    assert (differing.status, differing.code) == (422, "email_mismatch")
    assert log_in(server, key, email=email)["id"] == contact["id"]
    assert by_external_id(server, key).json()["id"] == contact["id"]


def test_s16_a_workspace_can_forbid_the_email_as_user_id(workspace: Any) -> None:
    """Then a token without a user_id is refused, and says so."""
    with workspace(extra="email_fallback = false") as server:
        reply = server.login(server.token(None, email="s16@example.com"))
        assert (reply.status, reply.code) == (422, "user_id_missing")


def test_s17_archiving_a_custom_user_id_copies_nothing(workspace: Any) -> None:
    """The attribute is hidden, its values stay readable, external_id stays empty, the answer warns and names a way."""
    with workspace() as server:
        declaration = {"name": "user_id", "model": "contact", "data_type": "string"}
        attribute = server.admin("POST", "/data_attributes", declaration).json()
        lead = make(server, email="s17@example.com", custom_attributes={"user_id": "key-17"})
        archived = server.admin("PUT", f"/data_attributes/{attribute['id']}", {"archived": True}).json()
        assert archived["archived"] is True
        assert archived["warning"]["count"] == 1
        assert "backfill" in archived["warning"]["message"]
        names = {one["name"] for one in server.admin("GET", "/data_attributes").json()["data"] if one["custom"]}
        shown = server.admin("GET", "/data_attributes?include_archived=true").json()["data"]
        assert "user_id" not in names
        assert "user_id" in {one["name"] for one in shown if one["custom"]}
        assert server.admin("GET", f"/contacts/{lead['id']}").json()["external_id"] is None
        command(server, "contacts", "backfill", "--from-attribute", "user_id", "--apply")
        assert by_external_id(server, "key-17").json()["id"] == lead["id"]


def test_s18_duplicates_are_found_and_cleaned(server: Server) -> None:
    """Report, preview, merge, undo, delete: the cleaning of a lead that is a user, step by step."""
    email = f"{unique('s18')}@example.com"
    user, lead = make(server, external_id=unique("s18"), email=email), make(server, role="lead", email=email, name="L")
    groups = server.admin("GET", "/contacts/duplicates?kind=email&per_page=150").json()["data"]
    (group,) = [group for group in groups if {one["id"] for one in group["contacts"]} == {user["id"], lead["id"]}]
    assert group["proposal"]["into"] == user["id"]
    pair = {"from": lead["id"], "into": user["id"]}
    assert server.admin("POST", "/contacts/merge/preview", pair).json()["allowed"] is True
    assert server.admin("POST", "/contacts/merge", pair).json()["name"] == "L"
    merges = server.admin("GET", f"/contacts/{user['id']}/merge_history").json()["data"]
    assert [merge["source_contact_id"] for merge in merges] == [lead["id"]]
    assert server.admin("POST", f"/contacts/{lead['id']}/unmerge").status == 200
    assert server.admin("GET", f"/contacts/{lead['id']}").json()["name"] == "L"
    assert server.admin("GET", f"/contacts/{user['id']}").json()["name"] is None
    assert server.admin("DELETE", f"/contacts/{user['id']}").json()["deleted"] is True
    assert make(server, external_id=user["external_id"])["id"] != user["id"]


def test_s18_users_are_merged_only_when_they_share_something(server: Server) -> None:
    """Two identified contacts: an operator may, when they share a phone; never without."""
    phone = f"+4420{time.monotonic_ns() % 10**8:08d}"
    one, two = (make(server, external_id=unique("s18-u"), phone=phone) for _ in range(2))
    stranger = make(server, external_id=unique("s18-s"))
    refused = server.admin("POST", "/contacts/merge", {"from": stranger["id"], "into": one["id"]})
    assert refused.status in {400, 422}
    assert server.admin("POST", "/contacts/merge", {"from": two["id"], "into": one["id"]}).status == 200
    assert log_in(server, two["external_id"])["id"] == one["id"]


def test_s19_from_a_custom_id_to_the_default_one(workspace: Any, tmp_path: Path) -> None:
    """1,000 people, of whom three have an id that is taken: 997 get theirs, three are reported, no id changes."""
    with workspace() as server:
        declaration = {"name": "customer key", "model": "contact", "data_type": "string"}
        attribute = server.admin("POST", "/data_attributes", declaration).json()
        holders = {key: make(server, external_id=key)["id"] for key in ("k-7", "k-500", "k-999")}
        with (tmp_path / "people.csv").open("w", newline="") as file:
            rows = [[f"p{number}@example.com", f"k-{number}"] for number in range(1000)]
            csv.writer(file).writerows([["email", "custom_attributes.customer key"], *rows])
        assert imported(server, tmp_path / "people.csv", "external_id")["created"] == 1000
        server.admin("PUT", f"/data_attributes/{attribute['id']}", {"archived": True})
        before = {one["email"]: one["id"] for one in everybody(server) if one["email"]}
        backfill = ("contacts", "backfill", "--from-attribute", "customer key", "--json")
        rehearsal = json.loads(command(server, *backfill, exit_code=1))
        assert (rehearsal["rehearsal"], rehearsal["updated"], rehearsal["rejected"]) == (True, 997, 3)
        assert all(one["external_id"] is None for one in everybody(server) if one["email"])
        report = json.loads(command(server, *backfill, "--apply", exit_code=1))
        assert (report["updated"], report["rejected"]) == (997, 3)
        assert {one["other_id"] for one in report["rejections"]} == set(holders.values())
        after = {one["email"]: one for one in everybody(server) if one["email"]}
        assert {email: one["id"] for email, one in after.items()} == before
        for number in range(1000):
            key = f"k-{number}"
            assert after[f"p{number}@example.com"]["external_id"] == (None if key in holders else key)
        again = json.loads(command(server, *backfill, "--apply", exit_code=1))
        assert (again["updated"], again["unchanged"], again["rejected"]) == (0, 997, 3)


def test_s20_one_name_for_each_thing(server: Server) -> None:
    """`id` and `external_id` in the API; `user_id` is its name in tokens, visitors and files, and no alias here."""
    contact = make(server, external_id=unique("s20"), user_id=unique("s20-alias"))
    assert {"id", "external_id"} <= contact.keys()
    assert not {"user_id", "contact_id"} & contact.keys()
    assert by_external_id(server, contact["external_id"]).json()["id"] == contact["id"]
    login = server.login(server.token(contact["external_id"])).json()
    assert login["identity"]["user_id"] == contact["external_id"]
    assert login["contact"]["external_id"] == contact["external_id"]
    assert server.login(server.token(None, external_id=unique("s20"))).code == "user_id_missing"


def test_s21_a_user_id_is_never_invented(server: Server) -> None:
    """Who comes without a key has none, until somebody looks it up and writes it."""
    email, key = f"{unique('s21')}@example.com", unique("s21")
    contact = make(server, email=email)
    assert contact["external_id"] is None
    (found,) = search(server, "email", "=", email)
    assert found["id"] == contact["id"]
    assert server.admin("PUT", f"/contacts/{found['id']}", {"external_id": key}).json()["external_id"] == key
