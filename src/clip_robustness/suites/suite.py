"""A suite that was read: its conditions, its rules, and where its data are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clip_robustness.conditions.condition import Condition
from clip_robustness.conditions.kind import CLEAN_SET
from clip_robustness.datasets.source import reader_of
from clip_robustness.files import expanded
from clip_robustness.suites.rules import Limit, Rule, deciding
from clip_robustness.suites.schema import Gate, Profile, SuiteFile

_REMOTE = re.compile(r"\w+://|pipe:")


@dataclass(frozen=True)
class Suite:
    """A suite that was read. Relative files and folders are relative to the TOML; `~` and `$VAR` stand for others."""

    name: str
    file: Path
    settings: SuiteFile
    conditions: tuple[Condition, ...]
    gate: Gate
    profile: Profile
    """What the suite starts from."""
    profile_name: str = ""

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The suite's own, then those of the profile."""
        return (*self.settings.rules, *self.profile.rules)

    def deciding(self, condition: Condition) -> list[Limit]:
        """As `rules.deciding`: the suite's rules come before equally specific ones of the profile."""
        return deciding(self.rules, condition)

    @property
    def limits(self) -> set[str]:
        """Names of those that decide any condition."""
        return {limit.name for condition in self.conditions for limit in self.deciding(condition) if not limit.off}

    def whose(self, rule: Rule) -> str:
        """What to call a rule: by its pattern, and where it stands."""
        place = "the suite" if rule in self.settings.rules else f"profile '{self.profile_name}'"
        return f"rule '{rule.match}' of {place}"

    @property
    def overlap(self) -> str | None:
        """Where near-duplicates are named: a file, or `mini:pretraining`."""
        place = self.settings.conditions.overlap
        return place if place is None or place.startswith("mini:") else str(expanded(place, self.file.parent))

    @property
    def figures(self) -> Path | None:
        """Where published figures of the user's own are."""
        return expanded(self.settings.figures, self.file.parent) if self.settings.figures else None

    @property
    def plugins(self) -> tuple[Path, ...]:
        return tuple(expanded(plugin, self.file.parent) for plugin in self.settings.plugins)

    @property
    def classes(self) -> str:
        """The name of a known class list, or the path of a file."""
        file = expanded(self.settings.classes, self.file.parent)
        return str(file) if file.is_file() else self.settings.classes

    def words(self, condition: Condition) -> tuple[Path | None, str]:
        """The file of a text condition, if any, and the prompts that its table names, '' for the model's own."""
        for table in self.settings.conditions.text:
            if any(condition == other for other in table.expand()):
                file = expanded(table.file, self.file.parent) if table.file else None
                prompts = table.prompts or ""
                beside = expanded(prompts, self.file.parent)
                return file, str(beside) if prompts and beside.is_file() else prompts
        return None, ""

    def data_of(self, condition: Condition) -> str:
        """What the suite calls the data set that a condition is evaluated on."""
        return self.settings.clean_set if condition.data == CLEAN_SET else condition.data

    def clusters(self, data: str) -> str:
        """Which images of a data set belong together, as in `datasets.clusters`; '' where the suite does not say."""
        return self._rule(self.settings.clusters, data)

    def groups(self, data: str) -> str:
        """Which images of a data set are told apart, as in `datasets.groups`; '' where the suite does not say."""
        return self._rule(self.settings.groups, data)

    def _rule(self, rules: Mapping[str, str], data: str) -> str:
        kind, _, file = (rule := rules.get(data, "")).partition(":")
        return f"file:{expanded(file, self.file.parent)}" if kind == "file" else rule

    def source(self, data: str) -> str | None:
        """Where a data set is: a folder, PREFIX:PLACE for a registered reader, or `mini:NAME` for the drawn world; None
        where the suite names none. Raises `InputError` for a prefix that nobody registered."""
        source = self.settings.data.get(data)
        if source is None or source.startswith("mini:"):
            return source
        folder = self.file.parent
        reader, place = reader_of(source, folder)
        kind = reader.name if reader else ""
        if kind == "wds":  # several places stand between '::'
            shards = place.split("::")
            return "wds:" + "::".join(s if _REMOTE.match(s) else str(expanded(s, folder)) for s in shards)
        if kind == "flat":
            images, mark, labels = place.partition("?labels=")
            beside = expanded(labels, folder)  # else it is beside the images
            return f"flat:{expanded(images, folder)}{mark}{beside if beside.is_file() else labels}"
        if kind:
            name, mark, options = place.partition("?")
            inside = expanded(name, folder)
            return f"{kind}:{inside}{mark}{options}" if name[:1] in (*"./~$",) or inside.is_dir() else source
        return str(expanded(source, folder))
