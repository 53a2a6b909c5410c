"""What a search finds, said a second time and as plainly as can be: one record, one filter, no SQL.

It reads the query as a client wrote it, so that it shares nothing with the code that it judges but the contact.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

from gateway.contacts.contact import Contact, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_KEPT = {
    *("id", "role", "name", "avatar", "owner_id", "phone", "external_id", "language_override", "email"),
    *("created_at", "updated_at", "signed_up_at", "last_seen_at", "unsubscribed_from_emails"),
}
_FLAGS = {"unsubscribed_from_emails", "marked_email_as_spam", "has_hard_bounced"}
_FOLD = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_DAY = 86_400


def folded(text: str) -> str:
    """ASCII letters in lower case; `str.lower` would fold others, too."""
    return text.translate(_FOLD)


def value_of(record: Contact, field: str) -> Any:
    """What a record holds in a field; None for nothing."""
    if field.startswith("custom_attributes."):
        return record.custom_attributes.get(field.removeprefix("custom_attributes."))
    if field == "email_domain":
        return None if record.email is None else record.email.split("@")[1]
    if field in {"marked_email_as_spam", "has_hard_bounced"}:
        return False
    return getattr(record, field) if field in _KEPT else None


def matches(record: Contact, query: dict[str, Any], declared: dict[str, str]) -> bool:
    """Whether a record matches a query."""
    if "field" not in query:
        results = [matches(record, member, declared) for member in query["value"]]
        return all(results) if query["operator"] == "AND" else any(results)
    operator, wanted = query["operator"], query["value"]
    opposite = {"!=": "=", "NIN": "IN", "!~": "~"}.get(operator)
    if opposite is not None:
        return not matches(record, {**query, "operator": opposite}, declared)
    held = value_of(record, query["field"])
    if wanted is None:
        return held is None
    if operator == "IN":
        return any(_is(held, query["field"], one, "=", declared) for one in wanted)
    return _is(held, query["field"], wanted, operator, declared)


def _is(held: Any, field: str, wanted: Any, operator: str, declared: dict[str, str]) -> bool:
    kind = declared.get(field.removeprefix("custom_attributes.")) if field.startswith("custom_attributes.") else None
    kind = kind or _kind(field, wanted)
    if _kind("custom_attributes.", held) != ("number" if kind == "date" else kind):
        return False
    if kind == "boolean":
        return held is (wanted in (True, "true"))
    if kind == "date":
        return _ORDER[operator](held // _DAY, int(wanted) // _DAY)
    if kind == "number":
        return _ORDER[operator](float(held), float(wanted))
    wanted = str(wanted)
    if operator == "=":
        return bool(held == (folded(wanted) if field in {"email", "email_domain"} else wanted))
    return _PARTS[operator](folded(held), folded(wanted))


def _kind(field: str, wanted: Any) -> str:
    if field.startswith("custom_attributes."):
        if isinstance(wanted, bool):
            return "boolean"
        return "number" if isinstance(wanted, int | float) else "text" if isinstance(wanted, str) else "nothing"
    if field in _FLAGS:
        return "boolean"
    return "number" if field.endswith("_at") else "text"


_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda held, wanted: bool(held == wanted),
    "<": lambda held, wanted: bool(held < wanted),
    ">": lambda held, wanted: bool(held > wanted),
    "<=": lambda held, wanted: bool(held <= wanted),
    ">=": lambda held, wanted: bool(held >= wanted),
}
_PARTS: dict[str, Callable[[str, str], bool]] = {
    "~": lambda held, wanted: wanted in held,
    "^": lambda held, wanted: held.startswith(wanted),
    "$": lambda held, wanted: held.endswith(wanted),
}


def found(
    records: Iterable[Contact], query: dict[str, Any] | None, field: str, *, descending: bool, declared: dict[str, str]
) -> list[Contact]:
    """The live records that match, in order: by a field and then by id, those without a value last."""
    live = [record for record in records if record.state is State.LIVE]
    chosen = [record for record in live if query is None or matches(record, query, declared)]

    def holds(record: Contact) -> bool:
        return value_of(record, field) is not None

    with_value = sorted(filter(holds, chosen), key=lambda one: (value_of(one, field), one.id), reverse=descending)
    without = sorted((one for one in chosen if not holds(one)), key=lambda one: one.id, reverse=descending)
    return [*with_value, *without]
