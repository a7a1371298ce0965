"""One run's results out of those of its shards; verdicts and what else needs all cells are those of their union."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from metrics import guards
from metrics.gate import corrected
from metrics.results import Cell, Results, in_order, read
from metrics.summary import of_cells
from models.errors import InputError

_SAME = ("suite_file", "samples", "seed", "classes", "alpha", "report_only", "require_limits", "code_version")
"""What the shards of one run have in common, of what they say of their environment."""


def merged(files: Sequence[Path]) -> Results:
    """The results of all shards, given in any order. What a missing shard had is an error.

    Raises `InputError` where a file is no shard's, or of another run than the first, or two have the same cell.
    """
    shards = [(file, _read(file)) for file in files]
    first_file, first = shards[0]
    assert first.shard is not None
    measured: dict[str, tuple[Path, Cell]] = {}
    for file, results in shards:
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
    present = {results.shard.index for _, results in shards if results.shard}
    missing = ", ".join(f"{i}/{first.shard.count}" for i in range(1, first.shard.count + 1) if i not in present)
    reason = f"shard {missing} is missing" if missing else "no shard has it; run all with the same --costs"
    absent = [
        Cell(role="candidate", verdict="error", reason=reason, **planned)
        for planned in first.shard.selected
        if planned["test"] not in measured
    ]
    in_turn = sorted(
        (results for _, results in shards), key=lambda results: results.shard.index if results.shard else 0
    )
    cells = in_order([*(cell for r in in_turn for cell in r.cells), *absent])
    cells = corrected(cells, first.environment["alpha"], report_only=first.environment["report_only"])
    on_imagenet = first.environment["classes"] == "imagenet"
    return replace(
        first,
        environment=first.environment | {"merged": [str(file) for file in files]},
        cells=cells,
        summaries=of_cells(cells, on_imagenet=on_imagenet),
        guards=guards.of_cells(cells),
        shard=None,
        warnings=list(dict.fromkeys(warning for results in in_turn for warning in results.warnings)),
    )


def exit_code(results: Results) -> int:
    """As pytest's: 5 where nothing was measured, or nothing is gated that should be, 1 where a test fails."""
    candidates = [cell for cell in results.cells if cell.role == "candidate"]
    if all(cell.accuracy is None for cell in candidates):
        return 5
    if any(cell.fails for cell in candidates):
        return 1
    return 5 if results.environment.get("require_limits") and not any(cell.gated for cell in candidates) else 0


def _read(file: Path) -> Results:
    try:
        results = read(file)
    except (OSError, ValueError) as error:
        raise InputError(str(error)) from None
    if results.shard is None:
        raise InputError(f"{file}: not of a shard; run with --shard K/N")
    if lacking := [key for key in _SAME if key not in results.environment]:
        raise InputError(f"{file}: its environment says nothing of {lacking[0]}; run that shard once more")
    return results


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
