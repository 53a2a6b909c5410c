"""What an operator declares: data attributes made, changed and archived (facts: Intercom 3).

Works inside one transaction, and holds the workspace's attributes there, so that of two that take a name one is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from gateway.contacts.attributes import TEXT_LIMIT, DataAttribute, DataType, Model, is_attribute_name
from gateway.contacts.editing import ATTRIBUTES_LIMIT
from gateway.contacts.standard_attributes import STANDARD_NAMES
from gateway.errors import ChangeProblem, ChangeRefused
from gateway.identity.principal import is_storable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from enum import StrEnum
    from typing import TypeVar

    from gateway.contacts.store import ContactTransaction

    Member = TypeVar("Member", bound=StrEnum)

FEWEST_OPTIONS = 2
MOST_OPTIONS = 250


class AttributeEditor:
    """Declares the data attributes of a workspace in one transaction; `now` is in seconds.

    Values come as JSON has them. Raises `ChangeRefused` naming the field.
    """

    def __init__(self, transaction: ContactTransaction, workspace: str, *, now: float) -> None:
        self._transaction = transaction
        self._workspace = workspace
        self._now = int(now)

    async def create(self, values: Mapping[str, Any]) -> DataAttribute:
        """Declare an attribute: name, model and data_type are needed, options for a list."""
        data_type = _member(DataType, "data_type", values)
        attribute = DataAttribute(
            workspace_id=self._workspace,
            id=0,
            model=_member(Model, "model", values),
            name=_name(values.get("name")),
            data_type=data_type,
            description=_description(values.get("description")),
            options=_options(values.get("options"), data_type),
            messenger_writable=_flag("messenger_writable", values),
            created_at=self._now,
            updated_at=self._now,
        )
        standing = await self._held()
        if attribute.name in STANDARD_NAMES or any(attribute.name == other.name for other in standing):
            raise _invalid("name", f"the name '{attribute.name}' is already used by another data attribute")
        _check_room(standing)
        attribute = replace(attribute, id=1 + max((other.id for other in standing), default=0))
        if not await self._transaction.insert_data_attribute(attribute):
            raise _invalid("name", f"the name '{attribute.name}' is already used by another data attribute")
        return attribute

    async def update(self, attribute_id: int, values: Mapping[str, Any]) -> DataAttribute:
        """Write archived, description, messenger_writable and options; absent stays. Name, model and type never change.

        `ChangeRefused(ATTRIBUTE_NOT_FOUND)` when none has this id.
        """
        others = await self._held()
        standing = next((other for other in others if other.id == attribute_id), None)
        if standing is None:
            raise ChangeRefused(ChangeProblem.ATTRIBUTE_NOT_FOUND, "there is no data attribute with this id")
        for name in ("name", "model", "data_type"):
            if name in values and values[name] != getattr(standing, name):
                raise _invalid(name, f"the {name} of a data attribute cannot be changed")
        written: dict[str, Any] = {
            name: _flag(name, values) for name in ("archived", "messenger_writable") if name in values
        }
        if "description" in values:
            written["description"] = _description(values["description"])
        if "options" in values:
            written["options"] = _options(values["options"], standing.data_type)
        changed = replace(standing, **written)
        if changed == standing:
            return standing
        if standing.archived and not changed.archived:
            _check_room(others)
        changed = replace(changed, updated_at=self._now)
        await self._transaction.update_data_attribute(changed)
        return changed

    async def _held(self) -> Sequence[DataAttribute]:
        """What is declared, with nobody else declaring anything until this transaction ends."""
        await self._transaction.lock(self._workspace, "data_attributes")
        return await self._transaction.data_attributes(self._workspace)


def _invalid(field: str, message: str) -> ChangeRefused:
    return ChangeRefused(ChangeProblem.VALUE_INVALID, message, field=field)


def _member(members: type[Member], field: str, values: Mapping[str, Any]) -> Member:
    value = values.get(field)
    if value not in list(members):
        raise _invalid(field, f"must be one of {', '.join(members)}")
    return members(value)


def _name(value: object) -> str:
    if not isinstance(value, str) or not is_attribute_name(value):
        raise _invalid("name", "must be 1 to 255 letters, digits, _, -, currency signs and blanks within")
    return value


def _description(value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > TEXT_LIMIT or not is_storable(value):
        raise _invalid("description", f"must be text of at most {TEXT_LIMIT} characters")
    return value


def _flag(field: str, values: Mapping[str, Any]) -> bool:
    value = values.get(field, False)
    if not isinstance(value, bool):
        raise _invalid(field, "must be true or false")
    return value


def _options(value: object, data_type: DataType) -> tuple[str, ...]:
    """The texts of `[{"value": text}, ...]`."""
    if data_type is not DataType.OPTIONS:
        if value is None:
            return ()
        raise _invalid("options", "only a data attribute of type options has options")
    if not isinstance(value, list):
        raise _invalid("options", 'must be a list of {"value": text}')
    texts = tuple(_option(one) for one in value)
    if not FEWEST_OPTIONS <= len(set(texts)) == len(texts) <= MOST_OPTIONS:
        raise _invalid("options", f"must be {FEWEST_OPTIONS} to {MOST_OPTIONS} options that differ")
    return texts


def _option(one: object) -> str:
    text = one["value"] if isinstance(one, dict) and one.keys() == {"value"} else None
    if not isinstance(text, str) or not 0 < len(text) <= TEXT_LIMIT or not is_storable(text):
        raise _invalid("options", f'each must be {{"value": text}}, the text of 1 to {TEXT_LIMIT} characters')
    return text


def _check_room(standing: Sequence[DataAttribute]) -> None:
    if sum(not attribute.archived for attribute in standing) >= ATTRIBUTES_LIMIT:
        raise _invalid("name", f"a workspace has at most {ATTRIBUTES_LIMIT} active data attributes")
