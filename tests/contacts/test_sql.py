"""The statements are written for two engines at once."""

from __future__ import annotations

import re

import pytest

from gateway.contacts import sql

STATEMENTS = {
    name: text for name, text in vars(sql).items() if name[0].isalpha() and name.isupper() and isinstance(text, str)
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_parameters_first_occur_in_their_order(name: str) -> None:
    """SQLite numbers `$n` by first occurrence, PostgreSQL by its number: only in this order do both agree."""
    seen = list(dict.fromkeys(int(number) for number in re.findall(r"\$(\d+)", STATEMENTS[name])))
    assert seen == list(range(1, len(seen) + 1))


def test_the_statements_were_found() -> None:
    """The test above looks at all of them."""
    assert {"FIND", "INSERT", "UPDATE", "MERGE", "RECORD"} <= STATEMENTS.keys()
