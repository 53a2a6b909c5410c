"""A stateful test on an open store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from gateway.contacts.database.stores import store_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.store import ContactStore


def run_on_store(url: str, machine: type[RuleBasedStateMachine], *, examples: int, steps: int) -> None:
    """Run a machine, whose class gets `store` and `runner`, on the empty database; `check` must find nothing after."""
    store = store_for(url)
    with asyncio.Runner() as runner:
        runner.run(_open(store))
        bound = type(f"Bound{machine.__name__}", (machine,), {"store": store, "runner": runner})
        run_state_machine_as_test(
            bound,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        assert list(runner.run(_check(store))) == []


async def _open(store: ContactStore) -> None:
    await store.migrate()
    await store.open()


async def _check(store: ContactStore) -> Sequence[str]:
    problems = await store.check()
    await store.close()
    return problems
