"""What the outcome store holds, and how to keep it small or bring several together.

clip-robustness store list                   a line a cell: key, images, model, condition, data, seed, code, when
clip-robustness store show KEY               the blocks of a cell; the beginning of its key is enough
clip-robustness store export FILE            every answer as a line of JSON, readable by any table library
clip-robustness store merge FOLDER ...       add what the stores of other runs or machines hold
clip-robustness store gc --days 90           remove blocks older than that, and damaged ones
clip-robustness store gc --other-code        remove what other versions of the code computed; what plugin files of
                                             suites compute is known with --suite FILE, and else stays
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from clip_robustness import models, suites
from clip_robustness.conditions.condition import Condition
from clip_robustness.errors import InputError, one_line
from clip_robustness.evaluation.fingerprint import code_version
from clip_robustness.evaluation.store import About, Block, Store
from clip_robustness.files import argument, whole


def listed(store: Store) -> Iterator[str]:
    for cell in store.cells():
        blocks, _, damaged = store.read(cell)
        images = len({id for block in blocks for id in block.ids})
        if blocks:
            yield f"{cell}  {images:6} images  {_who(blocks[-1].about)}" + (f"  {damaged} damaged" if damaged else "")
        else:
            yield f"{cell}  nothing but {damaged} damaged blocks"


def shown(store: Store, key: str) -> Iterator[str]:
    """Raises `InputError` where no cell, or more than one, begins with `key`."""
    found = [cell for cell in store.cells() if cell.startswith(key)]
    if len(found) != 1:
        raise InputError(f"{store.folder}: {len(found)} cells begin with '{key}'; `list` shows the keys")
    blocks, _, damaged = store.read(found[0])
    yield f"{store.file(found[0])}: {len(blocks)} blocks, {damaged} damaged"
    for block in blocks:
        note = f"  {block.about.note}" if block.about.note else ""
        yield f"{len(block.ids):6} images from {block.ids[0]}  {_who(block.about)}{note}"


def _who(about: About) -> str:
    return f"{about.model}  {about.condition}  {about.data}  seed {about.seed}  code {about.code}  {about.at}"


def exported(store: Store) -> Iterator[dict[str, Any]]:
    """Every answer as it counts: of an image that was computed again, the one of the file that was read last."""
    for cell in store.cells():
        rows: dict[str, tuple[Block, int]] = {}
        for block in store.read(cell)[0]:
            rows |= {id: (block, i) for i, id in enumerate(block.ids)}
        for id, (block, i) in rows.items():
            measures = {name: values[i] for name, values in block.measures.items()}
            about = asdict(block.about)
            yield {"cell": cell, **about, "image": id, "prediction": block.predictions[i], "measures": measures}


def merge(store: Store, others: list[Store]) -> int:
    """How many blocks were added."""
    added = 0
    for other in others:
        for cell in other.cells():
            with store.claimed(cell):
                own = set(store.read(cell)[1])
                if lines := [line for line in other.read(cell)[1] if line not in own]:
                    store.append(cell, lines)
                    added += len(lines)
    return added


def gc(store: Store, keep: Callable[[About], bool]) -> int:
    """How many blocks were removed, damaged ones among them; pictures go with what they show."""
    removed = 0
    for cell in store.cells():
        with store.claimed(cell):
            blocks, lines, damaged = store.read(cell)
            kept = [line for block, line in zip(blocks, lines, strict=True) if keep(block.about)]
            if gone := damaged + len(lines) - len(kept):
                store.replace(cell, kept)
                removed += gone
    for file in (store.folder / "gallery").glob("*.json"):
        made = datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat(timespec="seconds")
        if not keep(About("", "", "", 0, code=file.stem.partition("-")[0], at=made)):
            file.unlink()
    cells = set(store.cells())
    for file in (*store.folder.glob("*.damaged"), *(f for f in store.locks.iterdir() if f.name not in cells)):
        file.unlink()
    return removed


def _keeping(days: int | None, other_code: bool, unknown: set[str]) -> Callable[[About], bool]:
    """`unknown` gets what is kept because nothing here computes it."""
    oldest = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds") if days is not None else ""

    def keep(about: About) -> bool:
        if about.at < oldest or not other_code:
            return about.at >= oldest
        now = _code_now(about)
        if now is None:
            unknown.add(f"{about.model} under {about.condition}")
        return now in (about.code, None)

    return keep


def _code_now(about: About) -> str | None:
    """The version of the code that would compute a block, None where there is none here; of a picture, which has no
    condition, that of all code."""
    if not about.condition:
        return code_version()
    condition, builder = (
        Condition(about.condition.partition("/")[0], about.name, about.params),
        about.code.partition("@")[2],
    )
    if not models.has_code(builder):
        return None
    try:
        return f"{code_version(condition)}-{models.code_version(builder)}"
    except InputError:  # nobody registered it
        return None


def main(name: str, arguments: Sequence[str]) -> int:
    about_store: dict[str, Any] = {"type": argument, "help": "folder (default: reports/store)"}
    parser = argparse.ArgumentParser(
        prog="clip-robustness store", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", default=Path("reports/store"), **about_store)
    after = argparse.ArgumentParser(add_help=False)  # the option is right on either side of the command
    after.add_argument("--store", default=argparse.SUPPRESS, **about_store)
    commands = parser.add_subparsers(required=True, dest="command")
    commands.add_parser("list", parents=[after])
    commands.add_parser("show", parents=[after]).add_argument("key")
    exporting = commands.add_parser("export", parents=[after])
    exporting.add_argument("file", type=argument, help="a file of JSON lines; - for the terminal")
    commands.add_parser("merge", parents=[after]).add_argument("folder", type=argument, nargs="+")
    collected = commands.add_parser("gc", parents=[after])
    collected.add_argument("--days", type=int)
    collected.add_argument("--other-code", action="store_true")
    collected.add_argument("--suite", action="append", default=[], help="a suite whose plugins are known; repeatable")
    args = parser.parse_args(arguments)
    try:
        for folder in (*([args.store] if args.command != "merge" else []), *getattr(args, "folder", [])):
            if not folder.is_dir():
                raise InputError(f"{folder}: there is no such folder; name the store with --store")
        store = Store(args.store, read_only=args.command in ("list", "show", "export"))
        if args.command == "list":
            print(*listed(store), sep="\n")
        elif args.command == "show":
            print(*shown(store, args.key), sep="\n")
        elif args.command == "export":
            _write(args.file, exported(store))
        elif args.command == "merge":
            added = merge(store, [Store(folder, read_only=True) for folder in args.folder])
            print(f"{added} blocks were added to {args.store}")
        else:
            for suite in args.suite:
                suites.load(suite)
            unknown = set[str]()
            print(f"{gc(store, _keeping(args.days, args.other_code, unknown))} blocks were removed from {args.store}")
            for what in sorted(unknown):
                print(one_line(f"kept, as nothing here computes it: {what}; name its suite with --suite"))
    except BrokenPipeError:  # who reads, such as `head`, has enough
        sys.stdout = io.StringIO()  # for what is flushed at the end
    return 0


def _write(file: Path, rows: Iterator[dict[str, Any]]) -> None:
    if str(file) == "-":
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
        return
    with whole(file) as partial, partial.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
