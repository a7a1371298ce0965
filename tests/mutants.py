"""`make mutants`: break the code in one place at a time, and see whether the tests that hold it notice.

    python -m tests.mutants [--sample N] [--seed N] [PATH ...]

The mutants are those of cosmic-ray, which breaks constants, too, and two of ours: a number halved, a clamp left out.
A sample takes places at random, and at each place one of the ways to break it. `[tool.mutants]` in pyproject.toml says
which tests hold which modules; those of them that reach the place run in a copy of the checkout, for each mutant in a
fork of one process that has the large libraries loaded, until the first fails. What changes no outcome is left out:
caches, guards, estimates of costs.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from ast import literal_eval
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.number_replacer import NumberReplacer
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator, operator_names
from coverage import Coverage
from parso.python.tree import Decorator, Number
from parso.tree import NodeOrLeaf

from tests import ROOT

_LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "open_clip",
    "scipy.stats",
    "cv2",
    "foolbox",
    "torchattacks",
    "hypothesis",
)
_IMMATERIAL = ("passes", "drawing", "strict", "frozen", "eq", "repr", "maxsize")
"""Arguments of registrations, zip, dataclass and lru_cache: about what an image takes, for forecasts alone; what guards
against mistakes that the code does not make; how much is kept."""
_SEEDED = ("default_rng", "manual_seed")
"""Any seed is as good."""
_TIMES, _SECONDS = 5, 20
"""A test that computes so many times as long as it took of the code as it is, and so many seconds more, hangs: the
mutant is killed. So it is where all tests take as much longer without computing."""


class Halved(NumberReplacer):
    """A number in half: to move a step of 0.15 by 1 is no error that anybody makes. What is under a millionth is a
    tolerance for rounding, of which half does as well."""

    def mutation_positions(self, node):
        return [position for position in super().mutation_positions(node) if literal_eval(node.value) > 1e-6][:1]

    def mutate(self, node, index):
        value = literal_eval(node.value)
        return Number(f" {value // 2 if isinstance(value, int) else value / 2!r}", node.start_pos)


class WithoutClamp(Operator):
    """`x.clamp(...)` as `x`."""

    def mutation_positions(self, node):
        calls = node.type in ("atom_expr", "power") and [child.get_code(False) for child in node.children[-2:]]
        if calls and calls[0] in (".clamp", ".clip") and calls[1].startswith("("):
            yield node.start_pos, node.end_pos

    def mutate(self, node, index):
        del node.children[-2:]
        return node

    @classmethod
    def examples(cls):
        return ()


@dataclass(frozen=True)
class Group:
    """Modules, and the tests that hold them; paths are relative to the checkout."""

    name: str
    modules: tuple[Path, ...]
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Mutant:
    group: Group
    module: Path
    operator: str
    occurrence: int
    line: int

    def code(self, original: str) -> str:
        return mutate_code(original, _operators()[self.operator](), self.occurrence)


class Reached:
    """A plugin of pytest, for code that is whole: writes to `file` what `Reaching` is made of."""

    def __init__(self, modules: Sequence[Path], file: Path) -> None:
        self._modules, self._file, self._seconds = list(map(str, modules)), file, dict[str, float]()

    def pytest_sessionstart(self) -> None:
        self._coverage = Coverage(data_file=None, config_file=False, include=self._modules)
        self._coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef, request):
        """What tests share is no single one's."""
        self._coverage.switch_context(request.node.nodeid if fixturedef.scope == "function" else "")
        return (yield)

    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """What an earlier test left in a cache is computed anew."""
        for module in [sys.modules[name] for name in sys.modules if name.startswith("clip_robustness.")]:
            if module.__file__ in self._modules:
                for value in vars(module).values():
                    getattr(value, "cache_clear", bool)()
        self._coverage.switch_context(item.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0) + report.duration

    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()
        data = self._coverage.get_data()
        lines = {module: data.contexts_by_lineno(module) for module in self._modules}
        self._file.write_text(json.dumps({"lines": lines, "seconds": self._seconds}))


class Ordered:
    """A plugin of pytest: these tests in this order, without the others of those whose seconds are known. The process
    ends where one takes much longer than it did."""

    def __init__(self, tests: Sequence[str], seconds: Mapping[str, float]) -> None:
        self._places, self._seconds = {test: place for place, test in enumerate(tests)}, seconds

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        kept = [item for item in items if item.nodeid in self._places or item.nodeid not in self._seconds]
        items[:] = sorted(kept, key=lambda item: self._places.get(item.nodeid, 0))

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        signal.setitimer(signal.ITIMER_PROF, _TIMES * self._seconds.get(item.nodeid, 0) + _SECONDS)


@dataclass(frozen=True)
class Reaching:
    """Of a group: which reach a line of a module, '' for what they share, and how long each takes."""

    lines: dict[str, dict[str, list[str]]]
    seconds: dict[str, float]

    def of(self, module: Path, line: int) -> list[str]:
        """Those that reach the function of this line, the quickest first: files after the module's own, and in a file.

        Then, where objects remember what they computed, so that only the first that asks reaches that, those that reach
        anything of the module; all, where the line is in no function, or what it does is shared.
        """
        source, lines = module.read_text(), self.lines[str(module)]
        function, own = _function(source, line), f"test_{module.name}"
        reaching = {test for at, tests in lines.items() if int(at) in function for test in tests}
        chosen = {*self.seconds}
        if len(function) < len(source.splitlines()) and "" not in reaching:
            chosen = {*chain.from_iterable(lines.values())} - {""} if "cached_property" in source else reaching
        costs = dict.fromkeys(map(_file, self.seconds), 0.0)
        for test in chosen:
            costs[_file(test)] += self.seconds[test]

        def place(test: str) -> tuple[bool, bool, float, str, float]:
            file = _file(test)
            return test not in reaching, Path(file).name != own, costs[file], file, self.seconds[test]

        return sorted(chosen, key=place)


def _file(test: str) -> str:
    return test.partition("::")[0]


def _function(source: str, line: int) -> range:
    """The lines of the body that this line is in, all of the source's where it is in none."""
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    bodies = [range(node.body[0].lineno, 1 + (node.end_lineno or 0)) for node in functions]
    return min((body for body in bodies if line in body), key=len, default=range(1, 1 + len(source.splitlines())))


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sample", type=int, default=200, metavar="N", help="places at most (default: 200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("paths", nargs="*", help="modules or folders (default: all of [tool.mutants])")
    options = parser.parse_args(argv)
    groups = list(_groups([(ROOT / path).resolve() for path in options.paths]))
    places = [place for group in groups for module in group.modules for place in _places(group, module)]
    rng = random.Random(options.seed)
    chosen = [rng.choice(place) for place in rng.sample(places, min(options.sample, len(places)))]
    chosen.sort(key=lambda mutant: (mutant.group.name, mutant.module, mutant.line))
    print(f"{len(chosen)} mutants at {len(places)} places, seed {options.seed}", flush=True)
    sys.dont_write_bytecode = True  # a mutant of the same size and second would be taken for the code before
    for library in _LIBRARIES:
        importlib.import_module(library)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder).resolve() / "checkout"
        _copied(copy)
        killed = {group.name: list(_judged(copy, group, chosen)) for group in groups}
    _report({name: found for name, found in killed.items() if found})
    return 0


def _copied(to: Path) -> None:
    """The checkout without what git ignores."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, to / name, follow_symlinks=False)


def _judged(copy: Path, group: Group, chosen: Sequence[Mutant]) -> Iterator[bool]:
    """Whether each of the group's mutants is killed; those that survive are printed."""
    mutants = [mutant for mutant in chosen if mutant.group == group]
    if not mutants:
        return
    began = time.monotonic()
    found = copy.with_name("tests.json")
    modules = sorted({copy / mutant.module for mutant in mutants})
    if not _passes(copy, group.tests, Reached(modules, found), timeout=None):
        sys.exit(f"{group.name}: its tests fail as they are; see `pytest {' '.join(group.tests)}`")
    timeout = _TIMES * (time.monotonic() - began) + _SECONDS
    tests = Reaching(**json.loads(found.read_text()))
    for mutant in mutants:
        file = copy / mutant.module
        wanted = tests.of(file, mutant.line)
        original = file.read_text()
        changed = mutant.code(original)
        file.write_text(changed)
        files = list(dict.fromkeys(map(_file, wanted)))
        killed = bool(files) and not _passes(copy, files, Ordered(wanted, tests.seconds), timeout)
        file.write_text(original)
        print("killed  " if killed else "SURVIVED", f"{mutant.module}:{mutant.line} {mutant.operator}", flush=True)
        for sign, line in () if killed else _difference(original, changed):
            print(f"    {sign} {line.strip()}", flush=True)
        yield killed


def _passes(copy: Path, tests: Sequence[str], plugin: object, timeout: float | None) -> bool:
    if (child := os.fork()) == 0:
        os.setsid()
        os.chdir(copy)
        sys.path[:0] = [str(copy), str(copy / "src")]
        for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "clip_robustness")]:
            del sys.modules[name]
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
            os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests], plugins=[plugin]))
    end = None if timeout is None else time.monotonic() + timeout
    while (done := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if end is not None and time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return False
        time.sleep(0.05)
    return os.waitstatus_to_exitcode(done[1]) == 0


def _report(killed: dict[str, list[bool]]) -> None:
    from clip_robustness.metrics.intervals import accuracy  # not before: forks would have it as it is

    for name, found in [*killed.items(), ("all", list(chain.from_iterable(killed.values())))]:
        share = accuracy(np.array(found))
        print(f"{name}: {sum(found)} of {len(found)} killed, {share.value:.1%} [{share.low:.1%}, {share.high:.1%}]")


def _groups(only: Sequence[Path]) -> Iterator[Group]:
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutants"]
    for name, table in tables.items():
        found = [path for pattern in table["modules"] for path in sorted(ROOT.glob(pattern))]
        wanted = [path for path in found if not only or any(path.resolve().is_relative_to(one) for one in only)]
        yield Group(name, tuple(path.relative_to(ROOT) for path in wanted), tuple(_files(table["tests"])))


def _files(tests: Sequence[str]) -> Iterator[str]:
    for test in tests:
        found = sorted((ROOT / test).glob("test_*.py")) or [ROOT / test]
        yield from (str(file.relative_to(ROOT)) for file in found)


def _operators() -> dict[str, type[Operator]]:
    """Without those that need arguments, make `X | None` of annotations into something else, or multiply booleans."""
    left_out = ("VariableInserter", "VariableReplacer", "BitOr_", "BitAnd_Mul")
    names = [name for name in operator_names() if not any(part in name for part in left_out)]
    return {name: get_operator(name) for name in names} | {"halved": Halved, "without clamp": WithoutClamp}


def _places(group: Group, module: Path) -> Iterator[list[Mutant]]:
    """The mutants of a module, by place and kind."""
    nodes = list(ast_nodes(get_ast((ROOT / module).read_text())))
    skipped = [(node.start_pos, node.end_pos) for node in nodes if _immaterial(node)]
    found: dict[tuple[str, tuple[int, int]], list[Mutant]] = {}
    for name, operator in _operators().items():
        positions = (position for node in nodes for position in operator().mutation_positions(node))
        for occurrence, (start, _) in enumerate(positions):
            if any(begin <= start < end for begin, end in skipped):
                continue
            kind = "number" if name in ("halved", "core/NumberReplacer") else name.partition("_")[0]
            found.setdefault((kind, start), []).append(Mutant(group, module, name, occurrence, start[0]))
    yield from found.values()


def _immaterial(node: NodeOrLeaf) -> bool:
    if node.type == "operator":
        return node.parent.type in ("parameters", "param")  # the star of a signature
    if node.type == "number" and node.parent.type == "trailer":
        return node.parent.get_previous_sibling().get_last_leaf().value in _SEEDED
    if isinstance(node, Decorator):
        return node.get_code(include_prefix=False).startswith(("@cache\n", "@lru_cache"))
    return node.type == "argument" and node.get_first_leaf().value in _IMMATERIAL


def _difference(before: str, after: str) -> list[tuple[str, str]]:
    lines = zip(before.splitlines(), after.splitlines(), strict=False)
    old, new = next((pair for pair in lines if pair[0] != pair[1]), ("", "?"))
    return [("-", old), ("+", new)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
