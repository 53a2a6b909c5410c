"""The statements are written for two engines at once."""

from __future__ import annotations

import importlib
import pkgutil
import re

import pytest

from gateway.contacts import database

STATEMENTS = {
    f"{module.name}.{name}": text
    for module in pkgutil.iter_modules(database.__path__)
    for name, text in vars(importlib.import_module(f"{database.__name__}.{module.name}")).items()
    if name.isupper() and isinstance(text, str) and re.match(r"SELECT|INSERT|UPDATE|DELETE|WITH", text)
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_parameters_first_occur_in_their_order(name: str) -> None:
    """SQLite numbers `$n` by first occurrence, PostgreSQL by its number: only in this order do both agree."""
    seen = list(dict.fromkeys(int(number) for number in re.findall(r"\$(\d+)", STATEMENTS[name])))
    assert seen == list(range(1, len(seen) + 1))


def test_the_statements_were_found() -> None:
    """The test above looks at all of them."""
    known = {"statements.FIND", "statements.INSERT", "statements.UPDATE", "merges.KEEP_MERGE", "mentions.RECORD"}
    assert known <= STATEMENTS.keys()
