"""The parts that objects of the drawn world are made of, in unit coordinates: polygons and strokes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAIN, SECOND, DARK, LIGHT = range(4)
"""The colour slots of a part; a style decides what colour each slot has."""


@dataclass(frozen=True)
class Part:
    """A filled polygon (`width` 0) or a stroke of that width, with points of shape (n, 2) in unit coordinates."""

    points: np.ndarray
    slot: int
    width: float = 0.0


def poly(slot: int, *points: tuple[float, float]) -> Part:
    return Part(np.array(points, float), slot)


def line(slot: int, width: float, *points: tuple[float, float]) -> Part:
    return Part(np.array(points, float), slot, width)


def arc_points(cx: float, cy: float, rx: float, ry: float, start: float, stop: float, n: int = 28) -> np.ndarray:
    """Points on an ellipse, angles in turns, clockwise on the screen from the right."""
    angles = np.linspace(start, stop, n) * 2 * np.pi
    return np.stack([cx + rx * np.cos(angles), cy + ry * np.sin(angles)], axis=1)


def oval(slot: int, cx: float, cy: float, rx: float, ry: float) -> Part:
    return Part(arc_points(cx, cy, rx, ry, 0, 1), slot)


def arc(slot: int, width: float, cx: float, cy: float, rx: float, ry: float, start: float = 0, stop: float = 1) -> Part:
    return Part(arc_points(cx, cy, rx, ry, start, stop), slot, width)


def box(slot: int, left: float, top: float, right: float, bottom: float) -> Part:
    return poly(slot, (left, top), (right, top), (right, bottom), (left, bottom))


def turned(part: Part, turns: float, cx: float = 0, cy: float = 0) -> Part:
    a = turns * 2 * np.pi
    matrix = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    return Part((part.points - (cx, cy)) @ matrix + (cx, cy), part.slot, part.width)
