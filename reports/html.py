"""report.html: one self-contained file; everything that comes from outside is escaped."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from metrics.results import Results
from reports.table import candidates, guards, interval, others, regressions, share, summaries, warnings

_VERDICT_ORDER = ("fail", "error", "improved", "known weakness", "inconclusive", "not run", "not gated", "pass")


def render(results: Results) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"share": share, "interval": interval, "others": others}
    shown = candidates(results.cells)
    counts = {verdict: sum(cell.verdict == verdict for cell in shown) for verdict in _VERDICT_ORDER}
    return environment.get_template("report.html.j2").render(
        results=results,
        candidates=shown,
        baselines=[cell for cell in results.cells if cell.role == "supervised"],
        counts={verdict: count for verdict, count in counts.items() if count},
        explained=[cell for cell in shown if cell.verdict not in ("pass", "not gated")],
        measured=sum(cell.accuracy is not None for cell in shown),
        failed=counts["fail"] + counts["error"] + counts["improved"],
        guards=guards(results.guards),
        regressions=regressions(results.cells),
        warnings=warnings(results.cells),
        summaries=summaries(results.summaries),
        unreadable=sorted({name for cell in results.cells for name in cell.unreadable}),
    )
