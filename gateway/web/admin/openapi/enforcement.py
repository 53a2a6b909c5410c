"""What enforcing would break (`enforcement_api.py`)."""

from __future__ import annotations

from gateway.contacts.access_token import Scope
from gateway.contacts.rollout import KEPT_DAYS
from gateway.identity.platforms import Platform
from gateway.web.admin.openapi.parts import Noun, Operation, closed, query_parameter
from gateway.web.enforcement import EXCUSED, Mode
from gateway.web.enforcement_report import DEFAULT_DAYS

_NUMBER = {"type": "integer", "minimum": 0}
_DATE = {"type": "string", "format": "date", "description": "a day in UTC"}
_PLATFORM = closed(
    {
        "platform": {
            "enum": [*(platform.value for platform in Platform), None],
            "description": "null: requests that named none",
        },
        "mode": {
            "enum": [mode.value for mode in Mode],
            "description": "today's; requests are counted in `report` alone",
        },
        "verified": _NUMBER,
        "unverified": _NUMBER,
        "codes": {
            "type": "object",
            "description": "for what the unverified ones would have been refused",
            "propertyNames": {"enum": sorted(code.value for code in EXCUSED)},
            "additionalProperties": {"type": "integer", "minimum": 1},
        },
    }
)

ENFORCEMENT = Noun(
    tag="enforcement",
    description="What enforcing verification on a platform would break (an extension).",
    paths={
        "/enforcement": {
            "get": Operation(
                name="report_enforcement",
                summary="How many requests passed verified and unverified, by platform and code",
                scope=Scope.CONTACTS_READ,
                query=(
                    query_parameter(
                        "days",
                        "Over how many days, today included.",
                        {"type": "integer", "minimum": 1, "maximum": KEPT_DAYS, "default": DEFAULT_DAYS},
                    ),
                ),
                answer="EnforcementReport",
            ).json()
        }
    },
    schemas={
        "EnforcementReport": closed(
            {
                "type": {"const": "enforcement_report"},
                "workspace_id": {"type": "string"},
                "since": _DATE,
                "until": _DATE,
                "platforms": {"type": "array", "items": _PLATFORM, "minItems": 4, "maxItems": 4},
            }
        )
    },
)
