"""Write into a suite's TOML what a run found to be better than its rules say; comments and order stay as they are."""

from __future__ import annotations

import glob
from collections.abc import Collection, Mapping
from typing import Any

import tomlkit
from tomlkit.items import AoT

from clip_robustness.conditions.condition import Condition
from clip_robustness.errors import InputError, reason
from clip_robustness.files import whole
from clip_robustness.suites import Suite
from clip_robustness.suites.rules import Rule


def tighten(suite: Suite, improved: Collection[tuple[Condition, Rule]]) -> list[str]:
    """Known weaknesses that are gone are none any more: the suite's own rule drops `known_weakness` where it improved
    under all of the conditions that it decides; else these get a rule of their own, with the limits that it decides.

    Returns a sentence for each change. Raises `InputError` where the file can't be written.
    """
    decided: dict[Rule, dict[Condition, dict[str, float]]] = {}
    for condition in suite.conditions:
        for limit in suite.deciding(condition) if condition.compared == condition else ():
            if limit.weak:
                decided.setdefault(limit.rule, {}).setdefault(condition, {})[limit.name] = limit.value
    document = tomlkit.parse(suite.file.read_text(encoding="utf-8"))
    rules = document.setdefault("rules", tomlkit.aot())
    changes = []
    for rule, conditions in decided.items():
        gone = [condition for condition in conditions if (condition, rule) in improved]
        if gone and gone == [*conditions] and rule in suite.settings.rules:
            del rules[suite.settings.rules.index(rule)]["known_weakness"]
            changes.append(f"rule '{rule.match}': known_weakness removed")
            continue
        for condition in gone:
            rules.append(_table(condition, conditions[condition], inline=not isinstance(rules, AoT)))
            changes.append(f"rule '{glob.escape(condition.path)}' added, with the limits of '{rule.match}'")
    if changes:
        _replace(suite, tomlkit.dumps(document))
    return changes


def _table(condition: Condition, limits: Mapping[str, float], *, inline: bool) -> Any:
    table = tomlkit.inline_table() if inline else tomlkit.table()
    table.update({"match": glob.escape(condition.path), **limits})
    return table


def _replace(suite: Suite, text: str) -> None:
    try:
        with whole(suite.file) as file:
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"--update-thresholds: {suite.file} can't be written: {reason(error)}") from error
