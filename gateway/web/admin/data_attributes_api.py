"""Data attributes in Intercom's shape (facts: Intercom 3): `GET|POST /data_attributes`, `PUT /data_attributes/{id}`.

One key is our own: archiving an attribute in which people's ids may lie copies nothing, so the answer carries a
`warning` when live contacts hold a value in it and have no external_id: `{count, message}`.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from gateway.contacts.access_token import Scope
from gateway.contacts.attribute_editing import AttributeEditor
from gateway.contacts.attributes import DataAttribute, Model
from gateway.contacts.standard_attributes import STANDARD_ATTRIBUTES, StandardAttribute
from gateway.errors import ChangeProblem, ChangeRefused
from gateway.web.admin.endpoints import AdminEndpoints, answer, json_object
from gateway.web.admin.errors import AdminError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_LONGEST_ID = 9  # digits; the store counts in 32 bits


class DataAttributesApi(AdminEndpoints):
    """What a workspace declares of its attributes."""

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/data_attributes", self.list, methods=["GET"]),
            Route("/data_attributes", self.create, methods=["POST"]),
            Route("/data_attributes/{attribute_id}", self.update, methods=["PUT"]),
        ]

    async def list(self, request: Request) -> Response:
        """All of them, standard ones first; archived ones when `include_archived=true`."""
        workspace = self.permitted(request, Scope.CONTACTS_READ)
        model = _model_asked(request)
        archived = _flag_asked(request, "include_archived")
        custom = [
            data_attribute_json(attribute)
            for attribute in await self.store.data_attributes(workspace)
            if (model is None or attribute.model is model) and (archived or not attribute.archived)
        ]
        standard = [] if model is Model.COMPANY else [_standard_json(attribute) for attribute in STANDARD_ATTRIBUTES]
        return answer({"type": "list", "data": [*standard, *custom]})

    async def create(self, request: Request) -> Response:
        """Declare a custom attribute."""
        workspace = self.permitted(request, Scope.CONTACTS_WRITE)
        values = await json_object(request)
        attribute = await self.store.write(
            lambda transaction: AttributeEditor(transaction, workspace, now=self.clock()).create(values)
        )
        return answer(data_attribute_json(attribute))

    async def update(self, request: Request) -> Response:
        """Change or archive a custom attribute; see the module for the warning.

        The contacts are counted first: when that is an outage, nothing has been archived.
        """
        workspace = self.permitted(request, Scope.CONTACTS_WRITE)
        values = await json_object(request)
        attribute_id = _id_of(request)
        concerned = 0
        if values.get("archived") is True:
            for standing in await self.store.data_attributes(workspace):
                if standing.id == attribute_id and standing.model is Model.CONTACT:
                    concerned = await self.store.count_without_external_id(workspace, standing.name)
        attribute = await self.store.write(
            lambda transaction: AttributeEditor(transaction, workspace, now=self.clock()).update(attribute_id, values)
        )
        body = data_attribute_json(attribute)
        if concerned:
            body["warning"] = _warning(attribute.name, concerned)
        return answer(body)


def data_attribute_json(attribute: DataAttribute) -> dict[str, Any]:
    """A custom attribute as served."""
    return {
        "type": "data_attribute",
        "id": attribute.id,
        "model": attribute.model,
        "name": attribute.name,
        "full_name": f"custom_attributes.{attribute.name}",
        "label": attribute.name,
        "description": attribute.description,
        "data_type": attribute.data_type,
        **({"options": attribute.options} if attribute.options else {}),
        "api_writable": True,
        "ui_writable": False,
        "messenger_writable": attribute.messenger_writable,
        "custom": True,
        "archived": attribute.archived,
        "created_at": attribute.created_at,
        "updated_at": attribute.updated_at,
    }


def _standard_json(attribute: StandardAttribute) -> dict[str, Any]:
    """A standard attribute as served: without an id."""
    return {
        "type": "data_attribute",
        "model": Model.CONTACT,
        "name": attribute.name,
        "full_name": attribute.name,
        "label": attribute.label,
        "description": None,
        "data_type": attribute.data_type,
        "api_writable": attribute.api_writable,
        "ui_writable": False,
        "messenger_writable": attribute.messenger_writable,
        "custom": False,
        "archived": False,
    }


def _warning(name: str, count: int) -> dict[str, Any]:
    """Archiving copies nothing (S17): how many contacts it concerns, and the way out."""
    who = "1 live contact holds" if count == 1 else f"{count} live contacts hold"
    remedy = f"gateway contacts backfill --from-attribute {shlex.quote(name)}"
    return {
        "count": count,
        "message": f"{who} a value in this attribute and no external_id. Archiving copies nothing. "
        f"If these values are ids, run {remedy}",
    }


def _model_asked(request: Request) -> Model | None:
    model = request.query_params.get("model")
    if model is None:
        return None
    if model in list(Model):
        return Model(model)
    # Intercom's 2.16 refuses its old third model in this way (facts: Intercom 3).
    status = 422 if model == "conversation" else 400
    raise AdminError(status, "parameter_invalid", "model must be contact or company", field="model")


def _flag_asked(request: Request, name: str) -> bool:
    value = request.query_params.get(name, "false").lower()
    if value not in {"true", "false"}:
        raise AdminError(400, "parameter_invalid", f"{name} must be true or false", field=name)
    return value == "true"


def _id_of(request: Request) -> int:
    text: str = request.path_params["attribute_id"]
    if not text.isascii() or not text.isdigit() or len(text) > _LONGEST_ID:
        raise ChangeRefused(ChangeProblem.ATTRIBUTE_NOT_FOUND, "there is no data attribute with this id")
    return int(text)
