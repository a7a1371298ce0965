"""`clip-robustness calibrate`: whether files, prompts and preprocessing give known checkpoints their published figures,
and if not, which single change would."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from clip_robustness import suites
from clip_robustness.calibration.cached import cached
from clip_robustness.calibration.compare import AGREES, DIFFERS, OPEN, compared
from clip_robustness.calibration.diagnosis import Compared, Diagnosis, diagnosed
from clip_robustness.calibration.known import recognise
from clip_robustness.calibration.report import Calibration, KnownModel, lines, write
from clip_robustness.calibration.run import figures_of
from clip_robustness.calibration.setup import Bench
from clip_robustness.conditions.condition import Condition
from clip_robustness.errors import InputError, NotRunError, one_line
from clip_robustness.evaluation.session import Session
from clip_robustness.evaluation.settings import Settings
from clip_robustness.files import argument
from clip_robustness.models.spec import ModelSpec, parse_all
from clip_robustness.results.results import Comparison
from clip_robustness.suites import Suite
from clip_robustness.suites.figures import Figures, on_of
from clip_robustness.verdicts.rows import row_of

_CHEAPEST = 2
"""Models out of the caches: a zero-shot and a supervised one."""


def main(name: str, arguments: Sequence[str]) -> int:
    """0 where figures agree, 1 where one differs, 5 where there is nothing that could tell."""
    options = _parser().parse_args(arguments)
    suite = suites.load(options.suite)
    figures = figures_of(suite)
    if options.list:
        print("\n".join(listed(figures)))
        return 0
    specs = chosen(suite, figures, options.model)
    session = Session(settings_for(suite, specs, options))
    found = calibrate(session, figures, diagnose=not options.no_diagnosis)
    files = write(found, options.out)
    print("\n".join(map(one_line, [*lines(found), *map(str, files)])))
    return exit_code(found)


def exit_code(found: Calibration) -> int:
    said = {comparison.status for comparison in found.comparisons}
    return 1 if DIFFERS in said else 0 if AGREES in said else 5


def listed(figures: Figures) -> Iterator[str]:
    for model in figures.models:
        own = [row for row in figures.rows if row.model == model]
        places = dict.fromkeys("imagenet-c-disk" if "-c-disk-" in row.condition else row.condition for row in own)
        yield f"{model}: {len(own)} figures ({', '.join(places)})"


def chosen(suite: Suite, figures: Figures, named: Sequence[str]) -> tuple[ModelSpec, ...]:
    """The named models, else those of the suite, else the cheapest known ones in the caches of this machine.

    Raises `InputError` where there are none.
    """
    if named:
        return tuple(spec for text in named for spec in parse_all(text))
    given = (*suite.settings.candidate, *suite.settings.supervised)
    of_suite = [spec for text in given for spec in parse_all(text, suite.file.parent)]
    texts = [] if of_suite else cached(figures)[:_CHEAPEST]
    if not (found := (*of_suite, *(spec for text in texts for spec in parse_all(text)))):
        raise InputError(
            "no model to calibrate with: the suite names none, and no known checkpoint is in the caches of the hub or "
            "of torch; give --model open_clip:ViT-B-32/openai (0.6 GB) or --model torchvision:alexnet/IMAGENET1K_V1"
        )
    return tuple({spec.text: spec for spec in found}.values())


def settings_for(suite: Suite, specs: tuple[ModelSpec, ...], options: argparse.Namespace) -> Settings:
    return Settings(
        suite=suite,
        candidates=specs,
        supervised=(),
        surrogate=None,
        samples=options.samples,
        seed=suite.settings.seed,
        device=options.device,
        batch_size=options.batch_size,
        report_dir=options.out.resolve(),
        require_all=False,
    )


def calibrate(session: Session, figures: Figures, *, diagnose: bool = True) -> Calibration:
    """Measure the models of a session wherever figures of theirs are published, and look for what explains those that
    differ. Raises `InputError` for models and data that can't be read."""
    suite, on = session.settings.suite, on_of(session.settings.suite)
    found = Calibration(suite.name, session.settings.samples)
    for spec in session.settings.candidates:
        classifier = session.classifier(spec)
        who = recognise(spec, classifier.weights, figures)
        found.models.append(KnownModel(spec.text, who.model, who.how, classifier.weights, who.warning))
        rows, conditions = [], dict[str, Condition]()
        for condition in suite.conditions if who.model else ():
            if not figures.of(who.model, condition.id, on) or condition.kind.attack or condition.kind.averages:
                continue
            try:
                row = row_of(spec, "candidate", condition, session.outcomes(spec, condition), session.names(condition))
            except NotRunError as error:
                found.not_run.append(f"{spec.text}, {condition.label}: {error}")
                continue
            rows.append(row)
            conditions |= dict.fromkeys((condition.label, f"{condition.label} pm-0"), condition)
        comparisons = compared(figures, {spec.text: who.model}, rows, on)
        found.comparisons += comparisons
        if diagnose and any(comparison.status == DIFFERS for comparison in comparisons):
            diagnosis = _diagnosed(session, spec, figures, comparisons, conditions)
            found.findings += diagnosis.findings
            found.tried += diagnosis.tried
    return found


def _diagnosed(
    session: Session,
    spec: ModelSpec,
    figures: Figures,
    comparisons: Sequence[Comparison],
    conditions: Mapping[str, Condition],
) -> Diagnosis:
    by_status: dict[str, dict[Condition, Compared]] = {DIFFERS: {}, AGREES: {}, OPEN: {}}
    for each in comparisons:
        condition, metric = conditions[each.condition], "pm0" if each.condition.endswith(" pm-0") else ""
        rows = figures.of(each.known, condition.id, on_of(session.settings.suite), metric)
        by_status[each.status].setdefault(condition, Compared(condition, rows, metric, len(comparisons)))
    watch = _shown if sys.stderr.isatty() else None
    differing, agreeing = (list(by_status[status].values()) for status in (DIFFERS, AGREES))
    return diagnosed(Bench(session, spec), differing, agreeing, watch)


def _shown(text: str) -> None:
    with suppress(OSError):
        print(f"\r\033[K{one_line(text)[:100]}", end="\r", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clip-robustness calibrate", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--suite", default="mini", metavar="NAME_OR_TOML", help="whose data and prompts are checked")
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="SPEC",
        help="a known checkpoint; repeatable (default: the suite's models, else the smallest known ones in the caches)",
    )
    parser.add_argument("--samples", type=_count, metavar="N", help="images per data set (default: all)")
    parser.add_argument("--batch-size", type=_count, default=64, metavar="N", help="images at a time")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument(
        "--out", type=argument, default=Path("reports/calibration"), metavar="DIR", help="for HTML and JSON"
    )
    parser.add_argument("--no-diagnosis", action="store_true", help="do not look for what explains a difference")
    parser.add_argument("--list", action="store_true", help="list the known checkpoints and their figures")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a positive number is expected, not {text}")
    return int(text)
