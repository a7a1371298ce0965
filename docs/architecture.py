"""Draws docs/architecture.svg: which package imports which, in the order of the layers of pyproject.toml.

`python docs/architecture.py` (`make architecture`) writes it, `--check` exits with 1 where it is stale.
"""

from __future__ import annotations

import sys
import tomllib
from collections import Counter
from itertools import pairwise
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
PICTURE = Path(__file__).with_suffix(".svg")
PACKAGE = "clip_robustness"
WIDTHS = {1: 1.2, 4: 3.0, 16: 6.0}
"""From so many imports on, so thick an arrow: exact numbers would make the picture stale with every commit."""
WIDTH, LEFT, RIGHT, PORT = 900, 20, 200, 6
ARROW, UP = "#6f87ad", "#d1495b"  # of a lightness that stands out on white and on black

Imports = Counter[tuple[str, str]]


def layers() -> list[list[str]]:
    """The packages of each layer of the contract, the upper first."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (contract,) = config["tool"]["importlinter"]["contracts"]
    return [layer.split(" | ") for layer in contract["layers"]]


def imports(graph: grimp.ImportGraph, names: set[str]) -> Imports:
    """(importing, imported) package -> number of imports between their modules."""
    found: Imports = Counter()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            pair = _package(module), _package(imported)
            if pair[0] != pair[1] and names.issuperset(pair):
                found[pair] += 1
    return found


def _package(module: str) -> str:
    return module.removeprefix(f"{PACKAGE}.").partition(".")[0]


def drawn() -> str:
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    packages = [[name for name in layer if graph.find_children(f"{PACKAGE}.{name}")] for layer in layers()]
    packages = [layer for layer in packages if layer]
    order = [name for layer in packages for name in layer]
    everybodys = [name for layer in layers() for name in layer if name not in order]
    found = imports(graph, set(order))

    top: dict[str, float] = {}
    bottom: dict[str, float] = {}
    y = 20.0
    for layer in packages:
        for name in layer:
            top[name], y = y, y + max(28, PORT * (sum(name in pair for pair in found) + 1))
            bottom[name], y = y, y + 4
        y += 12
    ports = _ports(found, order, top, bottom)
    parts = [_arrow(pair, count, ports[pair], order) for pair, count in sorted(found.items())]
    parts += [_box(name, top[name], bottom[name]) for name in order]
    parts.append(_box(f"{', '.join(everybodys)}: imported from everywhere", y, y + 30, WIDTH - LEFT))
    parts += _legend()
    return _svg(parts, y + 50)


def _ports(
    found: Imports, order: list[str], top: dict[str, float], bottom: dict[str, float]
) -> dict[tuple[str, str], tuple[float, float]]:
    """Where on the right of the boxes an arrow starts and ends: at a box those from above come before those that leave
    it, the longest outside, so that none cross there."""
    start, end = dict[tuple[str, str], float](), dict[tuple[str, str], float]()
    place = order.index
    for name in order:
        into = sorted((p for p in found if p[1] == name), key=lambda p: place(p[0]), reverse=True)
        out = sorted((p for p in found if p[0] == name), key=lambda p: place(p[1]), reverse=True)
        gap = (bottom[name] - top[name]) / (len(into) + len(out) + 1)
        for number, pair in enumerate([*into, *out], 1):
            (end if pair[1] == name else start)[pair] = top[name] + number * gap
    return {pair: (start[pair], end[pair]) for pair in found}


def _arrow(pair: tuple[str, str], count: int, port: tuple[float, float], order: list[str]) -> str:
    begin, end = port
    reach = RIGHT + 25 + 0.85 * abs(end - begin) ** 0.97
    colour = UP if order.index(pair[0]) > order.index(pair[1]) else ARROW
    width = next(width for least, width in reversed(WIDTHS.items()) if count >= least)
    tip = 4 + width
    return (
        f'<path d="M{RIGHT} {begin:.0f}C{reach:.0f} {begin:.0f} {reach:.0f} {end:.0f} {RIGHT + tip:.0f} {end:.0f}" '
        f'stroke="{colour}" stroke-width="{width}"><title>{pair[0]} imports {pair[1]}</title></path>'
        f'<path d="M{RIGHT} {end:.0f}l{tip:.0f} {-tip / 2:.1f}v{tip:.1f}z" fill="{colour}"/>'
    )


def _box(name: str, top: float, bottom: float, right: float = RIGHT) -> str:
    middle = (top + bottom) / 2 + 5
    return (
        f'<rect x="{LEFT}" y="{top:.0f}" width="{right - LEFT}" height="{bottom - top:.0f}" rx="5" fill="#26466d"/>'
        f'<text x="{(LEFT + right) / 2:.0f}" y="{middle:.0f}" fill="#fff">{name}</text>'
    )


def _legend() -> list[str]:
    lines = []
    ends = [*(f"{low} to {high - 1} imports" for low, high in pairwise(WIDTHS)), f"{max(WIDTHS)} or more"]
    for row, (width, text) in enumerate(zip(WIDTHS.values(), ends, strict=True)):
        y = 40 + 24 * row
        lines.append(f'<path d="M{WIDTH - 230} {y}h50" stroke="{ARROW}" stroke-width="{width}"/>')
        lines.append(f'<text x="{WIDTH - 165}" y="{y + 5}" fill="#808a98" text-anchor="start">{text}</text>')
    return lines


def _svg(parts: list[str], height: float) -> str:
    style = 'fill="none" font-family="system-ui, sans-serif" font-size="16" text-anchor="middle"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" {style}>'
    return "\n".join([head, *parts, "</svg>", ""])


def main(arguments: list[str]) -> int:
    picture = drawn()
    if arguments == ["--check"]:
        stale = not PICTURE.is_file() or PICTURE.read_text() != picture
        found = "stale: make architecture draws it anew" if stale else "as the imports are"
        print(f"{PICTURE.relative_to(ROOT)} is {found}")
        return int(stale)
    PICTURE.write_text(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
