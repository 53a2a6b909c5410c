"""Imports as jobs (`imports_api.py`)."""

from __future__ import annotations

from gateway.contacts.access_token import Scope
from gateway.contacts.csv.jobs import JobState
from gateway.contacts.csv.layout import Unknown
from gateway.contacts.csv.match_rule import MatchRule
from gateway.contacts.csv.outcome import Outcome
from gateway.contacts.csv.rows import ENCODINGS
from gateway.web.admin.openapi.parts import CONTACT_ID, TIME, Json, Noun, Operation, closed, nullable, query_parameter

_COUNT = {"type": "integer", "minimum": 0}
_RULE = {"enum": [str(rule) for rule in MatchRule]}
_IMPORT = closed(
    {
        "type": {"const": "import"},
        "id": CONTACT_ID,
        "state": {"enum": [str(state) for state in JobState]},
        "match": _RULE,
        "apply": {"type": "boolean"},
        "rows": nullable("integer", description="how many the file has; null until it was looked at"),
        "processed": _COUNT,
        **{str(outcome): _COUNT for outcome in Outcome},
        "problem": {
            "anyOf": [{"type": "null"}, closed({"code": {"type": "string"}, "message": nullable("string")})],
            "description": "why it failed",
        },
        "created_at": TIME,
        "updated_at": TIME,
    }
)
_CSV: Json = {"content": {"text/csv": {"schema": {"type": "string"}}}}


def _starting() -> Json:
    described = Operation(
        name="start_import",
        summary="Begin an import, or with `apply=false` its rehearsal; one at a time in a workspace",
        scope=Scope.CONTACTS_WRITE,
        answer="Import",
        query=(
            query_parameter("match", "What finds the record of a row; there is no safe default.", _RULE, required=True),
            query_parameter("apply", "Write; else it is a rehearsal.", {"enum": ["true", "false"]}),
            query_parameter("encoding", "Else UTF-8, or what a byte order mark says.", {"enum": list(ENCODINGS)}),
            query_parameter("delimiter", "Else found out.", {"enum": [",", ";", "\t", "|"]}),
            query_parameter("unknown", "Unknown columns.", {"enum": [str(unknown) for unknown in Unknown]}),
        ),
        refusals=(409,),
    ).json()
    begun = {**described["responses"].pop("200"), "description": "It has begun."}
    described["responses"]["202"] = begun
    described["requestBody"] = {"required": True, "description": "A CSV file of at most 20 MB.", **_CSV}
    return described


def _text(name: str, summary: str) -> Json:
    described = Operation(
        name=name, summary=summary, scope=Scope.CONTACTS_READ, answer="Import", refusals=(404,)
    ).json()
    described["responses"]["200"] = {"description": "As far as it is.", **_CSV}
    return described


IMPORTS = Noun(
    tag="imports",
    description="CSV files of people, as jobs (an extension: Intercom imports in its web pages alone).",
    paths={
        "/contacts/imports": {"post": _starting()},
        "/contacts/imports/{job_id}": {
            "get": Operation(
                name="show_import",
                summary="How far an import is, or how it ended",
                scope=Scope.CONTACTS_READ,
                answer="Import",
                refusals=(404,),
            ).json()
        },
        "/contacts/imports/{job_id}/result": {
            "get": _text("show_import_result", "Every row with its contact id and outcome")
        },
        "/contacts/imports/{job_id}/errors": {
            "get": _text("show_import_errors", "The rejected rows, to be mended and sent again")
        },
    },
    schemas={"Import": _IMPORT},
)
