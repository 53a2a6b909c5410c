"""Which back end a URL names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gateway.errors import StoreUnusable

if TYPE_CHECKING:
    from gateway.contacts.store import ContactStore


def store_for(url: str) -> ContactStore:
    """The store of `sqlite:///relative`, `sqlite:////absolute` or `postgresql://...`; nothing is opened yet.

    Raises `StoreUnusable` for any other URL. A back end is imported only when it is used.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        from gateway.contacts.database.sqlite import SqliteStore  # noqa: PLC0415 - see above

        return SqliteStore(Path(rest[1:]))
    if scheme in {"postgresql", "postgres"}:
        from gateway.contacts.database.postgres import PostgresStore  # noqa: PLC0415 - see above

        return PostgresStore(url)
    raise StoreUnusable("a store is named sqlite:///path or postgresql://...")
