"""What the parts of the document are made of: operations, schemas, and the answers that all operations share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from gateway.contacts.access_token import Scope
from gateway.web.admin.endpoints import BODY_LIMIT

Json = dict[str, Any]

CONTACT_ID: Json = {"type": "string", "pattern": "^[0-9a-f]{24}$"}
TIME: Json = {"type": "integer", "description": "Unix time in seconds, UTC"}


class Noun(Struct, frozen=True):
    """What one noun adds to the document: its tag, path items by path, and the schemas that they refer to."""

    tag: str
    description: str
    paths: Mapping[str, Mapping[str, Json]]
    schemas: Mapping[str, Json] = {}


class Operation(Struct, frozen=True, kw_only=True):
    """One operation behind the access token. `body` and `answer` name schemas.

    `refusals` are the statuses that it has besides those that every operation has.
    """

    name: str
    summary: str
    scope: Scope | None = None
    answer: str
    body: str | None = None
    query: Sequence[Json] = ()
    refusals: Sequence[int] = ()

    def json(self) -> Json:
        """The operation as the document has it; without a scope any access token will do."""
        statuses = sorted({*self.refusals, *EVERYWHERE})
        described: Json = {
            "operationId": self.name,
            "summary": self.summary,
            "security": [{"access_token": [] if self.scope is None else [str(self.scope)]}],
            "responses": {
                "200": {**json_content("Done.", ref(self.answer)), "headers": RATE_LIMIT},
                **{str(status): {"$ref": f"#/components/responses/{status}"} for status in statuses},
            },
        }
        if self.query:
            described["parameters"] = list(self.query)
        if self.body is not None:
            content = json_content(f"At most {BODY_LIMIT} bytes.", ref(self.body))
            described["requestBody"] = {"required": True, **content}
        return described


def query_parameter(name: str, description: str, schema: Json, *, required: bool = False) -> Json:
    """A parameter of the query."""
    return {"name": name, "in": "query", "required": required, "description": description, "schema": schema}


def path_parameters(path: str) -> list[Json]:
    """The parameters that a path's template names."""
    return [{"$ref": f"#/components/parameters/{name}"} for name in re.findall(r"{(\w+)}", path)]


def ref(schema: str) -> Json:
    """Refer to a schema by its name."""
    return {"$ref": f"#/components/schemas/{schema}"}


def json_content(description: str, schema: Json) -> Json:
    """A body or an answer in JSON."""
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def nullable(kind: str, **more: Any) -> Json:
    """A type, or null."""
    return {"type": [kind, "null"], **more}


def closed(properties: Mapping[str, Json], *, optional: Iterable[str] = ()) -> Json:
    """An object with these members and no others; all stand but the optional ones."""
    required = [name for name in properties if name not in set(optional)]
    return {"type": "object", "properties": dict(properties), "required": required, "additionalProperties": False}


def list_of(item: Json, **more: Json) -> Json:
    """Intercom's `{type: "list", data: [...]}`."""
    return closed({"type": {"const": "list"}, "data": {"type": "array", "items": item}, **more})


EVERYWHERE = (400, 401, 403, 406, 413, 429, 503)
"""The statuses that every operation behind the access token can refuse with."""

REFUSALS: Mapping[int, str] = {
    400: "Malformed or invalid: the message says what, `field` says where.",
    401: "No access token, or none that stands.",
    403: "The access token lacks the scope, or its workspace is not configured.",
    404: "No such record stands.",
    406: "The answer is JSON, and `Accept` excludes it.",
    409: "Another record holds an identifier; the message ends in its id.",
    410: "The record was merged away; `Link` leads to the one that answers now.",
    413: "The body or the headers are too large.",
    422: "An identifier that cannot be kept; the message begins with the gateway's own code.",
    429: "The access token has spent its budget; come back after `Retry-After` seconds.",
    503: "The contact store cannot answer now; come back after `Retry-After` seconds.",
}

RATE_LIMIT: Json = {
    f"X-RateLimit-{name}": {"required": True, "description": text, "schema": {"type": "integer", "minimum": 0}}
    for name, text in {
        "Limit": "The requests that a slice of ten seconds has.",
        "Remaining": "Those that are left of it.",
        "Reset": "When the next slice begins, in Unix seconds.",
    }.items()
}
"""What every answer behind the access token carries."""

_RETRY_AFTER: Json = {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}}}

_HEADERS: Mapping[int, Json] = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}},
    410: {
        "Link": {
            "required": True,
            "schema": {"type": "string", "pattern": '^</contacts/[0-9a-f]{24}>; rel="canonical"$'},
        }
    },
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}


def refusals() -> Json:
    """The shared answers, by status."""
    return {
        str(status): {
            **json_content(text, ref("ErrorList")),
            "headers": {**RATE_LIMIT, **_HEADERS.get(status, {})},
        }
        for status, text in REFUSALS.items()
    }


ERROR_LIST = closed(
    {
        "type": {"const": "error.list"},
        "request_id": {"type": "string", "description": "stands in the gateway's log, too"},
        "errors": {
            "type": "array",
            "minItems": 1,
            "items": closed({"code": {"type": "string"}, "message": {"type": "string"}, "field": nullable("string")}),
        },
    }
)
