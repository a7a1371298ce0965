"""One run's results out of those of its shards; verdicts and what else needs all cells are those of their union."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from clip_robustness.errors import InputError
from clip_robustness.results import claims, guards
from clip_robustness.results.headline import candidates
from clip_robustness.results.result import Result, in_order
from clip_robustness.results.results import Results, Shard, read
from clip_robustness.results.summary import of_cells
from clip_robustness.verdicts.judge import corrected

_SAME = (
    "suite_file",
    "samples",
    "seed",
    "classes",
    "alpha",
    "correction",
    "report_only",
    "require_limits",
    "code_version",
)
"""What the shards of one run have in common, of what they say of their environment."""


def merged(files: Sequence[Path]) -> Results:
    """The results of all shards, given in any order. What a missing shard had is an error, and what one ended before.

    Raises `InputError` where a file is no shard's, or of another run than the first, or two have the same cell.
    """
    try:
        return _merged(files)
    except InputError:
        raise
    except Exception as error:  # figures that no run writes
        named = ", ".join(map(str, files))
        raise InputError(f"{named}: can't be merged: {type(error).__name__}: {error}") from error


def _merged(files: Sequence[Path]) -> Results:
    shards = [(file, *_read(file)) for file in files]
    begun = [(file, results, shard) for file, results, shard in shards if shard.selected or results.cells]
    if not begun:
        raise InputError(f"{files[0]}: {shards[0][1].unfinished}")
    first_file, first, whole = begun[0]
    measured: dict[str, tuple[Path, Result]] = {}
    for file, results, _ in begun:
        if difference := _difference(first, results):
            raise InputError(f"{file} is no shard of the same run as {first_file}: {difference}")
        for cell in results.cells:
            if cell.role != "candidate":
                continue
            if cell.test in measured:
                raise InputError(
                    f"{measured[cell.test][0]} and {file} both have {cell.test}; give each shard once, and all the "
                    "same --costs"
                )
            measured[cell.test] = file, cell
    said = {shard.index: results.partial for _, results, shard in shards}
    lacking = [i for i in range(1, whole.count + 1) if i not in {shard.index for *_, shard in begun}]
    gone = [
        f"shard {i}/{whole.count}: {said[i]}" if i in said else f"shard {i}/{whole.count} is missing" for i in lacking
    ]
    reason = "; ".join(gone) or "no shard has it; run all with the same --costs"
    absent = [
        Result(role="candidate", verdict="error", reason=reason, **vars(planned))
        for planned in whole.selected
        if planned.test not in measured
    ]
    in_turn = [(results, shard) for _, results, shard in sorted(begun, key=lambda each: each[2].index)]
    found = [cell for results, shard in in_turn for cell in _without_gaps(results, shard)]
    about = first.environment
    cells = corrected(
        in_order([*found, *absent]), about["alpha"], report_only=about["report_only"], correction=about["correction"]
    )
    on_imagenet = first.environment["classes"] == "imagenet"
    return replace(
        first,
        environment=first.environment | {"merged": [str(file) for file in files]},
        cells=cells,
        summaries=of_cells(cells, on_imagenet=on_imagenet),
        guards=guards.of_cells(cells),
        claims=claims.of_cells({c.name: c for results, _ in in_turn for c in results.claims}.values(), cells),
        shard=None,
        warnings=list(dict.fromkeys(warning for results, _ in in_turn for warning in results.warnings)),
        partial=_joined({i: text for i, text in sorted(said.items()) if text}, whole.count),
        missing=(),
        calibration=list(
            {(c.model, c.role, c.condition): c for results, _ in in_turn for c in results.calibration}.values()
        ),
    )


def _without_gaps(results: Results, shard: Shard) -> list[Result]:
    """The cells, errors where the shard ended before them."""
    reason = f"shard {shard.index}/{shard.count} ended before it; run that shard once more"
    lost = {*results.missing}
    return [
        replace(c, verdict="error", reason=reason) if c.test in lost and c.accuracy is None else c
        for c in results.cells
    ]


def _joined(partial: Mapping[int, str], count: int) -> str:
    """What the shards say of what they lack, once where all say the same."""
    texts = set(partial.values())
    if len(partial) == count and len(texts) == 1:
        return texts.pop()
    return " ".join(f"Shard {index}/{count}: {text}" for index, text in partial.items())


def exit_code(results: Results) -> int:
    """As pytest's: 5 where nothing was measured, or nothing is gated that should be, 1 where a test fails."""
    shown = candidates(results.cells)
    if all(cell.accuracy is None for cell in shown):
        return 5
    if any(cell.fails for cell in shown):
        return 1
    return 5 if results.environment.get("require_limits") and not any(cell.gated for cell in shown) else 0


def _read(file: Path) -> tuple[Results, Shard]:
    try:
        results = read(file)
    except (OSError, ValueError) as error:
        raise InputError(str(error)) from None
    if results.shard is None:
        raise InputError(f"{file}: not of a shard; run with --shard K/N")
    if (results.cells or results.shard.selected) and (lacking := [k for k in _SAME if k not in results.environment]):
        raise InputError(f"{file}: its environment says nothing of {lacking[0]}; run that shard once more")
    return results, results.shard


def _difference(first: Results, other: Results) -> str:
    """What shows that two are of different runs."""
    assert first.shard is not None
    assert other.shard is not None
    if first.suite != other.suite:
        return f"suite {other.suite}, not {first.suite}"
    for key in _SAME:
        if first.environment[key] != other.environment[key]:
            return f"{key} {other.environment[key]}, not {first.environment[key]}"
    if first.shard.count != other.shard.count:
        return f"one of {other.shard.count} shards, not of {first.shard.count}"
    if first.shard.selected != other.shard.selected:
        return "it selected other tests"
    models = [{key: m[key] for key in ("model", "role", "fingerprint")} for m in (*first.models, *other.models)]
    if models[: len(first.models)] != models[len(first.models) :]:
        return "it has other models, or other weights"
    return ""
