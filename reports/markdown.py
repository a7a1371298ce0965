"""summary.md: the run in a table, for the step summary of a CI job."""

from __future__ import annotations

import html

from metrics.results import Results
from reports.table import HEADINGS, candidates, columns, guards, regressions, spared, summaries, warnings


def render(results: Results) -> str:
    shown = candidates(results.cells)
    counts: dict[str, int] = {}
    for cell in shown:
        counts[cell.verdict] = counts.get(cell.verdict, 0) + 1
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    lines = [f"## Robustness, suite {_escaped(results.suite)}: {verdicts}", ""]
    lines += [_row(HEADINGS), _row(["---"] * len(HEADINGS)), *(_row(columns(cell)) for cell in shown), ""]
    for cell in shown:
        if cell.verdict not in ("pass", "not gated"):
            lines.append(f"- **{cell.verdict}** {_escaped(f'{cell.model}, {cell.label}: {cell.reason}')}")
    lines += [f"- {_escaped(line)}" for line in (*spared(results.cells), *regressions(results.cells))]
    lines += [f"- {_escaped(summary)}" for summary in summaries(results.summaries)]
    lines += [f"- {_escaped(line)}" for line in guards(results.guards)]
    lines += [f"- **warning** {_escaped(warning)}" for warning in warnings(results.cells)]
    return "\n".join([*lines, ""])


def _row(texts: tuple[str, ...] | list[str]) -> str:
    return f"| {' | '.join(_escaped(text) for text in texts)} |"


def _escaped(text: str) -> str:
    """Model and file names are not ours: no HTML, no table breaks."""
    return html.escape(text, quote=False).replace("|", "\\|").replace("\n", " ")
