"""Health (`health.py` of the web side): open, for whoever watches the process."""

from __future__ import annotations

from gateway.web.admin.openapi.parts import Json, Noun, closed, json_content, nullable, ref

_ALIVE = closed({"status": {"const": "ok"}})
_ISSUER = closed(
    {
        "workspace": {"type": "string"},
        "issuer": {"type": "string"},
        "source": {"type": "string", "description": "where its keys come from"},
        "keys": {"type": "integer", "description": "how many verify"},
        "state": {"enum": ["fresh", "stale", "none"]},
        "age": nullable("integer", description="seconds since its publisher was known to have them"),
        "error": nullable("string", description="why the last try to ask the publisher failed"),
        "left_out": {"type": "array", "items": {"type": "string"}},
        "exposed": {"type": "integer", "description": "secrets that anybody can read in the published set"},
    }
)


def _health(name: str, summary: str, answers: Json) -> Json:
    return {"operationId": name, "summary": summary, "security": [], "responses": answers}


HEALTH = Noun(
    tag="health",
    description="Is the process alive, and can it answer logins?",
    paths={
        "/healthz": {"get": _health("healthz", "The process answers", {"200": json_content("Alive.", ref("Alive"))})},
        "/readyz": {
            "get": _health(
                "readyz",
                "Logins can be answered",
                {
                    "200": json_content("Ready.", ref("Readiness")),
                    "503": json_content("Not ready; `checks` says what is missing.", ref("Readiness")),
                },
            )
        },
    },
    schemas={
        "Alive": _ALIVE,
        "Readiness": closed(
            {
                "status": {"enum": ["ok", "unavailable"]},
                "checks": closed({name: {"type": "string"} for name in ("keys", "store", "process")}),
                "issuers": {"type": "array", "items": _ISSUER},
                "configuration": closed(
                    {
                        "state": {"enum": ["ok", "kept"], "description": "kept: it is broken, the one before stays."},
                        "since": {"type": "integer"},
                        "reloads": {"type": "integer"},
                        "problems": {"type": "array", "items": {"type": "string"}},
                        "needs_restart": {"type": "array", "items": {"type": "string"}},
                    }
                ),
            }
        ),
    },
)
