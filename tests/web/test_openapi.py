"""The OpenAPI document says what the admin listener does: no address more, none less, and schemathesis agrees."""

from __future__ import annotations

import itertools
import json
import os
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import unsupported_method
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from gateway import __version__
from gateway.app import Gateway
from gateway.contacts.access_token import Scope
from gateway.identity.unverified import strict_json_object
from gateway.settings import load_settings
from gateway.web.admin.openapi.document import openapi_document
from tests.web.conftest import access_token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.routing import BaseRoute

    from tests.web.conftest import Server

DOCUMENT = openapi_document(__version__)
SCHEMA = schemathesis.openapi.from_dict(
    DOCUMENT,
    config=SchemathesisConfig.from_dict(
        {
            "seed": 20261125,
            "generation": {"max-examples": 15, "deterministic": True, "database": "none"},
            # 422 says what a well-formed identifier is in the gateway's eyes, which no schema can.
            "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "404", "409", "422"]}},
        }
    ),
)


@SCHEMA.hook
def filter_body(context: Any, body: Any) -> bool:
    """No number that strict JSON has no room for: a schema cannot bound what stands in ignored members."""
    if context.operation.path == "/contacts/imports":
        return isinstance(body, str)
    try:
        strict_json_object(json.dumps(body).encode())
    except (TypeError, ValueError):  # TypeError: bytes, which are no JSON to begin with
        return not isinstance(body, dict)
    return True


@SCHEMA.hook
def filter_query(context: Any, query: Any) -> bool:
    """No parameter that the document does not name: such are ignored, as members of a body are."""
    return set(query or ()) <= {parameter.name for parameter in context.operation.query}


@SCHEMA.parametrize()
def test_schemathesis_finds_no_failure(case: Any, server: Server, import_id: str) -> None:
    """Whatever a client sends, the answer has the status, the headers and the shape that the document promises."""
    if case.path == "/contacts/imports" and isinstance(case.body, dict | list | int | float | None):
        return  # it would be written down as a text, which any CSV file is
    meet_somebody(case, server, import_id)
    case.call_and_validate(
        base_url=f"http://127.0.0.1:{server.admin_port}",
        headers={"Authorization": f"Bearer {server.access_token}"},
        excluded_checks=[unsupported_method],  # Intercom answers an unsupported method with 404 (facts: Intercom 2.11)
    )


@pytest.fixture(scope="module")
def import_id(server: Server) -> str:
    """An import that was made."""
    path = "/contacts/imports?match=external_id"
    headers, body = {"Content-Type": "text/csv"}, b"user_id\nimported\n"
    begun = server.request("POST", path, server.access_token, headers=headers, body=body, admin=True)
    assert begun.status == 202, begun.body
    job: str = begun.json()["id"]
    while server.admin("GET", f"/contacts/imports/{job}").json()["state"] == "running":
        time.sleep(0.1)
    return job


def meet_somebody(case: Any, server: Server, import_id: str) -> None:
    """Let every other well-formed identifier in a path be one that stands, and a good body name what is declared."""
    positive = case.meta.generation.mode.is_positive
    if positive and isinstance(case.body, dict):
        declare_attributes(case, server)
        name_a_pair(case, server)
    if positive and case.path in LISTS:
        first_page(case)
    for name, value in case.path_parameters.items():
        if name == "external_id" and len(str(value)) % 2:
            server.admin("POST", "/contacts", {"external_id": "a/standing?contact"})
            case.path_parameters[name] = "a/standing?contact"
        elif name in {"contact_id", "job_id"} and re.fullmatch("[0-9a-f]{23}[02468ace]", str(value)):
            case.path_parameters[name] = import_id if name == "job_id" else standing(case.path, server)


def standing(path: str, server: Server) -> str:
    """The id of a contact; of one that was merged away where it can be undone."""
    lead: str = server.admin("POST", "/contacts", {"role": "lead"}).json()["id"]
    if path.endswith("/unmerge"):
        user = server.admin("POST", "/contacts", {"external_id": f"survivor {next(_COUNTER)}"}).json()["id"]
        pair = {"from": lead, "into": user, "skip_duplicate_validation": True}
        assert server.admin("POST", "/contacts/merge", pair).status == 200
    return lead


def name_a_pair(case: Any, server: Server) -> None:
    """Every other merge is one of two contacts that share an email."""
    if case.path in {"/contacts/merge", "/contacts/merge/preview"} and len(str(case.body["from"])) % 2:
        email = f"pair{next(_COUNTER)}@example.com"
        for name, role in (("from", "lead"), ("into", "user")):
            case.body[name] = server.admin("POST", "/contacts", {"role": role, "email": email}).json()["id"]


LISTS = {
    "/contacts",
    "/contacts/search",
    "/contacts/duplicates",
    "/contacts/{contact_id}/merge_history",
    "/revocations",
}


def first_page(case: Any) -> None:
    """A cursor is what the gateway wrote, which no schema can say."""
    pagination = case.body.get("pagination") if isinstance(case.body, dict) else None
    for members in (case.query, pagination):
        if isinstance(members, dict):
            for cursor in ("starting_after", "cursor"):
                members.pop(cursor, None)


def declare_attributes(case: Any, server: Server) -> None:
    """Which custom attributes are declared, and which of their names are taken, no schema can say."""
    name = f"attribute {next(_COUNTER)}"
    if case.path == "/data_attributes":
        case.body["name"] = name
    elif "attribute_id" in case.path_parameters:
        body = {"name": name, "model": "contact", "data_type": "options", "options": [{"value": "a"}, {"value": "b"}]}
        case.path_parameters["attribute_id"] = server.admin("POST", "/data_attributes", body).json()["id"]
    elif case.body.get("custom_attributes"):
        case.body["custom_attributes"] = {}


_COUNTER = itertools.count()


def documented() -> set[tuple[str, str]]:
    """Every address and method of the document."""
    methods = {"get", "put", "post", "delete", "patch"}
    return {(path, method.upper()) for path, item in DOCUMENT["paths"].items() for method in item.keys() & methods}


def routed(routes: list[BaseRoute]) -> Iterator[tuple[str, str]]:
    """Every address and method of an application; HEAD comes with each GET."""
    for route in routes:
        if isinstance(route, Mount):
            assert route.path == ""
            yield from routed(route.routes)
        else:
            assert isinstance(route, Route)
            path = re.sub(r":\w+}", "}", route.path)
            yield from ((path, method) for method in route.methods or () if method != "HEAD")


def test_every_route_is_documented_and_nothing_else(tmp_path: Path) -> None:
    """The document and the application name the same addresses and methods."""
    (tmp_path / "secret").write_text(os.urandom(32).hex())
    (tmp_path / "secret").chmod(0o600)
    config = tmp_path / "gateway.toml"
    config.write_text(f"""
[store]
url = "sqlite:///{tmp_path / "contacts.db"}"
[workspaces.acme]
[[workspaces.acme.issuers]]
name = "messenger"
profile = "intercom"
secrets = [{{ id = "1", secret_file = "{tmp_path / "secret"}" }}]
""")
    admin = Gateway(load_settings(config, {})).configured.admin
    assert isinstance(admin, Starlette)
    served = list(routed(admin.routes))
    assert len(served) == len(set(served))
    assert set(served) == documented()


def test_the_document_is_served_to_any_access_token(server: Server) -> None:
    """As it was made here, for a token of any scope, and for nobody without one (R30)."""
    for scopes in ((), (Scope.CONTACTS_READ,)):
        reply = server.admin("GET", "/openapi.json", token=access_token(server, *scopes))
        assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
        assert reply.json() == DOCUMENT
    assert server.request("GET", "/openapi.json", admin=True).status == 401
    assert server.request("GET", "/openapi.json", server.access_token).status == 404


@pytest.mark.parametrize(("path", "method"), sorted(documented()))
def test_each_operation_names_the_scope_that_it_needs(server: Server, path: str, method: str) -> None:
    """A token with every scope but the documented one is refused, one with it alone is not; health is open."""
    (requirement,) = DOCUMENT["paths"][path][method.lower()]["security"] or [None]
    address = re.sub(r"{\w+}", "0" * 24, path)
    body: dict[str, Any] | None = {} if method in {"POST", "PUT"} else None
    if requirement is None:
        assert server.request(method, address, admin=True).status in {200, 503}
        return
    assert server.request(method, address, admin=True).status == 401
    needed = [Scope(scope) for scope in requirement["access_token"]]
    assert server.admin(method, address, body, token=access_token(server, *needed)).status != 403
    others = set(Scope) - set(needed)
    allowed = server.admin(method, address, body, token=access_token(server, *others)).status != 403
    assert allowed == (needed == [])


def test_the_document_is_openapi() -> None:
    """It is valid against the schema that the OpenAPI Initiative publishes for 3.1."""
    assert DOCUMENT["openapi"].startswith("3.1.")
    SCHEMA.validate()


def test_every_operation_has_a_name_of_its_own() -> None:
    """Generated clients name their methods by it."""
    names = [
        described["operationId"]
        for item in DOCUMENT["paths"].values()
        for method, described in item.items()
        if method != "parameters"
    ]
    assert len(names) == len(set(names)) == len(documented())
