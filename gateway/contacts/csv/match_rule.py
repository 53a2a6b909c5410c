"""How the rows of an import find their records; whoever imports chooses, and nothing is the default."""

from __future__ import annotations

from enum import StrEnum


class MatchRule(StrEnum):
    """What finds the record of a row. No rule falls through from an id that was given to a weaker one."""

    ID = "id"
    EXTERNAL_ID = "external_id"
    EMAIL_IF_UNSET = "email-if-unset"
