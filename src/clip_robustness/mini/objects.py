"""What the objects of the drawn world look like: one function per class, in unit coordinates.

An object is a list of parts, painted in order. The square [-1, 1] x [-1, 1] is the object's frame, y points down.
Every function draws its own proportions from a random generator, so that no two objects of a class are alike.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from clip_robustness.mini.parts import DARK, LIGHT, MAIN, SECOND, Part, arc, arc_points, box, line, oval, poly, turned

Rng = np.random.Generator


def _airplane(r: Rng) -> list[Part]:
    body, sweep, span = r.uniform(0.13, 0.2), r.uniform(0.2, 0.5), r.uniform(0.7, 0.95)
    return [
        poly(SECOND, (0.15, 0), (0.15 - sweep, -span), (-0.15 - sweep, -span), (-0.25, 0)),
        poly(SECOND, (0.15, 0), (0.15 - sweep, span), (-0.15 - sweep, span), (-0.25, 0)),
        poly(SECOND, (-0.65, 0), (-0.95, -0.35), (-0.8, -0.35), (-0.5, 0), (-0.8, 0.35), (-0.95, 0.35)),
        oval(MAIN, 0, 0, 0.95, body),
        oval(DARK, 0.7, 0, 0.1, body * 0.5),
    ]


def _anchor(r: Rng) -> list[Part]:
    width, arm = r.uniform(0.11, 0.17), r.uniform(0.55, 0.75)
    return [
        arc(MAIN, width, 0, -0.75, 0.16, 0.16),
        line(MAIN, width, (0, -0.6), (0, 0.85)),
        line(MAIN, width, (-0.35, -0.35), (0.35, -0.35)),
        arc(MAIN, width, 0, 0.2, arm, 0.65, 0.02, 0.48),
        poly(MAIN, (arm, 0.0), (arm + 0.2, 0.4), (arm - 0.25, 0.35)),
        poly(MAIN, (-arm, 0.0), (-arm - 0.2, 0.4), (-arm + 0.25, 0.35)),
    ]


def _apple(r: Rng) -> list[Part]:
    width, height = r.uniform(0.42, 0.5), r.uniform(0.62, 0.75)
    return [
        oval(MAIN, -0.28, 0.15, width, height),
        oval(MAIN, 0.28, 0.15, width, height),
        oval(LIGHT, -0.4, -0.1, 0.1, 0.17),
        line(DARK, 0.1, (0, -0.4), (r.uniform(-0.1, 0.15), -0.9)),
        turned(oval(SECOND, 0.28, -0.75, 0.27, 0.12), r.uniform(0, 0.1), 0.05, -0.7),
    ]


def _banana(r: Rng) -> list[Part]:
    depth = r.uniform(0.25, 0.5)
    outer = arc_points(0, -0.5, 0.95, 1.2, 0.02, 0.48)
    inner = arc_points(0, -0.5, 0.85, 1.2 - depth, 0.48, 0.02)
    return [
        Part(np.concatenate([outer, inner]), MAIN),
        line(DARK, 0.12, (0.9, -0.4), (0.98, -0.62)),
        line(DARK, 0.1, (-0.92, -0.42), (-0.95, -0.5)),
    ]


def _bicycle(r: Rng) -> list[Part]:
    wheel, width = r.uniform(0.36, 0.45), r.uniform(0.07, 0.11)
    return [
        arc(DARK, width, -0.55, 0.35, wheel, wheel),
        arc(DARK, width, 0.55, 0.35, wheel, wheel),
        line(MAIN, width, (-0.55, 0.35), (-0.2, -0.3), (0.38, -0.3), (0.0, 0.35), (-0.55, 0.35)),
        line(MAIN, width, (-0.2, -0.3), (0.0, 0.35)),
        line(MAIN, width, (0.55, 0.35), (0.32, -0.6), (r.uniform(0.5, 0.6), -0.65)),
        line(DARK, width * 1.3, (-0.38, -0.48), (-0.08, -0.48)),
        line(MAIN, width, (-0.2, -0.3), (-0.24, -0.48)),
    ]


def _book(r: Rng) -> list[Part]:
    lift, rows = r.uniform(0.1, 0.25), int(r.integers(2, 5))
    parts = [
        poly(MAIN, (-0.98, -0.5), (0, -0.5 + lift), (0.98, -0.5), (0.98, 0.65), (0, 0.65 + lift), (-0.98, 0.65)),
        poly(LIGHT, (-0.88, -0.6), (0, -0.55 + lift), (0, 0.5 + lift), (-0.88, 0.5)),
        poly(LIGHT, (0.88, -0.6), (0, -0.55 + lift), (0, 0.5 + lift), (0.88, 0.5)),
        line(DARK, 0.06, (0, -0.55 + lift), (0, 0.5 + lift)),
    ]
    for y in np.linspace(-0.3, 0.25, rows):
        parts += [line(DARK, 0.05, (s * 0.75, y), (s * 0.18, y + lift)) for s in (-1, 1)]
    return parts


def _bottle(r: Rng) -> list[Part]:
    body, neck, shoulder = r.uniform(0.3, 0.42), r.uniform(0.1, 0.16), r.uniform(-0.35, -0.1)
    return [
        poly(
            MAIN, (-neck, -0.85), (neck, -0.85), (neck, shoulder - 0.25), (body, shoulder), (body, 0.95),
            (-body, 0.95), (-body, shoulder), (-neck, shoulder - 0.25),
        ),
        box(DARK, -neck - 0.04, -1, neck + 0.04, -0.82),
        box(LIGHT, -body, 0.15, body, r.uniform(0.5, 0.7)),
    ]  # fmt: skip


def _butterfly(r: Rng) -> list[Part]:
    upper, lower = r.uniform(0.42, 0.5), r.uniform(0.28, 0.38)
    parts = []
    for side in (-1, 1):
        parts += [
            turned(oval(MAIN, side * 0.5, -0.35, upper, 0.36), side * 0.08, side * 0.5, -0.35),
            turned(oval(SECOND, side * 0.42, 0.4, lower, 0.32), -side * 0.08, side * 0.42, 0.4),
            oval(LIGHT, side * 0.55, -0.4, 0.14, 0.14),
            line(DARK, 0.05, (0, -0.5), (side * 0.25, -0.95)),
        ]
    return [*parts, oval(DARK, 0, 0, 0.09, 0.6)]


def _car(r: Rng) -> list[Part]:
    roof, front = r.uniform(-0.6, -0.45), r.uniform(0.3, 0.55)
    parts = [
        poly(MAIN, (-0.6, -0.05), (-0.4, roof), (0.2, roof), (front, -0.05)),
        poly(LIGHT, (-0.45, -0.08), (-0.33, roof + 0.1), (-0.1, roof + 0.1), (-0.1, -0.08)),
        poly(LIGHT, (0, -0.08), (0, roof + 0.1), (0.16, roof + 0.1), (front - 0.12, -0.08)),
        poly(MAIN, (-0.98, -0.05), (0.85, -0.05), (0.98, 0.15), (0.98, 0.4), (-0.98, 0.4)),
    ]
    for x in (-0.55, 0.55):
        parts += [oval(DARK, x, 0.42, 0.24, 0.24), oval(LIGHT, x, 0.42, 0.1, 0.1)]
    return parts


def _chair(r: Rng) -> list[Part]:
    width, seat = r.uniform(0.09, 0.14), r.uniform(0.05, 0.2)
    return [
        line(MAIN, width, (-0.5, -0.95), (-0.5, 0.95)),
        line(MAIN, width, (0.45, seat), (0.5, 0.95)),
        line(MAIN, width, (-0.2, seat), (-0.15, 0.8)),
        line(MAIN, width, (-0.2, -0.95), (-0.2, seat)),
        poly(SECOND, (-0.55, seat - 0.1), (0.3, seat - 0.1), (0.55, seat + 0.1), (-0.5, seat + 0.1)),
        *(line(MAIN, width, (-0.5, y), (-0.2, y)) for y in np.linspace(-0.85, -0.3, int(r.integers(2, 4)))),
    ]


def _clock(r: Rng) -> list[Part]:
    minute, hour = r.uniform(0, 1, 2)
    parts = [oval(MAIN, 0, 0, 0.95, 0.95), oval(LIGHT, 0, 0, 0.75, 0.75)]
    parts += [turned(line(DARK, 0.08, (0.58, 0), (0.7, 0)), k / 12) for k in range(0, 12, int(r.choice([1, 3])))]
    return [
        *parts,
        turned(line(DARK, 0.09, (0, 0), (0.55, 0)), minute),
        turned(line(DARK, 0.11, (0, 0), (0.35, 0)), hour),
    ]


def _fish(r: Rng) -> list[Part]:
    height = r.uniform(0.36, 0.5)
    return [
        poly(SECOND, (-0.45, 0), (-0.98, -0.45), (-0.85, 0), (-0.98, 0.45)),
        poly(SECOND, (-0.1, -height + 0.1), (0.3, -height + 0.05), (0.0, -height - 0.3)),
        oval(MAIN, 0.2, 0, 0.72, height),
        oval(LIGHT, 0.62, -0.1, 0.11, 0.11),
        oval(DARK, 0.64, -0.1, 0.05, 0.05),
        arc(SECOND, 0.06, 0.25, 0, 0.15, height * 0.8, -0.2, 0.2),
    ]


def _flower(r: Rng) -> list[Part]:
    petals, length = int(r.integers(5, 9)), r.uniform(0.3, 0.38)
    start = r.uniform(0, 1)
    return [
        line(SECOND, 0.09, (0, -0.2), (r.uniform(-0.15, 0.15), 0.98)),
        turned(oval(SECOND, 0.28, 0.6, 0.27, 0.1), 0.05, 0, 0.6),
        *(
            turned(oval(MAIN, length, -0.35, length, 0.17), start + k / petals, 0, -0.35)
            for k in range(petals)
        ),
        oval(DARK, 0, -0.35, 0.18, 0.18),
    ]  # fmt: skip


def _hammer(r: Rng) -> list[Part]:
    handle, head = r.uniform(0.08, 0.13), r.uniform(0.16, 0.24)
    return [
        box(SECOND, -handle, -0.5, handle, 0.98),
        box(MAIN, -0.25, -0.6 - head, 0.55, -0.6 + head),
        poly(MAIN, (-0.25, -0.6 - head), (-0.25, -0.6 + head * 0.6), (-0.7, -0.55)),
    ]


def _house(r: Rng) -> list[Part]:
    eaves, door = r.uniform(-0.2, 0), r.uniform(-0.35, 0.1)
    return [
        box(MAIN, -0.7, eaves, 0.7, 0.9),
        poly(SECOND, (-0.95, eaves), (0, -0.95), (0.95, eaves)),
        box(DARK, door, 0.35, door + 0.28, 0.9),
        box(LIGHT, -0.58, eaves + 0.15, -0.32, eaves + 0.42),
        box(LIGHT, 0.32, eaves + 0.15, 0.58, eaves + 0.42),
    ]


def _key(r: Rng) -> list[Part]:
    width, bow = r.uniform(0.11, 0.16), r.uniform(0.25, 0.33)
    teeth = [line(MAIN, width, (x, 0), (x, r.uniform(0.25, 0.42))) for x in (0.6, 0.88)]
    return [arc(MAIN, width, -0.62, 0, bow, bow), line(MAIN, width, (-0.62 + bow, 0), (0.95, 0)), *teeth]


def _ladder(r: Rng) -> list[Part]:
    width, top, bottom = r.uniform(0.08, 0.12), r.uniform(0.25, 0.35), r.uniform(0.35, 0.5)
    parts = [line(MAIN, width, (s * top, -0.98), (s * bottom, 0.98)) for s in (-1, 1)]
    for y in np.linspace(-0.75, 0.75, int(r.integers(4, 7))):
        x = top + (bottom - top) * (y + 1) / 2
        parts.append(line(SECOND, width, (-x, y), (x, y)))
    return parts


def _lamp(r: Rng) -> list[Part]:
    top, bottom, shade = r.uniform(0.2, 0.35), r.uniform(0.5, 0.7), r.uniform(-0.2, 0)
    return [
        line(DARK, 0.1, (0, shade), (0, 0.85)),
        oval(DARK, 0, 0.88, r.uniform(0.3, 0.45), 0.1),
        poly(MAIN, (-top, -0.9), (top, -0.9), (bottom, shade), (-bottom, shade)),
    ]


def _mug(r: Rng) -> list[Part]:
    half, top = r.uniform(0.45, 0.55), r.uniform(-0.65, -0.45)
    return [
        arc(MAIN, 0.14, half, (top + 0.75) / 2, 0.35, 0.36, -0.25, 0.25),
        poly(MAIN, (-half, top), (half, top), (half * 0.9, 0.8), (-half * 0.9, 0.8)),
        oval(SECOND, 0, top, half, 0.15),
        line(LIGHT, 0.1, (-half * 0.95, 0.2), (half * 0.95, 0.2)),
    ]


def _mushroom(r: Rng) -> list[Part]:
    stem, cap = r.uniform(0.18, 0.28), r.uniform(0.75, 0.95)
    return [
        poly(LIGHT, (-stem, -0.1), (stem, -0.1), (stem * 1.3, 0.9), (-stem * 1.3, 0.9)),
        Part(arc_points(0, 0.0, cap, 0.85, 0.5, 1.0), MAIN),
        *(
            oval(LIGHT, x + r.uniform(-0.08, 0.08), y, 0.12, 0.1)
            for x, y in ((-0.45, -0.25), (0.0, -0.5), (0.42, -0.22))
        ),
    ]  # fmt: skip


def _sailboat(r: Rng) -> list[Part]:
    mast, lean = r.uniform(-0.1, 0.15), r.uniform(0.55, 0.75)
    return [
        line(DARK, 0.07, (mast, -0.95), (mast, 0.5)),
        poly(LIGHT, (mast + 0.06, -0.9), (mast + lean, 0.3), (mast + 0.06, 0.3)),
        poly(SECOND, (mast - 0.06, -0.7), (mast - lean * 0.8, 0.3), (mast - 0.06, 0.3)),
        poly(MAIN, (-0.95, 0.42), (0.95, 0.42), (0.6, 0.9), (-0.6, 0.9)),
    ]


def _scissors(r: Rng) -> list[Part]:
    spread, ring = r.uniform(0.22, 0.42), r.uniform(0.2, 0.26)
    parts = []
    for side in (-1, 1):
        parts += [
            poly(
                SECOND, (0.05 * side, 0.1), (-side * spread, -0.95), (-side * (spread - 0.2), -0.9), (side * 0.2, 0.15)
            ),
            line(MAIN, 0.1, (0, 0.05), (side * 0.3, 0.45)),
            arc(MAIN, 0.12, side * 0.4, 0.65, ring, ring * 1.2),
        ]
    return [*parts, oval(DARK, 0, 0.08, 0.07, 0.07)]


def _tree(r: Rng) -> list[Part]:
    trunk = box(DARK, -0.12, 0.3, 0.12, 0.98)
    if r.random() < 0.5:
        widths = r.uniform(0.45, 0.75, 3)
        tiers = [(0.5, widths.max()), (0.05, np.median(widths)), (-0.35, widths.min())]
        return [trunk, *(poly(MAIN, (-w, y), (w, y), (0, y - 0.65)) for y, w in tiers)]
    crowns = [(0.0, -0.5), (-0.4, -0.1), (0.4, -0.1), (0.0, 0.1)]
    return [trunk, *(oval(MAIN, x, y, r.uniform(0.35, 0.48), 0.4) for x, y in crowns)]


def _umbrella(r: Rng) -> list[Part]:
    span, ribs = r.uniform(0.8, 0.98), int(r.choice([3, 4, 5]))
    edge = np.linspace(-span, span, ribs + 1)
    canopy = arc_points(0, 0.0, span, r.uniform(0.7, 0.9), 0.5, 1.0)
    hook = arc(DARK, 0.09, 0.16, 0.75, 0.16, 0.18, 0, 0.5)
    scallops = [
        oval(SECOND if k % 2 else MAIN, (a + b) / 2, 0.0, (b - a) / 2, 0.1)
        for k, (a, b) in enumerate(itertools.pairwise(edge))
    ]
    return [line(DARK, 0.09, (0, -0.9), (0, 0.75)), hook, Part(canopy, MAIN), *scallops]


OBJECTS: dict[str, Callable[[Rng], list[Part]]] = {
    "airplane": _airplane,
    "anchor": _anchor,
    "apple": _apple,
    "banana": _banana,
    "bicycle": _bicycle,
    "book": _book,
    "bottle": _bottle,
    "butterfly": _butterfly,
    "car": _car,
    "chair": _chair,
    "clock": _clock,
    "fish": _fish,
    "flower": _flower,
    "hammer": _hammer,
    "house": _house,
    "key": _key,
    "ladder": _ladder,
    "lamp": _lamp,
    "mug": _mug,
    "mushroom": _mushroom,
    "sailboat": _sailboat,
    "scissors": _scissors,
    "tree": _tree,
    "umbrella": _umbrella,
}
"""Class name -> drawing function; the order is the class index of the `mini` models and data."""
