"""What the types of data attributes take, and what they may be called."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gateway.contacts.attributes import DataAttribute, DataType, Model, is_attribute_name, spelled_name

TAKES: dict[DataType, list[Any]] = {
    DataType.STRING: ["x", "5", "x" * 255, "\u00e9", " "],
    DataType.INTEGER: [0, -1, 2**63 - 1, -(2**63)],
    DataType.FLOAT: [0.5, -1e300],
    DataType.BOOLEAN: [True, False],
    DataType.DATE: [0, -62_135_596_800, 253_402_300_799],
    DataType.DATETIME: [0, -62_135_596_800, 253_402_300_799],
    DataType.OPTIONS: ["small", "large"],
}
REFUSES: dict[DataType, list[Any]] = {
    DataType.STRING: [5, True, 1.5, "", "x" * 256, "a\0", "\ud800", ["x"], {}],
    DataType.INTEGER: ["5", True, 1.5, 2**63, -(2**63) - 1, 1e30, math.inf, math.nan, []],
    DataType.FLOAT: ["0.5", True, math.inf, -math.inf, math.nan, 10**400, []],
    DataType.BOOLEAN: [0, 1, "true", [], 1.0],
    DataType.DATE: ["2026-11-25", True, 1.5, 253_402_300_800, -62_135_596_801, math.nan],
    DataType.DATETIME: ["1700000000", 1_700_000_000_000],
    DataType.OPTIONS: ["Small", "medium", "", 1, ["small"]],
}


def attribute(data_type: DataType) -> DataAttribute:
    """An attribute of a type."""
    options = ("small", "large") if data_type is DataType.OPTIONS else ()
    return DataAttribute(
        workspace_id="acme",
        id=1,
        model=Model.CONTACT,
        name="a",
        data_type=data_type,
        options=options,
        created_at=0,
        updated_at=0,
    )


@pytest.mark.parametrize(("data_type", "value"), [(kind, value) for kind, values in TAKES.items() for value in values])
def test_a_type_takes_its_values_as_they_are(data_type: DataType, value: Any) -> None:
    """The value itself comes back."""
    typed = attribute(data_type).typed(value)
    assert (typed, type(typed)) == (value, type(value))


@pytest.mark.parametrize(
    ("data_type", "value"), [(kind, value) for kind, values in REFUSES.items() for value in values]
)
def test_a_type_refuses_what_is_not_its_own(data_type: DataType, value: Any) -> None:
    """Nothing is converted by guessing: text is no number, 1 is not true."""
    with pytest.raises(ValueError, match=r"^must be "):
        attribute(data_type).typed(value)


@pytest.mark.parametrize(
    ("data_type", "value", "kept"),
    [(DataType.INTEGER, 5.0, 5), (DataType.FLOAT, 5, 5.0), (DataType.DATE, 1.7e9, 1_700_000_000)],
)
def test_one_number_has_one_spelling(data_type: DataType, value: Any, kept: Any) -> None:
    """To JSON 5 and 5.0 are one number; the declared type says which of them is kept."""
    typed = attribute(data_type).typed(value)
    assert (typed, type(typed)) == (kept, type(kept))


@pytest.mark.parametrize(
    "name", ["plan", "User ID", "user_id", "a-b", "price_\u20ac", "$", "Gr\u00f6\u00dfe", "x" * 255, "9"]
)
def test_a_name_that_can_be_declared(name: str) -> None:
    """Letters of any script, digits, `_`, `-`, currency signs, blanks within."""
    assert is_attribute_name(name)


@pytest.mark.parametrize(
    "name", ["", " a", "a ", "a.b", "a/b", 'a"b', "a\n", "a\0", "\u202ea", "e\u0301", "x" * 256, "\t"]
)
def test_a_name_that_cannot_be_declared(name: str) -> None:
    """What a path or a header would read otherwise, what nobody sees, what Unicode writes in two ways."""
    assert not is_attribute_name(name)


def test_a_name_as_the_messenger_spells_it() -> None:
    """One `_` for each character that no name holds."""
    assert spelled_name("a.b/c d-e$") == "a_b_c d-e$"
