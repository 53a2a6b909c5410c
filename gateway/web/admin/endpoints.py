"""What every endpoint of the admin listener shares: who may, what the body says, in whose name things change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Struct
from starlette.responses import Response

from gateway.contacts.contact import Contact, State, is_contact_id
from gateway.contacts.editing import Editor
from gateway.contacts.store import ContactStore
from gateway.errors import ContactMerged, ContactNotFound
from gateway.identity.principal import IdRules
from gateway.identity.unverified import strict_json_object
from gateway.web.admin.accept import accepts
from gateway.web.admin.errors import AdminError
from gateway.web.carrier import read_body

if TYPE_CHECKING:
    from starlette.requests import Request

    from gateway.contacts.access_token import Scope
    from gateway.contacts.store import ContactTransaction

E = TypeVar("E", bound=Editor)

BODY_LIMIT = 1024 * 1024


class Shared(Struct, frozen=True):
    """What all endpoints have: the store, each workspace's rules for ids, the time and the randomness."""

    store: ContactStore
    rules: Mapping[str, IdRules]
    clock: Callable[[], float]
    random_bytes: Callable[[int], bytes]


class AdminEndpoints:
    """Endpoints over one store. Requests arrive with `request.user`: the access token that was presented."""

    def __init__(self, shared: Shared) -> None:
        self.store = shared.store
        self.rules = shared.rules
        self.clock = shared.clock
        self.random_bytes = shared.random_bytes

    def editor(self, transaction: ContactTransaction, request: Request) -> Editor:
        """Changes in the name of the access token that was presented."""
        return self.acting(Editor, transaction, request)

    def acting(self, kind: type[E], transaction: ContactTransaction, request: Request) -> E:
        """The same by a more able editor."""
        return kind(
            transaction,
            request.user.workspace_id,
            actor=f"access_token:{request.user.id}",
            now=self.clock(),
            random_bytes=self.random_bytes,
        )

    def permitted(self, request: Request, scope: Scope, *, media_type: str = "application/json") -> str:
        """The workspace of the access token; 403 when the token lacks the scope, or its workspace stands no more.

        406 when the client does not accept the type of the answer, 400 when the query is not UTF-8: a parameter that
        was mended in reading could be somebody else's id.
        """
        if not accepts(request.headers.get("accept"), media_type):
            raise AdminError(406, "client_error", f"the answer is {media_type}, which Accept excludes")
        try:
            unquote_to_bytes(request.scope["query_string"]).decode()
        except UnicodeDecodeError:
            raise AdminError(400, "parameter_invalid", "the query is not UTF-8") from None
        if scope not in request.user.scopes:
            raise AdminError(403, "forbidden", f"the access token lacks the scope {scope}")
        workspace: str = request.user.workspace_id
        if workspace not in self.rules:
            raise AdminError(403, "forbidden", "the access token's workspace is not configured")
        return workspace


async def json_object(request: Request) -> dict[str, Any]:
    """The JSON object in a body; `AdminError` 400 for anything else, 413 for more than `BODY_LIMIT` bytes."""
    body = await read_body(request.receive, BODY_LIMIT)
    if body is None:
        raise AdminError(400, "bad_request", "the body did not arrive")
    if len(body) > BODY_LIMIT:
        raise AdminError(413, "client_error", f"the body takes more than {BODY_LIMIT} bytes")
    try:
        return strict_json_object(body)
    except ValueError as error:
        raise AdminError(400, "parameter_invalid", f"the body is not one strict JSON object: {error}") from error


def contact_id_of(request: Request) -> str:
    """The contact id in the path; `ContactNotFound` for what could be none."""
    contact_id: str = request.path_params["contact_id"]
    if not is_contact_id(contact_id):
        raise ContactNotFound
    return contact_id


def standing_contact(contact: Contact | None, **asked: str) -> Contact:
    """The live contact that was asked for; raises `ContactNotFound` and `ContactMerged`."""
    if contact is None:
        raise ContactNotFound
    if any(getattr(contact, name) != value for name, value in asked.items()):
        raise ContactMerged(contact.id)
    if contact.state is not State.LIVE:
        raise ContactNotFound
    return contact


def answer(body: Mapping[str, Any]) -> Response:
    """200 with a JSON object."""
    return Response(msgspec.json.encode(body), media_type="application/json", headers={"cache-control": "no-store"})
