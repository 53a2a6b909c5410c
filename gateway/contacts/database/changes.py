"""Who is told of changes, and how long the store may say that it hears of all of them.

What hears of other processes' changes calls `heard` each time that it has caught up with them. That is good for
`GOOD_FOR` seconds from the moment at which it began to look; afterwards the store is deaf until it has caught up again.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gateway.contacts.store import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.contacts.store import ChangeListener

_log = logging.getLogger(__name__)

GOOD_FOR = 1.0
"""Seconds; the promise of `ContactStore`: a change is heard of within a second."""

ALL_CHANGED = ("", EVERYTHING)


class Changes:
    """The subscribers of a store; `monotonic` is a clock that nobody sets."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._listeners: tuple[ChangeListener, ...] = ()
        self._good_until = 0.0

    @property
    def heard_of_all(self) -> bool:
        """See `ContactStore.hears_changes`."""
        return self._monotonic() < self._good_until

    def subscribe(self, listener: ChangeListener) -> None:
        """See `ContactStore.subscribe`."""
        self._listeners = (*self._listeners, listener)

    def unsubscribe(self, listener: ChangeListener) -> None:
        """See `ContactStore.unsubscribe`."""
        self._listeners = tuple(one for one in self._listeners if one != listener)

    def tell(self, changes: Iterable[tuple[str, str]]) -> None:
        """Tell every subscriber of every change; one that fails is logged, and keeps nobody else from hearing."""
        for workspace_id, contact_id in changes:
            for listener in self._listeners:
                try:
                    listener(workspace_id, contact_id)
                except Exception:  # noqa: BLE001 - whatever it is, the others must hear
                    _log.exception("a subscriber to the store's changes failed")

    def now(self) -> float:
        """The moment to give to `heard`; taken before looking."""
        return self._monotonic()

    def heard(self, since: float) -> None:
        """All changes up to the moment `since` have been told; after a deaf time everything is, first."""
        if not self.heard_of_all:
            self.tell([ALL_CHANGED])
        self._good_until = since + GOOD_FOR

    def deaf(self) -> None:
        """From now on changes may be missed."""
        self._good_until = 0.0


class TellsChanges:
    """What a store offers of its `Changes`."""

    _changes: Changes

    @property
    def hears_changes(self) -> bool:
        """See `ContactStore.hears_changes`."""
        return self._changes.heard_of_all

    def subscribe(self, listener: ChangeListener) -> None:
        """See `ContactStore.subscribe`."""
        self._changes.subscribe(listener)

    def unsubscribe(self, listener: ChangeListener) -> None:
        """See `ContactStore.unsubscribe`."""
        self._changes.unsubscribe(listener)
