"""What becomes of a row of a file."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Outcome(StrEnum):
    """What became of a row."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    LINKED = "linked"
    REJECTED = "rejected"


class RowResult(Struct, frozen=True, kw_only=True):
    """One row and its outcome. `line` is the one on which it begins; `other_id` the record that stands in its way."""

    line: int
    outcome: Outcome
    contact_id: str | None = None
    code: str | None = None
    field: str | None = None
    message: str | None = None
    other_id: str | None = None
