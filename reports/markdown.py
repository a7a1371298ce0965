"""summary.md: a run for the step summary of a CI job: the verdict, what fails, the table; under 60 kB."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from clip_robustness.errors import one_line
from clip_robustness.reports.table import (
    HEADINGS,
    claims,
    columns,
    described,
    guards,
    known,
    model_warnings,
    regressions,
    spared,
    summaries,
    warnings,
)
from clip_robustness.results.headline import candidates, failing, headline
from clip_robustness.results.result import Result
from clip_robustness.results.results import Results

_MARKS = re.compile(r"[\\`*~|$]|(?<=\])[(\[:]|(?<!\w)_|_(?!\w)|:(?=//)|(?<=www)\.", re.IGNORECASE)
"""What makes a link, a picture, code, a formula or another column; brackets of intervals and names stay readable."""
LIMIT = 59_000
"""Bytes, with some room below what a step summary should have."""
SIGN = {"holds": "✅", "fails": "❌", "undecided": "⚠️"}
"""With a colour of their own: a step summary has no others."""


def render(results: Results) -> str:
    """What does not fit is left out, the least urgent first, and counted."""
    shown, head = candidates(results.cells), headline(results)
    failed = failing(shown)
    title = f"## Robustness, suite {escaped(results.suite)}: {SIGN[head.state]} {head.state}"
    said = f"**{head.sentence}**; {escaped(head.counts)}." if shown else f"**{head.sentence}**."
    lines = [title, "", said, ""]
    lines += [line for said in known(results.calibration) for line in (escaped(said), "")]
    lines += [line for warning in results.warnings for line in (f"**Warning**: {escaped(warning)}", "")]
    if results.partial:
        lines += [f"**Partial**: {escaped(results.partial)}", ""]
    rest = [cell for cell in shown if cell.verdict not in ("pass", "not gated") and cell not in failed]
    rows = [row(columns(cell)) for cell in (*failed, *(cell for cell in shown if cell not in failed))]
    notes = [
        *map(reason, rest),
        *(
            f"- {escaped(line)}"
            for line in (
                *spared(shown),
                *regressions(shown),
                *summaries(results.summaries),
                *claims(results.claims),
                *guards(results.guards),
            )
        ),
        *(
            f"- **warning** {escaped(warning)}"
            for warning in (*model_warnings(results.models), *warnings(results.cells))
        ),
        *(f"- {escaped(str(model['role']))} {escaped(described(model))}" for model in results.models),
    ]
    reasons = [*map(reason, failed)]
    lines += [row(HEADINGS), row(["---"] * len(HEADINGS))]
    parts = {"rows": rows, "reasons": reasons, "notes": notes}
    room = LIMIT - size(lines)
    all_fit = sum(map(size, parts.values())) <= room - 1000
    for what, part in parts.items():
        kept = part if all_fit else fitting(part, room // 2)
        room -= size(kept)
        lines += kept
        if left := len(part) - len(kept):
            lines += [
                "",
                f"*{left} more {what} are left out here; report.html and cells.csv beside this file have all.*",
            ]
        lines.append("")
    return "\n".join([*lines, "The whole report is `report.html` beside this file.", ""])


def fitting(lines: Sequence[str], room: int) -> list[str]:
    kept: list[str] = []
    for line in lines:
        room -= size([line])
        if room < 0:
            break
        kept.append(line)
    return kept


def size(lines: Sequence[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)


def row(texts: Sequence[str]) -> str:
    return f"| {' | '.join(escaped(text) for text in texts)} |"


def reason(cell: Result) -> str:
    """Of its verdict, an item of a list."""
    return f"- **{escaped(cell.verdict)}** {escaped(f'{cell.model}, {cell.label}: {cell.reason}')}"


def escaped(text: str) -> str:
    """Model and file names are not ours: no HTML, links, pictures or marks, no table breaks, no endless sentence."""
    text = one_line(text if len(text) <= 1000 else f"{text[:1000]}…")
    return _MARKS.sub(lambda found: f"\\{found[0]}", html.escape(text, quote=False))
