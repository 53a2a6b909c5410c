"""Rows as a JUnit report, as CI systems read it: a test case for each check."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from gateway.checking.row import Outcome
from gateway.cli.output import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.checking.row import Row


def junit_report(suite: str, rows: Sequence[Row], began: float) -> str:
    """The document; `began` in seconds. A warning is a test that passed and says something."""
    counts = Counter(row.outcome for row in rows)
    totals = {
        "name": suite,
        "tests": str(len(rows)),
        "failures": str(counts[Outcome.FAILED]),
        "errors": "0",
        "time": f"{sum(row.seconds for row in rows):.3f}",
    }
    # Jenkins' schema has no `skipped` at the outermost element, and a time without a zone.
    root = ET.Element("testsuites", totals)
    moment = datetime.fromtimestamp(began, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    skipped = str(counts[Outcome.NOT_PERFORMED])
    cases = ET.SubElement(root, "testsuite", {**totals, "skipped": skipped, "timestamp": moment})
    for row in rows:
        attributes = {"classname": suite, "name": row.name, "time": f"{row.seconds:.3f}"}
        case = ET.SubElement(cases, "testcase", {name: printable(value) for name, value in attributes.items()})
        told = printable(f"expected {row.expected}; found {row.found}{f'; {row.hint}' if row.hint else ''}")
        if row.outcome is Outcome.FAILED:
            ET.SubElement(case, "failure", {"message": printable(row.found), "type": "failed"}).text = told
        elif row.outcome is Outcome.NOT_PERFORMED:
            ET.SubElement(case, "skipped", {"message": told})
        elif row.outcome is Outcome.WARNING:
            ET.SubElement(case, "system-out").text = f"warning: {told}"
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"
