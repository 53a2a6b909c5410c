"""Numbers that processes share: found again, never mixed up, forgotten only where nothing is lost by it."""

from __future__ import annotations

import multiprocessing
import random
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from gateway.web.limits.budgets import UNITS, Budgets, Rate
from gateway.web.limits.shared_slots import SharedSlots

if TYPE_CHECKING:
    from collections.abc import Iterable

SECOND = 1_000_000_000


def write(slots: SharedSlots, key: str, value: int) -> None:
    index, mark, _ = slots.find(key)
    slots.put(index, mark, value)


def read(slots: SharedSlots, key: str) -> int:
    return slots.find(key)[2]


def _add(slots: SharedSlots, keys: Iterable[str], value: int) -> None:
    for key in keys:
        write(slots, key, value)


def _spend(slots: SharedSlots, tries: int, granted: object) -> None:
    budgets = Budgets(slots, clock=lambda: 5 * SECOND)
    granted.put(sum(not budgets.take("contact x", Rate(100, 60)) for _ in range(tries)))  # type: ignore[attr-defined]  # a queue


def test_another_process_reads_what_one_wrote() -> None:
    """A process that is started later gets the same memory, and the same places for the same keys."""
    slots = SharedSlots(64)
    write(slots, "mine", 7)
    process = multiprocessing.get_context("spawn").Process(target=_add, args=(slots, ["theirs"], 9))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert (read(slots, "mine"), read(slots, "theirs"), read(slots, "nobody's")) == (7, 9, 0)


def test_a_budget_is_shared_by_processes() -> None:
    """Four processes one after the other have one budget of 100, not four."""
    context = multiprocessing.get_context("spawn")
    slots, granted = SharedSlots(64), context.Queue()
    for _ in range(4):
        process = context.Process(target=_spend, args=(slots, 40, granted))
        process.start()
        process.join(60)
    assert [granted.get(timeout=60) for _ in range(4)] == [40, 40, 20, 0]


def test_processes_at_once_lose_little_and_invent_nothing() -> None:
    """Without a lock two may count once; each key stays itself, and nobody is refused before the budget is spent."""
    context = multiprocessing.get_context("spawn")
    slots, granted = SharedSlots(64), context.Queue()
    processes = [context.Process(target=_spend, args=(slots, 100, granted)) for _ in range(3)]
    for process in processes:
        process.start()
    total = sum(granted.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(60)
    assert 100 <= total <= 300


def test_the_least_number_gives_way() -> None:
    """When more keys come than there are places, those with most to lose stay."""
    slots = SharedSlots(4)
    for number in range(1, 5):
        write(slots, f"key {number}", 100 * number)
    write(slots, "another", 50)
    assert [read(slots, f"key {number}") for number in range(1, 5)] == [0, 200, 300, 400]
    assert read(slots, "another") == 50


@given(st.dictionaries(st.text(max_size=20), st.integers(1, 2**44 - 1), max_size=300))
def test_no_key_has_the_number_of_another(numbers: dict[str, int]) -> None:
    """What is found is what was written for that key, or nothing."""
    slots = SharedSlots(256)
    for key, value in numbers.items():
        write(slots, key, value)
    for key, value in numbers.items():
        assert read(slots, key) in {0, value}


def test_a_flood_of_keys_frees_nobody_who_spent_his_budget() -> None:
    """100,000 addresses that come once: who has nothing left still has nothing left, and memory is what it was."""
    now = 5 * SECOND
    budgets = Budgets(SharedSlots(1 << 12), clock=lambda: now)
    rate = Rate(10, 60)
    spent = [f"spent {number}" for number in range(20)]
    for key in spent:
        assert sum(not budgets.take(key, rate) for _ in range(20)) == 10
    numbers = random.Random(6)
    for _ in range(100_000):
        budgets.take(f"flood {numbers.random()}", rate)
    assert all(budgets.take(key, rate) for key in spent)


@given(st.integers(1, 500), st.sampled_from([1, 60, 3600]), st.lists(st.integers(0, 10**10), max_size=60))
def test_a_budget_against_a_bucket(requests: int, seconds: int, pauses: list[int]) -> None:
    """Held against a bucket that fills evenly, counted in fractions: granted by one is granted by the other."""
    now = 0
    budgets = Budgets(SharedSlots(16), clock=lambda: now)
    step = seconds * UNITS // requests
    level, last = 0, 0  # what is spent, in units
    for pause in pauses:
        now += pause
        at = now * UNITS // SECOND
        level = max(0, level - (at - last))
        last = at
        wait = budgets.take("key", Rate(requests, seconds))
        if level + step <= seconds * UNITS:
            level += step
            assert wait == 0.0
        else:
            assert wait == (level + step - seconds * UNITS) / UNITS


def test_a_budget_comes_back_evenly() -> None:
    """60 a minute: 60 at once, then one a second; whoever waits as long as he is told is let in."""
    now = 0
    budgets = Budgets(SharedSlots(16), clock=lambda: now)
    rate = Rate(60, 60)
    assert [budgets.take("key", rate) for _ in range(61)] == [0.0] * 60 + [1.0]
    now += SECOND - SECOND // UNITS
    assert budgets.take("key", rate) > 0
    now += SECOND // UNITS
    assert [budgets.take("key", rate) for _ in range(2)] == [0.0, 1.0]
    now += 60 * SECOND
    assert [budgets.take("key", rate) for _ in range(61)] == [0.0] * 60 + [1.0]


def test_a_smaller_rate_after_a_reload_holds_nobody_for_long() -> None:
    """A day's budget that was spent does not bar anybody for a day from one of a minute."""
    budgets = Budgets(SharedSlots(16), clock=lambda: 0)
    assert not any(budgets.take("key", Rate(3, 86_400)) for _ in range(3))
    assert budgets.take("key", Rate(60, 60)) == 1.0
