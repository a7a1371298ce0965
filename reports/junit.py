"""junit.xml: a suite per family, a case per candidate and condition, the figures as properties.

Elements and attributes are those of the schema that Jenkins' xunit plugin checks, but for the properties of a case,
which its schema knows of suites alone: they are where pytest writes them and other viewers look for them.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from itertools import groupby

from clip_robustness.reports.svg import NOT_IN_XML
from clip_robustness.results.headline import candidates, headline
from clip_robustness.results.result import Result, properties
from clip_robustness.results.results import Results


def render(results: Results) -> str:
    root, head = ET.Element("testsuites", name=f"robustness {results.suite}"), headline(results)
    said = {"gate": head.state, "gate_sentence": head.text, "warning": " ".join(results.warnings)}
    for family, group in groupby(candidates(results.cells), key=lambda cell: cell.family):
        suite = ET.SubElement(root, "testsuite", name=family)
        if started := results.environment.get("started"):
            suite.set("timestamp", str(started))
        _properties(suite, [(name, text) for name, text in said.items() if text])
        for cell in group:
            _case(suite, cell)
        suite.set("skipped", str(sum(case.find("skipped") is not None for case in suite)))
        _count(suite)
    if results.unfinished:  # no cases, or skipped ones alone, would be green
        suite = ET.SubElement(root, "testsuite", name="run")
        case = ET.SubElement(suite, "testcase", classname="run", name="came to its end", time="0")
        _outcome(case, "error", "error", results.unfinished)
        suite.set("skipped", "0")
        _count(suite)
    _count(root)
    ET.indent(root)
    return NOT_IN_XML.sub("\ufffd", ET.tostring(root, encoding="unicode", xml_declaration=True)) + "\n"


def _case(suite: ET.Element, cell: Result) -> None:
    case = ET.SubElement(
        suite, "testcase", classname=f"{cell.family}.{cell.model}", name=cell.label, time=f"{cell.seconds:.3f}"
    )
    _properties(case, properties(cell))
    if cell.fails:
        _outcome(case, "error" if cell.verdict == "error" else "failure", cell.verdict, cell.reason)
    elif cell.verdict != "pass":  # a viewer must not show as passed what no limit was shown to hold in
        _outcome(case, "skipped", cell.verdict, f"{cell.verdict}: {cell.reason}")


def _properties(element: ET.Element, named: Iterable[tuple[str, object]]) -> None:
    found = ET.SubElement(element, "properties")
    for name, value in named:
        ET.SubElement(found, "property", name=name, value=str(value))


def _outcome(case: ET.Element, tag: str, kind: str, sentence: str) -> None:
    """Some viewers show the attribute, some the text."""
    ET.SubElement(case, tag, type=kind, message=sentence).text = sentence


def _count(element: ET.Element) -> None:
    cases = list(element.iter("testcase"))
    element.set("tests", str(len(cases)))
    for attribute, tag in {"failures": "failure", "errors": "error"}.items():
        element.set(attribute, str(sum(case.find(tag) is not None for case in cases)))
    element.set("time", f"{sum(float(case.get('time', 0)) for case in cases):.3f}")
