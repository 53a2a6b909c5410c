"""Pages of a list, and the cursors from one to the next (facts: Intercom 2.8).

A cursor is opaque, and holds where the next page begins, its number, and how many records the first page counted. It
is tied to its list by a digest with the store's own key: one that was changed, or belongs to another workspace,
query or order, is refused.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from gateway.contacts.search.tree import Position
from gateway.errors import SearchProblem, SearchRefused
from gateway.web.admin.errors import AdminError

if TYPE_CHECKING:
    from starlette.requests import Request

T = TypeVar("T")

USUAL_PAGE = 50
LARGEST_PAGE = 150

_DIGEST_BYTES = 16
_CURSOR_LIMIT = 4_000


class Cursor(Struct, frozen=True, kw_only=True):
    """The beginning of a page: what it comes after, its number, and the matches that the first page counted."""

    after: Position
    page: int
    total: int


class Cursors:
    """The cursors of one list: `subject` says which list it is, `key` is the store's."""

    def __init__(self, key: bytes, workspace_id: str, subject: Struct) -> None:
        workspace = workspace_id.encode()
        named = len(workspace).to_bytes(4, "big") + workspace + msgspec.json.encode(subject)
        self._key = hmac.digest(key, named, "sha256")

    def written(self, cursor: Cursor) -> str:
        """The text that a client hands back."""
        payload = msgspec.json.encode(cursor)
        return base64.urlsafe_b64encode(self._digest(payload) + payload).decode().rstrip("=")

    def read(self, text: str, *, field: str) -> Cursor:
        """What this gateway wrote, in the one spelling that it gave it; raises `SearchRefused`."""
        if len(text) > _CURSOR_LIMIT:
            raise _foreign(field)
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raise _foreign(field) from None
        digest, payload = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
        if not hmac.compare_digest(digest, self._digest(payload)):
            raise _foreign(field)
        cursor = msgspec.json.decode(payload, type=Cursor)
        if self.written(cursor) != text:
            raise _foreign(field)
        return cursor

    def _digest(self, payload: bytes) -> bytes:
        return hmac.new(self._key, payload, hashlib.sha256).digest()[:_DIGEST_BYTES]


def pages_json(*, page: int, per_page: int, total: int, following: str | None) -> dict[str, Any]:
    """The object `pages` of a list; `following` is the cursor of the next page."""
    return {
        "type": "pages",
        "page": page,
        "per_page": per_page,
        "total_pages": -(-total // per_page),
        "next": None if following is None else {"page": page + 1, "per_page": per_page, "starting_after": following},
    }


def written_position(*position: str | int) -> str:
    """Where a page of a list ended, as a client carries it to the next page; `read_position` takes it back."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode()


def read_position(text: str, kind: type[T], *, field: str) -> T:
    """The position in a client's text; `AdminError` 400 for what no page of such a list has given."""
    try:
        return msgspec.json.decode(base64.b64decode(text, altchars=b"-_", validate=True), type=kind)
    except ValueError:
        raise foreign_position(field) from None


def foreign_position(field: str) -> AdminError:
    """400 for a position of another list, or of none."""
    return AdminError(400, "client_error", f"{field} is none of this list; take it from a previous page", field=field)


def page_size(request: Request) -> int:
    """`per_page` of the query; `AdminError` 400 for what is no number from 1 to `LARGEST_PAGE`."""
    text = request.query_params.get("per_page", str(USUAL_PAGE))
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= LARGEST_PAGE):
        message = f"per_page must be a number from 1 to {LARGEST_PAGE}"
        raise AdminError(400, "parameter_invalid", message, field="per_page")
    return int(text)


def _foreign(field: str) -> SearchRefused:
    text = "is not a cursor of this list and query; take it from the page before, or leave it out for the first page"
    return SearchRefused(SearchProblem.CURSOR_INVALID, text, field=field)
