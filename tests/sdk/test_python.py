"""Intercom's official Python client, unchanged, against a running gateway (facts: Intercom 5)."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest
from intercom import (
    AsyncIntercom,
    CreateContactRequestWithEmail,
    CreateContactRequestWithExternalId,
    CreateContactRequestWithRole,
    CreateDataAttributeRequestOne,
    Intercom,
    MultipleFilterSearchRequest,
    SingleFilterSearchRequest,
    StartingAfterPaging,
    UpdateVisitorRequestWithUserId,
)
from intercom.core.api_error import ApiError
from intercom.errors import BadRequestError, NotFoundError, UnauthorizedError
from intercom.unstable import SingleFilterSearchRequest as PreviewFilter
from intercom.visitors import UserWithUserId, VisitorWithUserId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from intercom.contacts.types.contact import Contact

    from tests.web.conftest import Server


@pytest.fixture
def client(server: Server) -> Iterator[Intercom]:
    """The client as its documentation makes it, on a transport that is closed."""
    with httpx.Client(timeout=30) as transport:
        yield Intercom(
            token=server.access_token, base_url=f"http://127.0.0.1:{server.admin_port}", httpx_client=transport
        )


def unique(text: str) -> str:
    """A name that no other test of the same gateway uses."""
    return f"{text}-{time.monotonic_ns()}"


def refused(call: Callable[[], Any]) -> ApiError:
    """The error that a call ends in."""
    with pytest.raises(ApiError) as caught:
        call()
    return caught.value


def make(client: Intercom, **fields: Any) -> Contact:
    """A contact by a plain dict, as many programs write it."""
    request: Any = fields
    made: Contact = client.contacts.create(request=request)
    return made


def whole(contact: Contact) -> dict[str, Any]:
    """Everything of a contact; each method of the client answers with a class of its own."""
    return dict(contact)


def test_create_by_each_of_its_models(client: Intercom) -> None:
    """By email, by external id and by role; the fields that a model lacks pass through."""
    email, key = f"{unique('model')}@example.com", unique("model")
    by_email = client.contacts.create(request=CreateContactRequestWithEmail(email=email, name="A"))
    assert (by_email.role, by_email.email, by_email.external_id, by_email.name) == ("user", email, None, "A")
    more: Any = {"email": f"{key}@example.com"}  # this model has no such field
    by_key = client.contacts.create(
        request=CreateContactRequestWithExternalId(external_id=key, phone="+44 20 7946 0000", **more)
    )
    assert (by_key.external_id, by_key.email, by_key.phone) == (key, f"{key}@example.com", "+44 20 7946 0000")
    lead = client.contacts.create(request=CreateContactRequestWithRole(role="lead"))
    assert (lead.role, lead.external_id) == ("lead", None)
    for contact in (by_email, by_key, lead):
        assert contact.type == "contact"
        assert contact.workspace_id == "acme"
        assert contact.created_at == contact.updated_at


def test_find_by_id_and_by_external_id(client: Intercom) -> None:
    """S12: both ways lead to the same record; nobody is 404, a lead is never found by external id."""
    made = make(client, external_id=unique("find"), owner_id=321, avatar="https://example.com/a.png")
    assert made.id is not None
    assert made.external_id is not None
    assert whole(client.contacts.find(made.id)) == whole(made)
    assert whole(client.contacts.show_contact_by_external_id(made.external_id)) == whole(made)
    assert made.owner_id == 321
    missing = refused(lambda: client.contacts.find("0" * 24))
    assert (missing.status_code, missing.body["errors"][0]["code"]) == (404, "not_found")
    assert refused(lambda: client.contacts.show_contact_by_external_id(unique("nobody"))).status_code == 404


@pytest.mark.parametrize("key", ["a/b", "a?b", "a#b", "100%", "a%2Fb", "../contacts", "a b", "\u5f35\u4e09", "+"])
def test_an_external_id_that_the_caller_encodes(client: Intercom, key: str) -> None:
    """The client encodes nothing (facts: Intercom 5.4): `quote(x, safe="")` is the caller's, decoding once is ours."""
    external_id = f"{key}|{unique('odd')}"
    made = make(client, external_id=external_id)
    assert whole(client.contacts.show_contact_by_external_id(quote(external_id, safe=""))) == whole(made)


@pytest.mark.parametrize("key", ["a?b", "a#b", "../{id}", "../../openapi.json"])
def test_an_external_id_that_the_caller_forgot_to_encode(client: Intercom, key: str) -> None:
    """What the client makes of it reaches another address, and never somebody under the wrong name."""
    external_id = key.format(id=make(client, external_id=unique("other")).id)
    made = make(client, external_id=f"{external_id}|{unique('raw')}")
    found: Contact | None = None
    with contextlib.suppress(ApiError):
        found = client.contacts.show_contact_by_external_id(external_id)
    assert found is None or found.id != made.id


def test_update_sets_clears_and_leaves(client: Intercom) -> None:
    """An argument that is left out stays as it is, None clears; S2: the id never changes."""
    made = make(client, external_id=unique("update"), name="N", phone="1")
    assert made.id is not None
    updated = client.contacts.update(made.id, phone=None, external_id=f"{made.external_id}-2")
    assert (updated.id, updated.name, updated.phone) == (made.id, "N", None)
    assert updated.external_id == f"{made.external_id}-2"
    options: Any = {"additional_body_parameters": {"id": "0" * 24, "language_override": "en"}}
    assert client.contacts.update(made.id, name="M", request_options=options).id == made.id


def test_a_conflict_names_the_other_record(client: Intercom) -> None:
    """S4: programs cut the id off the end of the message."""
    made = make(client, external_id=unique("conflict"))
    conflict = refused(lambda: make(client, external_id=made.external_id))
    (error,) = conflict.body["errors"]
    assert (conflict.status_code, error["code"]) == (409, "conflict")
    assert error["message"].rpartition("id=")[2] == made.id


def test_a_409_leaves_nothing_however_often_it_is_sent(client: Intercom) -> None:
    """Clients may be told to send a refused request again (facts: Intercom 5.1): a 409 stays one and writes nothing."""
    made = make(client, external_id=unique("retried"))
    for _ in range(3):
        assert refused(lambda: make(client, external_id=made.external_id, name="other")).status_code == 409
    assert made.id is not None
    assert whole(client.contacts.find(made.id)) == whole(made)


def test_delete(client: Intercom) -> None:
    """200 with a body, as the client needs it; afterwards nobody stands there."""
    made = make(client, external_id=unique("delete"))
    assert made.id is not None
    deleted = client.contacts.delete(made.id)
    assert (deleted.id, deleted.external_id, deleted.deleted) == (made.id, made.external_id, True)
    assert refused(lambda: client.contacts.delete(str(made.id))).status_code == 404


def test_archive_and_unarchive(client: Intercom) -> None:
    """Without a body, as the client sends it; an archived record is found by nobody and comes back as it was."""
    made = make(client, external_id=unique("archive"), name="N")
    assert made.id is not None
    archived = client.contacts.archive(made.id)
    assert (archived.id, archived.external_id, archived.archived) == (made.id, made.external_id, True)
    assert refused(lambda: client.contacts.find(str(made.id))).status_code == 404
    taken = refused(lambda: make(client, external_id=made.external_id))
    assert taken.body["errors"][0]["message"].startswith("An archived contact")
    back = client.contacts.unarchive(made.id)
    assert (back.id, back.archived) == (made.id, False)
    assert client.contacts.find(made.id).name == "N"


def test_block(client: Intercom) -> None:
    """A blocked record answers nobody, and cannot be made again."""
    made = make(client, external_id=unique("block"))
    assert made.id is not None
    blocked = client.contacts.block_contact(made.id)
    assert (blocked.id, blocked.external_id, blocked.blocked) == (made.id, made.external_id, True)
    assert refused(lambda: client.contacts.find(str(made.id))).status_code == 404
    assert refused(lambda: make(client, external_id=made.external_id)).status_code == 409


def test_merge_a_lead_into_a_user(client: Intercom) -> None:
    """The user stands, the lead's id answers 410 with a link; the other way round is refused."""
    email = f"{unique('merge')}@example.com"
    lead, user = make(client, role="lead", email=email, name="L"), make(client, email=email)
    assert lead.id is not None
    assert user.id is not None
    backwards = refused(lambda: client.contacts.merge_lead_in_user(lead_id=user.id, contact_id=lead.id))
    assert (backwards.status_code, backwards.body["errors"][0]["code"]) == (400, "invalid_merge")
    merged = client.contacts.merge_lead_in_user(lead_id=lead.id, contact_id=user.id)
    assert (merged.id, merged.role, merged.name) == (user.id, "user", "L")
    gone = refused(lambda: client.contacts.find(str(lead.id)))
    assert (gone.status_code, gone.body["errors"][0]["code"]) == (410, "contact_merged")
    assert gone.headers is not None
    assert gone.headers["link"] == f'</contacts/{user.id}>; rel="canonical"'


def test_a_merge_without_the_check(client: Intercom) -> None:
    """Two that share nothing are refused, unless the caller says so in the way that is left to it."""
    lead, user = make(client, role="lead"), make(client, external_id=unique("unlike"))
    assert lead.id is not None
    assert user.id is not None
    unlike = refused(lambda: client.contacts.merge_lead_in_user(lead_id=lead.id, contact_id=user.id))
    assert (unlike.status_code, unlike.body["errors"][0]["code"]) == (400, "invalid_merge")
    options: Any = {"additional_body_parameters": {"skip_duplicate_validation": True}}
    merged = client.contacts.merge_lead_in_user(lead_id=lead.id, contact_id=user.id, request_options=options)
    assert merged.id == user.id


def test_list_page_by_page(client: Intercom) -> None:
    """The pager of `list` follows the cursor and meets everybody once."""
    made = {make(client, external_id=unique("list")).id for _ in range(7)}
    pages = list(client.contacts.list(per_page=3).iter_pages())
    ids = [contact.id for page in pages for contact in page.items or []]
    assert len(ids) == len(set(ids))
    assert made <= set(ids)
    assert all(len(page.items or []) <= 3 for page in pages)
    assert {page.response.total_count for page in pages} == {len(ids)}


def test_search(client: Intercom) -> None:
    """One filter and a group; at once after the record was made (S14)."""
    email = f"{unique('Search')}@Example.com"
    made = make(client, email=email, name="Sought")
    by_email = SingleFilterSearchRequest(field="email", operator="=", value=email.upper())
    found = list(client.contacts.search(query=by_email))
    assert [contact.id for contact in found] == [made.id]
    both = MultipleFilterSearchRequest(
        operator="AND", value=[by_email, SingleFilterSearchRequest(field="name", operator="=", value="Sought")]
    )
    assert [contact.id for contact in client.contacts.search(query=both)] == [made.id]
    nobody = SingleFilterSearchRequest(field="external_id", operator="=", value=unique("nobody"))
    empty = client.contacts.search(query=nobody).response
    assert (empty.data, empty.total_count) == ([], 0)


def test_search_in_pages(client: Intercom) -> None:
    """Its pager repeats page one for ever (facts: Intercom 5.4), so callers go by hand; nobody is met twice."""
    name = unique("paged")
    made = {make(client, role="lead", name=name).id for _ in range(7)}
    query = SingleFilterSearchRequest(field="name", operator="=", value=name)
    met: list[str | None] = []
    after: str | None = None
    for _ in range(4):
        paging = StartingAfterPaging(per_page=3, starting_after=after)
        answer = client.contacts.search(query=query, pagination=paging).response
        met += [contact.id for contact in answer.data or []]
        assert answer.total_count == 7
        after = answer.pages.next.starting_after if answer.pages and answer.pages.next else None
        if after is None:
            break
    assert len(met) == 7
    assert set(met) == made


def test_search_with_a_sort_order(client: Intercom) -> None:
    """`sort` goes by the way that is left to the caller."""
    name = unique("sorted")
    for key in ("b", "c", "a"):
        make(client, external_id=f"{key}-{name}", name=name)
    options: Any = {"additional_body_parameters": {"sort": {"field": "external_id", "order": "ascending"}}}
    query = SingleFilterSearchRequest(field="name", operator="=", value=name)
    found = client.contacts.search(query=query, request_options=options)
    assert [contact.external_id for contact in found] == [f"{key}-{name}" for key in "abc"]


def test_a_bad_query_says_what_and_where(client: Intercom) -> None:
    """400 with a message; the field is named."""
    query = SingleFilterSearchRequest(field="no_such_field", operator="=", value="x")
    error = refused(lambda: client.contacts.search(query=query))
    assert error.status_code == 400
    assert "no_such_field" in error.body["errors"][0]["message"]


def test_what_is_attached_is_empty(client: Intercom) -> None:
    """Companies, segments, subscriptions and tags: empty lists, and nothing can be attached."""
    made = make(client, role="lead")
    assert made.id is not None
    assert list(client.contacts.list_attached_companies(made.id)) == []
    assert client.contacts.list_attached_segments(made.id).data == []
    assert client.contacts.list_attached_subscriptions(made.id).data == []
    assert client.contacts.list_attached_tags(made.id).data == []
    contact_id = made.id
    for call in (
        lambda: client.contacts.attach_subscription(contact_id, subscription_id="1", consent_type="opt_in"),
        lambda: client.contacts.detach_subscription(contact_id, "1"),
    ):
        assert refused(call).status_code == 404


def test_a_token_that_does_not_stand(server: Server) -> None:
    """401 becomes the client's own `UnauthorizedError`."""
    with httpx.Client() as transport:
        stranger = Intercom(
            token="gwa_nobody", base_url=f"http://127.0.0.1:{server.admin_port}", httpx_client=transport
        )
        with pytest.raises(UnauthorizedError) as caught:
            stranger.contacts.find("0" * 24)
    assert caught.value.body.errors[0].code == "unauthorized"


def test_data_attributes(client: Intercom) -> None:
    """Declared, used, described, archived, listed again; errors are the client's own classes."""
    name = unique("plan").replace("-", "_")
    more: Any = {"name": name, "model": "contact", "description": "d"}  # the model has no such fields
    declaration = CreateDataAttributeRequestOne(data_type="string", **more)
    declared = client.data_attributes.create(request=declaration)
    assert (declared.name, declared.full_name) == (name, f"custom_attributes.{name}")
    assert (declared.data_type, declared.custom, declared.archived) == ("string", True, False)
    assert declared.id is not None
    contact = make(client, external_id=unique("attributed"), custom_attributes={name: "pro"})
    assert contact.custom_attributes == {name: "pro"}
    described: Any = {"description": "another"}
    assert client.data_attributes.update(declared.id, request=described).description == "another"
    archive: Any = {"archived": True}
    assert client.data_attributes.update(declared.id, request=archive).archived is True
    active = {one.name for one in client.data_attributes.list(model="contact").data or []}
    every = {one.name for one in client.data_attributes.list(model="contact", include_archived=True).data or []}
    assert name in every - active
    assert {"external_id", "email"} <= active
    with pytest.raises(BadRequestError):
        client.data_attributes.create(request=declaration)
    with pytest.raises(NotFoundError):
        client.data_attributes.update(999_999, request=archive)


def test_visitors(client: Intercom, server: Server) -> None:
    """Found by user_id, updated, and converted into a user; nobody is 404."""
    with pytest.raises(NotFoundError):
        client.visitors.find(user_id=unique("nobody"))
    lead = make(client, role="lead", external_id=unique("visitor"))
    assert lead.external_id is not None
    found = client.visitors.find(user_id=lead.external_id)
    assert found is not None
    assert (found.id, found.user_id) == (lead.id, lead.external_id)
    updated = client.visitors.update(request=UpdateVisitorRequestWithUserId(user_id=lead.external_id, name="V"))
    assert updated is not None
    assert updated.name == "V"
    key = unique("converted")
    contact = client.visitors.merge_to_contact(
        type="user", user=UserWithUserId(user_id=key), visitor=VisitorWithUserId(user_id=lead.external_id)
    )
    assert (contact.id, contact.role, contact.external_id) == (lead.id, "user", key)
    assert server.login(server.token(key)).json()["contact"]["id"] == lead.id


def test_its_preview_twin(client: Intercom) -> None:
    """`client.unstable.contacts`: other names and models, the same addresses."""
    contacts = client.unstable.contacts
    key = unique("preview")
    made = contacts.create_contact(request={"external_id": key, "phone": "+44 20 7946 0001"})
    assert made.id is not None
    contact_id = made.id
    assert contacts.show_contact(contact_id).external_id == key
    assert contacts.show_contact_by_external_id(key).id == contact_id
    assert contacts.update_contact(contact_id, language_override="de").language_override == "de"
    query = PreviewFilter(field="external_id", operator="=", value=key)
    assert [one.id for one in contacts.search_contacts(query=query).data or []] == [contact_id]
    assert (contacts.list_contacts().total_count or 0) > 0
    for empty in (
        contacts.list_tags_for_a_contact,
        contacts.list_segments_for_a_contact,
        contacts.list_subscriptions_for_a_contact,
        contacts.list_companies_for_a_contact,
    ):
        assert empty(contact_id).data == []
    lead = contacts.create_contact(request={"role": "lead", "phone": "+44 20 7946 0001"})
    assert contacts.merge_contact(from_=lead.id, into=contact_id).id == contact_id
    assert contacts.archive_contact(contact_id).archived is True
    assert contacts.unarchive_contact(contact_id).archived is False
    assert contacts.block_contact(contact_id).blocked is True
    assert contacts.delete_contact(contact_id).deleted is True


async def test_the_client_without_threads(server: Server) -> None:
    """The asynchronous twin speaks the same."""
    async with httpx.AsyncClient(timeout=30) as transport:
        client = AsyncIntercom(
            token=server.access_token, base_url=f"http://127.0.0.1:{server.admin_port}", httpx_client=transport
        )
        made = await client.contacts.create(request=CreateContactRequestWithExternalId(external_id=unique("async")))
        assert made.id is not None
        assert whole(await client.contacts.find(made.id)) == whole(made)
        query = SingleFilterSearchRequest(field="external_id", operator="=", value=str(made.external_id))
        assert [contact.id async for contact in await client.contacts.search(query=query)] == [made.id]
        met = [contact.id async for contact in await client.contacts.list(per_page=50)]
        assert made.id in met
        assert (await client.contacts.delete(made.id)).deleted is True
