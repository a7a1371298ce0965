"""Write into a suite's TOML what a run found to be better than its rules say; comments and order stay as they are."""

from __future__ import annotations

import glob
from collections.abc import Collection
from typing import Any

import tomlkit
from tomlkit.items import AoT

from models.errors import InputError
from models.files import whole
from suites import Rule, Suite
from suites.conditions import Condition


def tighten(suite: Suite, improved: Collection[Condition]) -> list[str]:
    """Known weaknesses that are gone are none any more: the suite's own rule drops `known_weakness` where all of the
    conditions that it decides improved; else these get a rule of their own, with the same limits.

    Returns a sentence for each change. Raises `InputError` where the file can't be written.
    """
    by_rule: dict[str, list[Condition]] = {}
    for condition in suite.conditions:
        rule = suite.rule(condition)
        if rule and rule.known_weakness is not None and condition in improved:
            by_rule.setdefault(rule.match, []).append(condition)
    if not by_rule:
        return []
    document = tomlkit.parse(suite.file.read_text(encoding="utf-8"))
    rules = document.setdefault("rules", tomlkit.aot())
    own = {table["match"]: table for table in rules}
    changes = []
    for match, conditions in by_rule.items():
        rule = next(rule for rule in suite.rules if rule.match == match)
        if match in own and conditions == [c for c in suite.conditions if suite.rule(c) == rule]:
            del own[match]["known_weakness"]
            changes.append(f"rule '{match}': known_weakness removed")
            continue
        for condition in conditions:
            rules.append(_table(rule, condition, inline=not isinstance(rules, AoT)))
            changes.append(f"rule '{glob.escape(condition.path)}' added, with the limits of '{match}'")
    _replace(suite, tomlkit.dumps(document))
    return changes


def _table(rule: Rule, condition: Condition, *, inline: bool) -> Any:
    table = tomlkit.inline_table() if inline else tomlkit.table()
    table.update({"match": glob.escape(condition.path), **rule.limits})
    return table


def _replace(suite: Suite, text: str) -> None:
    try:
        with whole(suite.file) as file:
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"--update-thresholds: {suite.file} can't be written: {error}") from error
