"""Figures that are kept from run to run."""

from dataclasses import replace

import matplotlib
import pytest

from clip_robustness.cache import VARIABLE, cache_folder
from clip_robustness.reports import figures
from tests.reports.test_reports import everything


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Counts how often figures are drawn."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    calls, draw = [], figures._drawn
    monkeypatch.setattr(figures, "_drawn", lambda results: (calls.append(1), draw(results))[1])
    return calls


def changed(results, **changes):
    return replace(results, cells=[replace(results.cells[0], **changes), *results.cells[1:]])


def test_figures_of_the_same_cells_are_drawn_once(drawn):
    results = everything()
    plots = figures.plots(results)
    again = figures.plots(replace(changed(results, seconds=9.0), environment={"seconds": 2}))
    assert (again, len(drawn)) == (plots, 1)
    assert all(panel.svg.__html__() == panel.svg for plot in again for panel in plot.panels), "else it is escaped"


def test_what_is_not_the_same_or_damaged_is_drawn_anew(drawn, monkeypatch):
    results = everything()
    figures.plots(results)
    assert figures.plots(changed(results, accuracy=0.1)) != figures.plots(results)
    assert len(drawn) == 2
    for file in (cache_folder() / "figures").iterdir():
        file.write_bytes(file.read_bytes()[:-9])
    figures.plots(results)
    assert len(drawn) == 3
    monkeypatch.setattr("clip_robustness.reports.figures.kept.sources", lambda: "other code")
    figures.plots(results)
    assert len(drawn) == 4


def test_a_matplotlibrc_changes_no_figure():
    plain = figures._drawn(everything())
    with matplotlib.rc_context({"axes.titlesize": 40, "xtick.direction": "in", "legend.fontsize": 30}):
        assert figures._drawn(everything()) == plain
