"""The part of the schema for revocations."""

from __future__ import annotations

SQLITE: tuple[str, ...] = ()
POSTGRES: tuple[str, ...] = ()
"""The statements of migration 3 that this part adds, for each engine."""
