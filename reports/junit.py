"""junit.xml: a suite per family, a case per candidate and condition, the figures as properties."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import groupby

from metrics.results import Cell, Results, properties
from reports.table import candidates

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(results: Results) -> str:
    root = ET.Element("testsuites", name=f"robustness {results.suite}")
    for family, group in groupby(candidates(results.cells), key=lambda cell: cell.family):
        cells = list(group)
        suite = ET.SubElement(root, "testsuite", name=family)
        for cell in cells:
            _case(suite, cell)
        _count(suite)
    _count(root)
    ET.indent(root)
    return _NOT_IN_XML.sub("\ufffd", ET.tostring(root, encoding="unicode", xml_declaration=True)) + "\n"


def _case(suite: ET.Element, cell: Cell) -> None:
    case = ET.SubElement(
        suite, "testcase", classname=f"{cell.family}.{cell.model}", name=cell.label, time=f"{cell.seconds:.3f}"
    )
    found = ET.SubElement(case, "properties")
    for name, value in properties(cell):
        ET.SubElement(found, "property", name=name, value=str(value))
    if cell.verdict in ("fail", "improved"):
        ET.SubElement(case, "failure", message=cell.reason)
    elif cell.verdict == "error":
        ET.SubElement(case, "error", message=cell.reason)
    elif cell.verdict in ("not run", "known weakness"):
        ET.SubElement(case, "skipped", message=f"{cell.verdict}: {cell.reason}")


def _count(element: ET.Element) -> None:
    cases = list(element.iter("testcase"))
    kinds = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    element.set("tests", str(len(cases)))
    for attribute, tag in kinds.items():
        element.set(attribute, str(sum(case.find(tag) is not None for case in cases)))
    element.set("time", f"{sum(float(case.get('time', 0)) for case in cases):.3f}")
