"""Data attributes in SQL: a small table, read whole for its workspace."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gateway.contacts.attributes import DataAttribute, DataType, Model
from gateway.contacts.database.fetching import Fetching
from gateway.contacts.database.rows import check_storable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.database.rows import Row

_COLUMNS = (
    "workspace_id, id, model, name, data_type, description, options, messenger_writable, archived, created_at, "
    "updated_at"
)
_ALL = f"SELECT {_COLUMNS} FROM data_attributes WHERE workspace_id = $1 ORDER BY id"  # noqa: S608 - a constant
_INSERT = (
    f"INSERT INTO data_attributes ({_COLUMNS}) "  # noqa: S608 - a constant
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING RETURNING id"
)
_UPDATE = (
    "UPDATE data_attributes SET description = $1, options = $2, messenger_writable = $3, archived = $4, "
    "updated_at = $5 WHERE workspace_id = $6 AND id = $7 RETURNING id"
)

_MODELS = {model.value: model for model in Model}
_TYPES = {data_type.value: data_type for data_type in DataType}


class SqlAttributeReader(Fetching):
    """The look-ups of `AttributeReader` over one way to run a statement."""

    holds_attribute = "EXISTS (SELECT 1 FROM json_each(custom_attributes) WHERE key = $2)"
    """Whether a record holds a value in the custom attribute `$2`; PostgreSQL has other words."""

    async def data_attributes(self, workspace_id: str) -> Sequence[DataAttribute]:
        """See `AttributeReader.data_attributes`."""
        check_storable((workspace_id,))
        return [_attribute_of(row) for row in await self._fetch(_ALL, workspace_id)]

    async def count_without_external_id(self, workspace_id: str, name: str) -> int:
        """See `AttributeReader.count_without_external_id`."""
        check_storable((workspace_id, name))
        sql = (
            "SELECT count(*) FROM contacts WHERE workspace_id = $1 AND state = 'live' AND external_id IS NULL "  # noqa: S608 - constants
            f"AND custom_attributes <> '{{}}' AND {self.holds_attribute}"
        )
        count: int = (await self._scan(sql, workspace_id, name))[0][0]
        return count


class SqlAttributeTransaction(SqlAttributeReader):
    """The writes of `AttributeTransaction`."""

    async def insert_data_attribute(self, attribute: DataAttribute) -> bool:
        """See `AttributeTransaction.insert_data_attribute`."""
        row = (
            attribute.workspace_id,
            attribute.id,
            attribute.model.value,
            attribute.name,
            attribute.data_type.value,
            attribute.description,
            _list(attribute.options),
            int(attribute.messenger_writable),
            int(attribute.archived),
            attribute.created_at,
            attribute.updated_at,
        )
        check_storable(row)
        return bool(await self._fetch(_INSERT, *row))

    async def update_data_attribute(self, attribute: DataAttribute) -> bool:
        """See `AttributeTransaction.update_data_attribute`."""
        row = (
            attribute.description,
            _list(attribute.options),
            int(attribute.messenger_writable),
            int(attribute.archived),
            attribute.updated_at,
            attribute.workspace_id,
            attribute.id,
        )
        check_storable(row)
        return bool(await self._fetch(_UPDATE, *row))


def _list(options: Sequence[str]) -> str:
    return json.dumps(options, ensure_ascii=False)


def _attribute_of(row: Row) -> DataAttribute:
    return DataAttribute(
        workspace_id=row[0],
        id=row[1],
        model=_MODELS[row[2]],
        name=row[3],
        data_type=_TYPES[row[4]],
        description=row[5],
        options=() if row[6] == "[]" else tuple(json.loads(row[6])),
        messenger_writable=row[7] != 0,
        archived=row[8] != 0,
        created_at=row[9],
        updated_at=row[10],
    )
