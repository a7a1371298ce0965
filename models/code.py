"""What code something depends on, found in the source without running it: what a function refers to, what that refers
to, and so on through our own modules; of libraries their version.

The unit is what a module of the suite binds at its top level: an edit to one function changes what refers to it. Of
other modules, a user's, all counts. Comments and docstrings count for nothing; annotations do, as they name the classes
whose methods are called.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

Follow = Callable[[str, str], bool]
"""Whether what a module refers to counts: the module, and the other's name, as 'package.module.name'."""
_NO_FIGURES = (
    "clip_robustness.cache",
    "clip_robustness.declared",
    "clip_robustness.models.code",
    "clip_robustness.models.code_digest",
    "clip_robustness.models.remembered",
    "clip_robustness.errors",
    "clip_robustness.files",
    "clip_robustness.locks",
    "clip_robustness.registry",
)
"""Modules that no figure depends on."""
_INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_PACKAGE = "clip_robustness"
_SOURCE = Path(__file__).parents[2]
_REGISTRATIONS = ("attack", "corruption", "dataset", "model")
"""Decorators."""
_BRINGS = {"open_clip": ("timm", "transformers", "tokenizers")}
"""Libraries that another computes with only where a model asks for them."""
_DISTRIBUTED_AS = {
    "PIL": ("pillow", "pillow-simd"),
    "cv2": ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "open_clip": ("open_clip_torch",),
    "yaml": ("PyYAML",),
    "faiss": ("faiss-cpu", "faiss-gpu"),
}
"""Libraries that are installed under another name than they are imported by."""


@dataclass(frozen=True)
class Code:
    """`units` are 'module.name', or 'module.' for what runs when it is imported, each with its source; `libraries` are
    names that are imported."""

    units: dict[str, str] = field(default_factory=dict)
    libraries: set[str] = field(default_factory=set)

    def digest(self) -> str:
        """16 hexadecimal digits."""
        return combined(self.units_digest(), self.libraries)

    def units_digest(self) -> str:
        """Of the sources alone."""
        return hashlib.sha256(repr(sorted(self.units.items())).encode()).hexdigest()


def combined(units: str, libraries: Iterable[str]) -> str:
    """The digest of sources whose own digest is `units`, with the versions of libraries as they are installed."""
    versions = [f"{name} {version}" for name in sorted(libraries) for version in _versions(name)]
    return hashlib.sha256(repr((units, versions)).encode()).hexdigest()[:16]


def code_of(roots: Iterable[str], *, chosen: Iterable[str] = (), follow: Follow = lambda _, __: True) -> Code:
    """All that `roots`, names of the form 'module.name', depend on.

    A table, which maps texts to code, counts as a whole, but where it has some of `chosen` among its keys: then
    these entries do alone. What `follow` says no to is left out.
    """
    keys, found, waiting = frozenset(chosen), Code(), [("", root) for root in roots]
    seen = set[str]()
    while waiting:
        by, name = waiting.pop()
        if name in seen or f"{name}.".startswith(tuple(f"{module}." for module in _NO_FIGURES)) or not follow(by, name):
            continue
        seen.add(name)
        module, rest = _module_in(name)
        if module is None:
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names:
                found.libraries.update((top, *_BRINGS.get(top, ())))
            continue
        targets, units = module.imports.get(rest, ()), [*module.units.values()]
        if module.sliced and (targets or rest in module.units):
            units = [module.units[rest]] if rest in module.units else []
        waiting += [(module.name, target) for target in targets]
        for unit in (module.loose, *(unit.narrowed(keys) for unit in units)):
            if (called := f"{module.name}.{unit.name}") not in found.units:
                found.units[called] = unit.source
                waiting += [(module.name, target) for target in unit.refers]
    return found


@dataclass(frozen=True)
class _Unit:
    """What a module binds to a name: the source, normalised, and what it refers to, absolute names. `table`: of a
    dictionary of code by text, the same for each entry."""

    name: str
    source: str
    refers: tuple[str, ...]
    table: Mapping[str, _Unit] = field(default_factory=dict)

    def narrowed(self, keys: frozenset[str]) -> _Unit:
        entries = [self.table[key] for key in sorted(keys & self.table.keys())]
        if not entries:
            return self
        refers = tuple(name for entry in entries for name in entry.refers)
        return _Unit(self.name, "\n".join(entry.source for entry in entries), refers)


@dataclass(frozen=True)
class _Module:
    """`imports`: name -> what it stands for; by the same name functions may import different things. `loose` is what
    runs on import beside definitions. `sliced`: whether it counts by what is referred to, not as a whole."""

    name: str
    sliced: bool
    units: Mapping[str, _Unit]
    imports: Mapping[str, Sequence[str]]
    loose: _Unit


def _module_in(name: str) -> tuple[_Module | None, str]:
    """The longest beginning of a dotted name that is one of our modules, and the name after it."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        if module := _module(".".join(parts[:end])):
            return module, parts[end] if end < len(parts) else ""
    return None, ""


@cache
def _file(name: str) -> Path | None:
    """The source of one of our modules; None for modules of libraries, and where there is no such module."""
    loaded = getattr(sys.modules.get(name), "__file__", None) or ""
    if loaded.endswith(".py"):  # also what is not found by its name, as a plugin
        return Path(loaded) if _is_ours(name, Path(loaded).resolve()) else None
    parent, _, last = name.rpartition(".")
    if parent:
        package = _file(parent)
        places = [package.parent / last] if package and package.name == "__init__.py" else []
    elif last in sys.stdlib_module_names:
        return None
    else:
        places = [Path(entry or ".") / last for entry in [str(_SOURCE), *sys.path]]
    for place in places:
        for file in (place / "__init__.py", place.with_suffix(".py")):
            if file.is_file():
                return file if _is_ours(name, file.resolve()) else None
    return None


def _is_ours(name: str, file: Path) -> bool:
    """Its package decides: `torch.ops` says of itself that it is the file '_ops.py'. Libraries may lie elsewhere than
    this environment's, as with --system-site-packages or PYTHONPATH: pip leaves metadata beside them."""
    if of_the_suite(name):
        return True
    top = getattr(sys.modules.get(name.partition(".")[0]), "__file__", None)
    place, depth = (Path(top).resolve(), 0) if top else (file, name.count("."))
    root = place.parents[depth + (place.name == "__init__.py")]
    return not (any(place.is_relative_to(known) for known in _INSTALLED) or _has_metadata(root))


@cache
def _has_metadata(folder: Path) -> bool:
    return any(folder.glob("*.dist-info"))


def of_the_suite(name: str) -> bool:
    """Whether a dotted name is one of this package."""
    return name.partition(".")[0] == _PACKAGE


@cache
def _module(name: str) -> _Module | None:
    file = _file(name)
    if file is None:
        return None
    tree = _Bare().visit(ast.parse(file.read_bytes()))
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    imports: dict[str, list[str]] = {}
    for called, target in _imports(tree, package):
        imports.setdefault(called, []).append(target)
    bound: dict[str, list[ast.stmt]] = {}
    loose = []
    for statement in tree.body:
        targets = _targets(statement)
        for target in targets:
            bound.setdefault(target, []).append(statement)
        if not targets and not isinstance(statement, ast.Import | ast.ImportFrom):
            loose.append(statement)

    used = set[str]()

    def unit(name_of_unit: str, nodes: Sequence[ast.AST]) -> _Unit:
        refers = dict[str, None]()
        for chain in (chain for node in nodes for chain in _chains(node)):
            first, *rest = chain
            used.add(first)
            refers |= dict.fromkeys(".".join([target, *rest]) for target in imports.get(first, ()))
            refers |= dict.fromkeys([f"{name}.{first}"] if first in bound else ())
        refers |= dict.fromkeys(target for node in nodes for target in _imported_by_text(node))
        return _Unit(name_of_unit, "\n".join(ast.dump(node) for node in nodes), tuple(refers))

    units = {}
    for target, statements in bound.items():
        whole = unit(target, statements)
        table = {key: unit(target, [value]) for key, value in _entries(statements).items()}
        units[target] = replace(whole, table=table if any(entry.refers for entry in table.values()) else {})
    alone = unit("", loose)
    effects = [target for called in imports.keys() - used for target in imports[called]]
    return _Module(
        name,
        of_the_suite(name),
        units,
        imports,
        replace(alone, refers=(*alone.refers, *sorted(effects))),
    )


class _Bare(ast.NodeTransformer):
    """Without docstrings, and without what registers code: that says how it is found and counts by its kind."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list = [d for d in node.decorator_list if not _registers(d)]
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)


def _imports(tree: ast.AST, package: str) -> Iterator[tuple[str, str]]:
    """Name -> what it stands for, also of imports inside of functions; a module that is bound to no name of its own is
    needed as a whole."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (top, top)
                if alias.name != top and not alias.asname:
                    yield f"*{alias.name}", alias.name
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield (
                    (f"*{source}", source)
                    if alias.name == "*"
                    else (
                        alias.asname or alias.name,
                        f"{source}.{alias.name}",
                    )
                )


def _targets(statement: ast.stmt) -> list[str]:
    """What a definition or an assignment binds; nothing for any other statement."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if not isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return []
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    names = [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    plain = (ast.Name, ast.Tuple, ast.List, ast.Starred, ast.expr_context)
    return names if all(isinstance(node, plain) for target in targets for node in ast.walk(target)) else []


def _entries(statements: Sequence[ast.stmt]) -> dict[str, ast.expr]:
    """Of a dictionary whose keys are all written out as texts."""
    value = getattr(statements[0], "value", None) if len(statements) == 1 else None
    if not isinstance(value, ast.Dict):
        return {}
    pairs = zip(value.keys, value.values, strict=True)
    entries = {key.value: entry for key, entry in pairs if isinstance(key, ast.Constant) and isinstance(key.value, str)}
    return entries if len(entries) == len(value.keys) else {}


def _chains(node: ast.AST) -> Iterator[list[str]]:
    """What the source refers to by name: 'a', or 'a.b.c', as lists."""
    names: list[str] = []
    inner = node
    while isinstance(inner, ast.Attribute):
        names.insert(0, inner.attr)
        inner = inner.value
    if isinstance(inner, ast.Name):
        yield [inner.id, *names]
    else:
        for child in ast.iter_child_nodes(inner):
            yield from _chains(child)


def _imported_by_text(node: ast.AST) -> Iterator[str]:
    """By `importlib.import_module("name")`."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call) and _last(inner.func) == "import_module":
            yield from (a.value for a in inner.args if isinstance(a, ast.Constant) and isinstance(a.value, str))


def _registers(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and _last(decorator.func) in _REGISTRATIONS


def _last(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


@cache
def _versions(library: str) -> tuple[str, ...]:
    names = _DISTRIBUTED_AS.get(library, (library,))
    found = [(name, version) for name in names if (version := _version(name))]
    if not found:  # slow, as it looks at the files of all that is installed
        names = tuple(sorted(set(importlib.metadata.packages_distributions().get(library, ()))))
        found = [(name, version) for name in names if (version := _version(name))]
    return tuple(f"{name} {version}" for name, version in found)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
