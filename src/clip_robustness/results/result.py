"""What is measured of one cell, a model under a condition, as data."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clip_robustness.metrics.clusters import Clusters
    from clip_robustness.metrics.intervals import Correct


_WAYS = 8
"""Of belonging together, as many as are read of a file."""
FAMILIES = ("clean", "natural", "synthetic", "adversarial", "text", "overlap")


@dataclass(frozen=True)
class Figure:
    """A share with its 95% interval."""

    value: float
    ci95: tuple[float, float]


@dataclass(frozen=True)
class Baseline:
    """The supervised baseline that a candidate's cell is compared with, on the same images."""

    model: str
    accuracy: float
    ci95: tuple[float, float]


def written(value: float, unit: str, sign: str = "") -> str:
    """A figure of a limit: shares in percentage points, as everywhere."""
    return f"{100 * value:{sign}.1f}" if unit == "points" else f"{value:{sign}.3g}"


def spoken(unit: str) -> str:
    """What stands behind a figure."""
    return f" {unit}" if unit == "points" else unit


@dataclass(frozen=True)
class Check:
    """A limit of a rule, and what the images say of it.

    `p_violation` is the probability of evidence as strong against the limit if the figure were just at `bound`,
    `p_compliance` of evidence as strong for it; `more_images` would decide an inconclusive one, None where no number is
    likely to. `weak`: a known weakness, which is expected to fail. `at_least`: whether the figure is to be at least
    `bound`, not at most. `unit` is "points" of a share, which is shown in percentage points.
    """

    limit: str
    bound: float
    value: float
    ci95: tuple[float, float]
    p_violation: float
    p_compliance: float
    status: str
    reason: str
    more_images: int | None = None
    weak: bool = False
    at_least: bool = True
    unit: str = ""

    @property
    def margin(self) -> float:
        """How far the figure is inside the limit; negative outside."""
        return self.value - self.bound if self.at_least else self.bound - self.value


@dataclass(frozen=True)
class Regression:
    """A candidate's cell against a recorded run, on the images of both; `fixed` and `broken` are ids of images.

    `difference` None: the two can't be compared, and `reason` says why. `before` is the earlier accuracy, `gallery` the
    key of pictures in gallery.json.
    """

    run: str
    model: str
    reason: str = ""
    n: int = 0
    before: float | None = None
    difference: Figure | None = None
    fixed: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    gallery: str = ""


@dataclass(frozen=True)
class Confusion:
    """How many images of one class were taken for another."""

    label: str
    predicted: str
    count: int


@dataclass(frozen=True)
class GroupAccuracy:
    """The accuracy in a group of `n` of the images, with its own 95% interval."""

    name: str
    n: int
    accuracy: float
    ci95: tuple[float, float]


@dataclass(frozen=True)
class PerImage:
    """Which images of a cell are correct: `images` stands for their ids in their order, `bits` is one each, base64.
    `clusters`: the numbers of the clusters that each is in, for each way of belonging together one after the other,
    little-endian int32, by zlib and base64; '' where no two belong together."""

    images: str
    bits: str
    clusters: str = ""

    @staticmethod
    def of(ids: Sequence[str], correct: Correct, clusters: Clusters | None = None) -> PerImage:
        digest = hashlib.blake2b("\n".join(ids).encode(errors="surrogatepass"), digest_size=8).hexdigest()
        together = zlib.compress(clusters.ways.astype("<i4").tobytes()) if clusters else b""
        bits = np.packbits(correct).tobytes()
        return PerImage(digest, base64.b64encode(bits).decode(), base64.b64encode(together).decode())

    def correct(self, n: int) -> Correct | None:
        """bool (n,); None where it does not tell of so many images."""
        try:
            bits = np.frombuffer(base64.b64decode(self.bits, validate=True), np.uint8)
        except ValueError:
            return None
        return np.unpackbits(bits, count=n).astype(bool) if len(bits) == (n + 7) // 8 else None

    def ways(self, n: int) -> NDArray[np.int64] | None:
        """The numbers of `clusters`, int64 (ways, n), without any (0, n); None where they do not tell of so many."""
        try:
            packed = base64.b64decode(self.clusters, validate=True)
            numbers = zlib.decompressobj().decompress(packed, _WAYS * 4 * n) if packed else b""
        except (ValueError, zlib.error):
            return None
        whole = len(numbers) % (4 * n) == 0
        return np.frombuffer(numbers, "<i4").reshape(-1, n).astype(np.int64) if whole else None


@dataclass(frozen=True, repr=False)
class Result:
    """One model under one condition. `accuracy` None: it did not run, and `reason` says why.

    `verdict` is pass, fail, inconclusive, known weakness, improved, not gated, not run or error for a candidate, and
    baseline for a supervised model, where a `reason` says that its figures are no measurement.
    """

    family: str
    condition: str
    params: dict[str, str | int]
    model: str
    role: str
    verdict: str
    reason: str
    test: str = ""
    n: int = 0
    correct: int = 0
    accuracy: float | None = None
    ci95: tuple[float, float] | None = None
    n_skipped: int = 0
    """Images that were not looked at, because the verdict was settled without them."""
    n_clusters: int = 0
    """Of images that belong together, as of one video; 0 where none do."""
    design_effect: float = 1.0
    """How many times the variance of the accuracy is that of as many independent images."""
    n_effective: float | None = None
    """As many independent images as tell as much: n over the design effect."""
    supervised: Baseline | None = None
    difference: Figure | None = None
    limits: int = 0
    """How many the gate has for it, measured or not, known weaknesses aside."""
    checks: tuple[Check, ...] = ()
    regression: Regression | None = None
    allowed: bool = False
    """Whether its verdict fails no test, by the suite's gate: report only, or inconclusive."""
    metrics: dict[str, float] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    confusions: tuple[Confusion, ...] = ()
    """The most frequent ones."""
    groups: tuple[GroupAccuracy, ...] = ()
    """Of images that are told apart, as by the factors of ImageNet-X, the worst first."""
    smallest_eps: tuple[float, ...] = ()
    """Of a search: the 0%, 5%, ... 100% quantiles over its images, in 1/255; more than 255 where an image stood."""
    per_image: PerImage | None = None
    """Of attacks, which the guards compare image by image."""
    gallery: str = ""
    """The key of its pictures in gallery.json, beside results.json."""
    seconds: float = 0.0

    def __repr__(self) -> str:
        """Short: it is in the message of every assert about it."""
        figure = "not measured" if self.accuracy is None else f"{self.accuracy:.1%} of {self.n}"
        return f"Result({self.model} under {self.label}: {figure}, {self.verdict})"

    @property
    def passed(self) -> bool:
        """What a test asserts. Improved holds, too, which makes the strict xfail of a known weakness fail, so that
        somebody takes notice."""
        return self.allowed or self.verdict in ("pass", "not gated", "improved")

    @property
    def fails(self) -> bool:
        """Whether its test fails, or should: what the gate does not let pass."""
        return self.verdict in ("fail", "error", "improved", "inconclusive") and not self.allowed

    @property
    def gated(self) -> int:
        """How many limits count. Files of earlier versions tell it of measured cells alone."""
        weak = self.verdict in ("known weakness", "improved")
        return self.limits or (0 if weak else sum(not check.weak for check in self.checks))

    @property
    def kept(self) -> int:
        """How many limits were shown to hold. Those of a cell that is open or failed are not all of them."""
        if self.verdict in ("pass", "known weakness"):
            return self.gated
        shown = sum(check.status == "pass" and not check.weak for check in self.checks)
        return shown if self.verdict == "improved" else min(shown, max(0, self.gated - 1))

    @property
    def id(self) -> str:
        """As that of its condition: `bim-8/255`."""
        return "-".join([self.condition, *map(str, self.params.values())])

    @property
    def label(self) -> str:
        """The condition with its parameters: `bim 8/255`."""
        return " ".join([self.condition, *(str(v) for v in self.params.values())])


_RESULT = TypeAdapter(Result)


def as_row(cell: Result) -> dict[str, Any]:
    """As plain data, for the process that writes the reports."""
    row: dict[str, Any] = _RESULT.dump_python(cell, mode="json")
    return row


def result_from(row: dict[str, Any]) -> Result:
    """The inverse of `as_row`."""
    return _RESULT.validate_python(row)


def properties(cell: Result) -> list[tuple[str, str | int | float]]:
    """A cell's figures, flat, for JUnit."""
    found: dict[str, Any] = {"model": cell.model, "n": cell.n, "accuracy": cell.accuracy, "verdict": cell.verdict}
    if cell.ci95:
        found |= {"ci_low": cell.ci95[0], "ci_high": cell.ci95[1]}
    if cell.supervised and cell.difference:
        found |= {"baseline": cell.supervised.model, "baseline_accuracy": cell.supervised.accuracy}
        found |= {"difference": cell.difference.value}
        found |= {"difference_ci_low": cell.difference.ci95[0], "difference_ci_high": cell.difference.ci95[1]}
    if eps := cell.params.get("eps"):
        found |= {"eps": eps}
    if cell.n_skipped:
        found |= {"n_skipped": cell.n_skipped}
    if cell.n_clusters:
        found |= {"n_clusters": cell.n_clusters, "n_effective": cell.n_effective, "design_effect": cell.design_effect}
    if cell.regression and cell.regression.difference:
        found |= {"regression": cell.regression.difference.value}
        found |= {"regression_fixed": len(cell.regression.fixed), "regression_broken": len(cell.regression.broken)}
    found |= cell.metrics
    return [(key, value) for key, value in found.items() if value is not None]


def in_order(cells: Iterable[Result]) -> list[Result]:
    """Each (model, condition) once, candidates first within a condition: the order depends on the cells alone."""
    unique = {(c.family, c.condition, tuple(c.params.items()), c.role, c.model): c for c in cells}

    def key(cell: Result) -> tuple[Any, ...]:
        numbers = tuple(_sortable(v) for v in cell.params.values())
        family = FAMILIES.index(cell.family) if cell.family in FAMILIES else len(FAMILIES)
        return (family, cell.family, cell.condition, numbers, cell.role, cell.model)

    return sorted(unique.values(), key=key)


def _sortable(value: str | int) -> tuple[float, str]:
    """Numbers and fractions by value, words by spelling."""
    numerator, _, denominator = str(value).partition("/")
    try:
        return float(numerator) / float(denominator or 1), ""
    except (ValueError, ZeroDivisionError):
        return 0.0, str(value)
