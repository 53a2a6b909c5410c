"""The document itself, put together from the nouns, and the endpoint that serves it.

It stands behind the access token as every other address does (R30), and any scope will do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from gateway.web.admin.endpoints import answer
from gateway.web.admin.openapi.attached import ATTACHED
from gateway.web.admin.openapi.contacts import CONTACTS
from gateway.web.admin.openapi.data_attributes import ATTRIBUTE_ID, DATA_ATTRIBUTES
from gateway.web.admin.openapi.duplicates import DUPLICATES
from gateway.web.admin.openapi.enforcement import ENFORCEMENT
from gateway.web.admin.openapi.health import HEALTH
from gateway.web.admin.openapi.history import HISTORY
from gateway.web.admin.openapi.imports import IMPORTS
from gateway.web.admin.openapi.lifecycle import LIFECYCLE
from gateway.web.admin.openapi.merges import MERGES
from gateway.web.admin.openapi.parts import CONTACT_ID, ERROR_LIST, Json, Noun, Operation, path_parameters, refusals
from gateway.web.admin.openapi.revocations import REVOCATIONS
from gateway.web.admin.openapi.search import SEARCH
from gateway.web.admin.openapi.tokens import TOKENS
from gateway.web.admin.openapi.visitors import VISITORS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

_ITSELF = Noun(
    tag="document",
    description="This document.",
    paths={"/openapi.json": {"get": Operation(name="openapi", summary="This document", answer="OpenApi").json()}},
    schemas={"OpenApi": {"type": "object", "required": ["openapi", "info", "paths", "components"]}},
)

NOUNS: Sequence[Noun] = (
    CONTACTS,
    SEARCH,
    LIFECYCLE,
    DUPLICATES,
    ENFORCEMENT,
    HISTORY,
    MERGES,
    IMPORTS,
    ATTACHED,
    DATA_ATTRIBUTES,
    VISITORS,
    TOKENS,
    REVOCATIONS,
    HEALTH,
    _ITSELF,
)

_PARAMETERS = {
    "attribute_id": ("The id of a custom attribute; standard ones have none.", ATTRIBUTE_ID),
    "contact_id": ("The contact's own id.", CONTACT_ID),
    "job_id": ("The id of an import.", CONTACT_ID),
    "external_id": ("Percent-encoded once: `%2F` stays part of the id.", {"type": "string", "minLength": 1}),
}


def openapi_document(version: str) -> Json:
    """The whole document, as JSON has it."""
    schemas: Json = {"ErrorList": ERROR_LIST}
    paths: Json = {}
    for noun in NOUNS:
        schemas |= noun.schemas
        for path, operations in noun.paths.items():
            item = paths.setdefault(path, {})
            item |= {method: {**described, "tags": [noun.tag]} for method, described in operations.items()}
            if parameters := path_parameters(path):
                item["parameters"] = parameters
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Identity gateway: the admin listener",
            "version": version,
            "description": "Contacts in the shape of Intercom's API 2.16, behind access tokens; official clients run "
            "unchanged. Members of a body that are not named here are ignored.",
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": noun.tag, "description": noun.description} for noun in NOUNS],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": {
                name: {"name": name, "in": "path", "required": True, "description": text, "schema": schema}
                for name, (text, schema) in _PARAMETERS.items()
            },
            "responses": refusals(),
            "securitySchemes": {"access_token": {"type": "http", "scheme": "bearer"}},
        },
    }


class OpenApi:
    """`GET /openapi.json`; the document is made once."""

    def __init__(self, version: str) -> None:
        self._document = openapi_document(version)

    def routes(self) -> list[Route]:
        """The one route."""
        return [Route("/openapi.json", self.serve, methods=["GET"])]

    async def serve(self, _request: Request) -> Response:
        """The document."""
        return answer(self._document)
