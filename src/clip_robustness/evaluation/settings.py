"""The options of a run: the command line over the suite's TOML over the defaults.

Light to import: they are read before every collection.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from clip_robustness import suites
from clip_robustness.conditions.condition import Condition
from clip_robustness.errors import InputError
from clip_robustness.evaluation.deadline import Deadline, parse_shard
from clip_robustness.files import expanded
from clip_robustness.models.spec import ModelSpec, parse_all
from clip_robustness.suites import Suite
from clip_robustness.suites.rules import Limit


@dataclass(frozen=True)
class Settings:
    """Everything that a run was asked for."""

    suite: Suite
    candidates: tuple[ModelSpec, ...]
    supervised: tuple[ModelSpec, ...]
    surrogate: ModelSpec | None
    samples: int | None
    seed: int
    device: str
    batch_size: int
    report_dir: Path
    require_all: bool
    stop_early: bool = False
    explain_gate: bool = False
    update_thresholds: bool = False
    record: str | None = None
    compare: str | None = None
    history: Path | None = None
    deadline: Deadline | None = None
    shard: tuple[int, int] | None = None
    costs: Path | None = None
    engine: str = "local"
    dry_run: bool = False
    gallery: int = 4
    exclude_overlap: Path | None = None

    def limits(self, condition: Condition) -> list[Limit]:
        """Those that this run checks: a regression needs a recorded run."""
        return [limit for limit in self.suite.deciding(condition) if not limit.off and not self._without_run(limit)]

    def firm(self, condition: Condition) -> int:
        """How many of them are no known weakness."""
        return sum(not limit.weak for limit in self.limits(condition))

    def ungated(self, condition: Condition) -> str:
        """Why a condition has no limits in this run."""
        why = [
            f"{limit.name} is switched off by {self.suite.whose(limit.rule)}"
            if limit.off
            else f"{limit.name} is not checked: no --compare names a recorded run"
            for limit in self.suite.deciding(condition)
        ]
        return "; ".join(why) or "no rule has a limit for it"

    def _without_run(self, limit: Limit) -> bool:
        return limit.name == "max_regression" and self.compare is None

    @property
    def gallery_dir(self) -> Path:
        return self.store_dir / "gallery"

    @property
    def store_dir(self) -> Path:
        return self.report_dir.parent / "store"

    @property
    def history_dir(self) -> Path:
        return self.history or self.report_dir.parent / "history"


@dataclass(frozen=True)
class Cell:
    """What one test measures: a candidate under a condition."""

    candidate: ModelSpec
    condition: Condition

    @property
    def id(self) -> str:
        return f"{self.candidate.label}-{self.condition.id}"


def cells_of(settings: Settings, tests: Iterable[str]) -> dict[str, Cell]:
    """What tests measure, from their ids alone: the process that workers report to collects nothing."""
    cells = [Cell(m, c) for m in settings.candidates for c in settings.suite.conditions]
    by_id = {cell.id: cell for cell in cells}
    inner = {test: test.partition("[")[2].removesuffix("]") for test in tests}
    return {test: by_id[id] for test, id in inner.items() if id in by_id}


SETTINGS: pytest.StashKey[Settings] = pytest.StashKey()

DEFAULT_REPORT_DIR = "reports/latest"


def add_options(parser: pytest.Parser) -> None:
    group = parser.getgroup("robustness", "robustness of zero-shot CLIP models")
    group.addoption(
        "--suite",
        metavar="NAME_OR_TOML",
        help="a shipped suite (default: mini) or a TOML file; write --suite=FILE for one outside the checkout",
    )
    group.addoption(
        "--candidate",
        metavar="SPEC",
        action="append",
        help="model under test, e.g. open_clip:ViT-B-32@ckpt.pt; repeatable",
    )
    group.addoption(
        "--supervised",
        metavar="SPEC",
        action="append",
        help="supervised baseline, e.g. timm:resnet50.a1_in1k; repeatable",
    )
    group.addoption(
        "--surrogate",
        metavar="SPEC",
        help="model that attacks by transfer are crafted on (default: the suite's, or the first supervised baseline)",
    )
    group.addoption(
        "--samples", metavar="N", type=int, help="images per data set, drawn class by class (default: the suite's)"
    )
    group.addoption(
        "--seed", metavar="N", type=int, help="seed of sampling and of random conditions (default: the suite's)"
    )
    group.addoption("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    group.addoption(
        "--batch-size",
        metavar="N",
        type=int,
        help="images per forward pass (default: 64); on a CPU, which gains little from more, at most 384 MiB",
    )
    group.addoption(
        "--report-dir",
        metavar="DIR",
        help=f"where the reports go (default: {DEFAULT_REPORT_DIR}); outcomes are kept in DIR/../store; write "
        "--report-dir=DIR for one outside the checkout",
    )
    group.addoption(
        "--profile",
        metavar="NAME_OR_TOML",
        help=f"rules and gate to start from: {', '.join(suites.PROFILES)}, or a TOML file (default: the suite's)",
    )
    group.addoption("--record", metavar="NAME", help="add the run to the history under this name")
    group.addoption(
        "--compare",
        metavar="RUN",
        help="a recorded run, paired by image: its name, its file, or 'latest' of the suite; max_regression limits it",
    )
    group.addoption("--history", metavar="DIR", help="folder of recorded runs (default: history beside --report-dir)")
    group.addoption(
        "--exclude-overlap",
        metavar="JSON",
        help="leave out the images that it names: an overlap.json of `clip-robustness overlap`, or {data set: [ids]}",
    )
    group.addoption(
        "--explain-gate", action="store_true", help="print which rule decides which selected test and why, run nothing"
    )
    group.addoption(
        "--stop-early",
        action="store_true",
        help="end a cell as soon as its verdict is settled, after an eighth, a quarter or half of its images",
    )
    group.addoption(
        "--update-thresholds",
        action="store_true",
        help="write into the suite that known weaknesses which are gone are none any more",
    )
    group.addoption(
        "--gallery", metavar="N", type=int, default=4, help="failures of each cell that the report shows (default: 4)"
    )
    group.addoption(
        "--require-all", action="store_true", help="a condition without data fails instead of being skipped"
    )
    group.addoption(
        "--time-limit",
        metavar="TIME",
        help="end after 90, 90s, 30m, 2h or 1h30m, the most informative cells first; the others are not run",
    )
    group.addoption("--shard", metavar="K/N", help="run the K-th of N parts; `clip-robustness merge` joins them")
    group.addoption(
        "--costs",
        metavar="RESULTS_JSON",
        help="an earlier run, whose seconds balance shards and workers (default: a table of forward passes)",
    )
    group.addoption(
        "--engine", choices=("local", "ray"), default="local", help="what computes: this machine, or a Ray cluster"
    )
    group.addoption(
        "--dry-run", action="store_true", help="print what would run, what is stored, time and memory; run nothing"
    )
    for name in ("suite", "device", "batch_size", "report_dir"):
        parser.addini(f"robustness_{name}", f"default of --{name.replace('_', '-')}", default="")


def _models(given: list[str] | None, in_file: tuple[str, ...], folder: Path) -> tuple[ModelSpec, ...]:
    """The command line's models, with files relative to the working folder, or else the suite's, relative to it."""
    texts, base = (given, Path()) if given else (in_file, folder)
    return tuple(spec for text in texts for spec in parse_all(text, base))


def read_settings(config: pytest.Config) -> Settings:
    """Check everything that can be checked without torch. Raises `InputError`."""

    def option(name: str, default: str) -> str:
        given = config.getoption(name)
        return str(given if given is not None else config.getini(f"robustness_{name}") or default)

    suite = suites.load(option("suite", "mini"), config.getoption("profile"))
    file = suite.settings
    candidates = _models(config.getoption("candidate"), file.candidate, suite.file.parent)
    supervised = _models(config.getoption("supervised"), file.supervised, suite.file.parent)
    named = [config.getoption("surrogate")] if config.getoption("surrogate") else None
    surrogates = _models(named, (file.surrogate,) if file.surrogate else (), suite.file.parent) or supervised
    if not candidates:
        raise InputError(f"no model to test: give --candidate SPEC, or candidate = [...] in {suite.file}")
    limits = suite.limits
    if not supervised and (needing := sorted(limit for limit in limits if limit.endswith("_vs_supervised"))):
        raise InputError(f"{suite.file}: {needing[0]} needs a baseline; give --supervised SPEC")
    if "min_effective_robustness" in limits and suite.settings.classes != "imagenet" and len(supervised) < 3:
        raise InputError(
            f'{suite.file}: min_effective_robustness needs a trend: classes = "imagenet", which has a published one, '
            "or three supervised baselines"
        )
    for models in (candidates, supervised):
        labels = [spec.label for spec in models]
        if repeated := [label for label in labels if labels.count(label) > 1]:
            raise InputError(
                f"two models would both be called '{repeated[0]}' in test ids; give them different file names"
            )
    called: dict[str, ModelSpec] = {}
    for spec in (*candidates, *supervised, *surrogates):
        if called.setdefault(spec.text, spec).written != spec.written:
            raise InputError(f"two models are called '{spec.text}': {called[spec.text].written} and {spec.written}")
    samples = config.getoption("samples") if config.getoption("samples") is not None else file.samples
    seed = config.getoption("seed") if config.getoption("seed") is not None else file.seed
    batch_size = option("batch_size", "64")
    if not batch_size.isdecimal() or int(batch_size) < 1:
        raise InputError(f"--batch-size {batch_size}: a positive number is expected")
    if samples is not None and samples < 1:
        raise InputError(f"--samples {samples}: a positive number is expected")
    if config.getoption("shard") and config.getoption("record"):
        raise InputError("--record records whole runs, not a --shard: record one on the shards' merged stores")
    if config.getoption("engine") == "ray" and getattr(config.option, "numprocesses", None):
        raise InputError("--engine ray has workers of its own; leave out -n")
    stop_early = config.getoption("stop_early") or suite.gate.stop_early
    if config.getoption("engine") == "ray" and stop_early:
        raise InputError("--engine ray computes whole cells; leave out --stop-early, or stop_early in the suite")
    if config.getoption("gallery") < 0:
        raise InputError(f"--gallery {config.getoption('gallery')}: a number of failures is expected, 0 for none")
    report_dir = option("report_dir", str(config.rootpath / DEFAULT_REPORT_DIR))
    return Settings(
        suite=suite,
        candidates=candidates,
        supervised=supervised,
        surrogate=surrogates[0] if surrogates else None,
        samples=samples,
        seed=seed,
        device=option("device", "auto"),
        batch_size=int(batch_size),
        report_dir=expanded(report_dir).resolve(),
        require_all=config.getoption("require_all") or suite.gate.require_all,
        stop_early=stop_early,
        update_thresholds=config.getoption("update_thresholds"),
        explain_gate=config.getoption("explain_gate"),
        gallery=config.getoption("gallery"),
        record=config.getoption("record"),
        compare=config.getoption("compare"),
        exclude_overlap=expanded(given) if (given := config.getoption("exclude_overlap")) else None,
        history=expanded(config.getoption("history")).resolve() if config.getoption("history") else None,
        deadline=Deadline.after(config.getoption("time_limit")) if config.getoption("time_limit") else None,
        shard=parse_shard(config.getoption("shard")) if config.getoption("shard") else None,
        costs=expanded(config.getoption("costs")).resolve() if config.getoption("costs") else None,
        engine=config.getoption("engine"),
        dry_run=config.getoption("dry_run"),
    )
