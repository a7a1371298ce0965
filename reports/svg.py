"""Matplotlib as inline SVG: text as text, colours as CSS variables of the page, so that they follow light and dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from markupsafe import Markup
from pydantic import PlainSerializer, PlainValidator

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, SOFT, LINE, PAPER, BAD, GOOD = (f"#0101{i:02x}" for i in range(6))
SERIES = tuple(f"#0102{i:02x}" for i in range(8))
"""Of candidates; baselines are grey."""
BASELINE = "#010300"
_VARIABLES = dict(
    zip((INK, SOFT, LINE, PAPER, BAD, GOOD), ("ink", "soft", "line", "paper", "bad", "good"), strict=True)
)
_VARIABLES |= {colour: f"s{i}" for i, colour in enumerate(SERIES)} | {BASELINE: "baseline"}
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "robustness",
    "text.parse_math": False,  # a model may be called $x$
    "font.family": "sans-serif",
    "font.size": 8,
    "figure.titlesize": 8.5,
    "figure.titleweight": "bold",
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "grid.color": LINE,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
}
_LARGEST = 1.4 * 4 / 3
"""Pixels of the page a point: a figure fills its column, and no letter gets larger than the text around it."""
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Panel:
    """A plot as inline SVG; `alt` says in words what it shows."""

    svg: Annotated[Markup, PlainValidator(Markup), PlainSerializer(str)]
    alt: str
    tallness: float
    """Its height over its width."""


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib is imported here, and not before a figure is drawn; a matplotlibrc of the user's changes none."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)  # type: ignore[arg-type]
        yield


def plain(text: str, most: int = 40) -> str:
    """What may stand in an SVG, cut to `most` characters in the middle: both ends of a model's name tell."""
    text = NOT_IN_XML.sub("\ufffd", text)
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - half]}…{text[-half:]}"


def panel(draw: Callable[[Axes], None], alt: str, key: str, size: tuple[float, float] = (3.3, 2.4)) -> Panel:
    """Draw on axes of this size in inches. `key` keeps ids apart that stand in one page."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    draw(axes)
    file = io.StringIO()
    # `savefig` would draw twice, once for the layout, which drawing does anyway
    FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    width, height = figure.get_size_inches()
    return Panel(Markup(_inlined(file.getvalue(), alt, key)), alt, height / width)  # matplotlib has escaped all texts


def _inlined(svg: str, alt: str, key: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: f' id="{key}-{found[1]}"' if found[1] in used else "", svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{key}-", svg)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg).replace("xlink:href", "href")
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    opening = re.search(r'viewBox="([^"]*)"', svg)
    assert opening is not None
    width = float(opening[1].split()[2])
    label = Markup.escape(NOT_IN_XML.sub("\ufffd", alt))
    head = f'<svg role="img" aria-label="{label}" viewBox="{opening[1]}" style="max-width: {width * _LARGEST:.0f}px">'
    return re.sub(r"\n\s*", "\n", head + svg[svg.index(">") + 1 :])
