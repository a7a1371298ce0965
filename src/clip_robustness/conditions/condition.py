"""Conditions: what is done to which images before a model sees them. Data only, light to import."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from clip_robustness import registry
from clip_robustness.conditions.benchmark import CORRUPTIONS, STYLIZED
from clip_robustness.conditions.catalogue import DATA_SETS as _OF_CONDITIONS
from clip_robustness.conditions.catalogue import NAMES, kind_of, known_shifts
from clip_robustness.conditions.eps import parse_eps, spelling
from clip_robustness.conditions.kind import CLEAN_SET, Kind
from clip_robustness.errors import InputError, nearest
from clip_robustness.metrics.benchmark import PERTURBATIONS
from clip_robustness.models.spec import selectable

SEVERITIES = (1, 2, 3, 4, 5)
DIFFICULTIES = (1, 2, 3)
NO_EPS = "none"
"""For attacks that are not bounded."""
SEARCH = "min"
"""In the place of eps: the smallest one is searched for each image."""
PAIRS = 100
"""Of queries a step, of the score-based attacks."""
FROST = "frost-textures"
"""The published pictures that the frost corruption can blend images with instead of drawn ones."""
CIFAR = "cifar10"
"""What the clean reference is called under [data] where the classes are CIFAR-10's."""
DATA_SETS = (CLEAN_SET, CIFAR, *(name for name in _OF_CONDITIONS if name != CLEAN_SET), FROST)
NOT_NATURAL = tuple(name for name in DATA_SETS if name not in NAMES["natural"])
OVERLAP = "overlap-"
"""What stands before the name of a natural shift, or of the clean images, that is looked at without its images that
overlap with the pre-training set."""


@dataclass(frozen=True)
class Condition:
    """One column of the benchmark: `family` and `name` of the benchmark, and its parameters in a fixed order.

    `params` values are strings or integers (`eps` is a fraction, '8/255'), so that they survive JSON.
    `samples` is the number of images where it is less than the suite's, for conditions that cost much. `members` are
    the conditions that a worst case, or one under several seeds, is made of; nothing else has any. `file` is the one
    that the suite names for it.
    """

    family: str
    name: str
    params: tuple[tuple[str, str | int], ...] = ()
    samples: int | None = field(default=None, compare=False)
    members: tuple[Condition, ...] = field(default=(), compare=False)
    file: str = field(default="", compare=False)

    @property
    def kind(self) -> Kind:
        """What decides how it is computed and judged. Raises `InputError` for an attack that nobody registered."""
        return kind_of(self.family, self.name)

    @property
    def id(self) -> str:
        """Stable, readable, selectable with `-k`: `imagenet-c-contrast-3`, `bim-8/255`."""
        name = selectable(self.name) if self.kind.crafted_on == "text" else self.name
        return "-".join([name, *(str(value) for _, value in self.params)])

    @property
    def label(self) -> str:
        """What tables call it: `bim 8/255`."""
        return " ".join([self.name, *(str(value) for _, value in self.params)])

    @property
    def path(self) -> str:
        """What the rules' patterns match: `family/id`."""
        return f"{self.family}/{self.id}"

    @property
    def compared(self) -> Condition:
        """The condition whose verdict an overlap cell looks at once more; of all others the condition itself."""
        if self.family != "overlap":
            return self
        name = self.name.removeprefix(OVERLAP)
        return replace(CLEAN if name == CLEAN.name else natural(name), samples=self.samples)

    @property
    def computation(self) -> str:
        """What is computed for it; some differ only in where that is read."""
        own, kind = self.compared, self.compared.kind
        anew = any(value in kind.but_for for _, value in own.params)
        ignored = () if kind.draws else ("seed",)
        params = tuple((k, v) for k, v in own.params if (anew or k not in kind.read_at) and k not in ignored)
        return replace(own, params=params).path

    @property
    def data(self) -> str:
        """The data set that it is evaluated on."""
        return self.members[0].data if self.members else self.compared.kind.data

    @property
    def part(self) -> str:
        """The folder inside the data set, where a data set holds the images of many conditions."""
        return self.members[0].part if self.members else self.kind.part(dict(self.params))

    @property
    def classes_of(self) -> str:
        """The data set whose classes the labels are."""
        return self.kind.classes_of or self.data

    @property
    def text(self) -> str:
        """What follows the colon of its name: for a caption the text that images are moved to."""
        return self.name.partition(":")[2]

    @property
    def given_file(self) -> Path:
        """Raises `InputError` where the suite names none."""
        if not self.file:
            raise InputError(f"{self.path} needs a file: attacks = {{ names = '{self.name}', file = ... }}")
        return Path(self.file)

    @property
    def registered(self) -> registry.Registered | None:
        """The attack or corruption that it runs, or what registered the whole kind."""
        kind = self.kind
        return registry.find(kind.runs, str(self[kind.runs])) if kind.runs else kind.attack or kind.registered

    @property
    def code(self) -> list[str]:
        """What computes its outcomes, as 'module.name'."""
        kind, found = self.kind, self.registered
        named = [kind.pixels, self.runner, kind.craft_set, found.reference if found else ""]
        return [name for name in named if name]

    @property
    def runner(self) -> str:
        """What makes predictions of pixels, as 'module.function'."""
        return self.kind.search if self.searched and self.kind.search else self.kind.runner

    @property
    def random_name(self) -> str:
        """What the random numbers of its images belong to."""
        drawn = [*self.kind.draws_by, *(("seed",) if "seed" in dict(self.params) else ())]
        return " ".join([self.name, *(str(self[name]) for name in drawn)])

    @property
    def searched(self) -> bool:
        """Whether the smallest eps is searched."""
        return dict(self.params).get("eps") == SEARCH

    @property
    def eps(self) -> float | None:
        """In pixel units; None where the smallest is searched, or there is none."""
        written = dict(self.params).get("eps", SEARCH)  # what has none, has none to give
        return None if written == SEARCH else float(parse_eps(str(written)))

    @property
    def pairs(self) -> int:
        """Of queries a step, of a score-based attack."""
        return int(str(dict(self.params).get("pairs", PAIRS)).removesuffix("pairs"))

    @property
    def normalized(self) -> bool:
        """Whether eps is in units of the normalised image."""
        return "eps_space" in dict(self.params)

    @property
    def rounded(self) -> bool:
        """Whether the perturbed image counts as an 8-bit file holds it."""
        return "saved" in dict(self.params)

    @property
    def on_surrogate(self) -> bool:
        """Whether it, or a member, is crafted on a surrogate."""
        return any(each.kind.crafted_on == "surrogate" for each in self.members or (self,))

    def says(self, what: str) -> bool:
        """Whether it, or its kind, has a property: 'is_sequence', 'searched'."""
        return bool(getattr(self.kind, what) if hasattr(self.kind, what) else getattr(self, what))

    def __getitem__(self, key: str) -> str | int:
        return dict(self.params)[key]


CLEAN = Condition("clean", "clean")


def natural(name: str) -> Condition:
    """A shift of the benchmark, or one of the user's own, whose data set the suite names."""
    return Condition("natural", name)


def overlap(shift: Condition) -> Condition:
    """The same without the images that overlap with the pre-training set."""
    return Condition("overlap", OVERLAP + shift.name)


def averaged_by(mean: Condition, conditions: Iterable[Condition]) -> list[Condition]:
    """Those of the conditions that a mean over cells is made of; of several seeds the first."""
    own = [c for c in conditions if c.name == mean.kind.averages and c["corruption"] in mean.kind.over]
    return [c.members[0] if c.members else c for c in own]


def largest(conditions: Iterable[Condition]) -> Condition:
    """Of conditions of one computation the one on the most images: it has the outcomes of all."""
    return max(conditions, key=lambda condition: math.inf if condition.samples is None else condition.samples)


def reference(shift: Condition) -> Condition:
    """The clean images that a shift is compared with: of the same classes, or the part of its set that is no shift."""
    if shift.members:
        return reference(shift.members[0])
    if pair := shift.kind.compared_with:
        return natural(pair)
    name = f"clean-{shift.name}-classes"
    return Condition("clean", name) if name in NAMES["clean"] else CLEAN


def corruption(name: str, severity: int, *, on_disk: bool = False, samples: int | None = None) -> Condition:
    """Of ImageNet-C: made on the fly, or `on_disk`, the published files."""
    if severity not in SEVERITIES:
        raise InputError(f"severity {severity} of imagenet-c does not exist; it goes from 1 to 5")
    params = (("corruption", _known(name, CORRUPTIONS, "corruption")), ("severity", severity))
    return Condition("synthetic", "imagenet-c-disk" if on_disk else "imagenet-c", params, samples)


def corruption_of_set(data: str, name: str, severity: int, samples: int | None = None) -> Condition:
    """One of a published set in ImageNet-C's layout, such as imagenet-c-bar."""
    kind = kind_of("synthetic", data)
    if not kind.over:
        raise InputError(f"corruption set '{data}' is unknown; {nearest(data, corruption_sets())}")
    if severity not in SEVERITIES:
        raise InputError(f"severity {severity} of {data} does not exist; it goes from 1 to 5")
    params = (("corruption", _known(name, kind.over, f"corruption of {data}")), ("severity", severity))
    return Condition("synthetic", data, params, samples)


def corruption_sets() -> list[str]:
    """Those that are registered."""
    return [name for name in known_shifts("synthetic") if not kind_of("synthetic", name).averages]


def any_corruption(name: str, severity: int, samples: int | None = None) -> Condition:
    """One of ImageNet-C, made on the fly, or any other that somebody registered."""
    registry.find("corruption", name)
    if name in CORRUPTIONS:
        return corruption(name, severity, samples=samples)
    if severity not in SEVERITIES:
        raise InputError(f"severity {severity} of corruption '{name}' does not exist; it goes from 1 to 5")
    return Condition("synthetic", "corruption", (("corruption", name), ("severity", severity)), samples)


def mean_corruption(*, on_disk: bool = False) -> Condition:
    """The mean over the fifteen corruptions of ImageNet-C at all severities, and mCE."""
    return Condition("synthetic", ("imagenet-c-disk" if on_disk else "imagenet-c") + "-mce")


def perturbation(name: str, difficulty: int = 1, *, on_disk: bool = False, samples: int | None = None) -> Condition:
    """A kind of sequence of ImageNet-P: made on the fly, or `on_disk`, the published files."""
    if difficulty not in DIFFICULTIES:
        raise InputError(f"difficulty {difficulty} of imagenet-p does not exist; it goes from 1 to 3")
    params = (("perturbation", _known(name, PERTURBATIONS, "perturbation")), ("difficulty", difficulty))
    return Condition("synthetic", "imagenet-p-disk" if on_disk else "imagenet-p", params, samples)


def wording(name: str, file: str | None = None, samples: int | None = None) -> Condition:
    """The same classes in other words; a `file` is part of the id by its name, without folder and ending."""
    params = (("file", _stem(file)),) if file else ()
    return Condition("text", _known(name, NAMES["text"], "text"), params, samples)


def stylized(name: str, samples: int | None = None) -> Condition:
    return Condition("synthetic", _known(name, STYLIZED, "stylized set"), (), samples)


def attack(
    name: str,
    eps: str = "",
    *,
    pairs: int = PAIRS,
    normalized: bool = False,
    rounded: bool = False,
    samples: int | None = None,
    file: str = "",
) -> Condition:
    """At an eps in pixel units, or, where it is 'min', searched for the smallest one. Typographic attacks have none.

    `pairs` other than the benchmark's are part of the id. `normalized`: eps is in units of the normalised image.
    `rounded`: what counts is the prediction for the perturbed image as an 8-bit file holds it. `file`: what it takes;
    its name, without folder and ending, is part of the id.
    """
    kind = attack_kind(name)
    if file and not kind.takes_file:
        raise InputError(f"attack '{name}' takes no file; give those that do a table of their own")
    params: list[tuple[str, str | int]] = [("file", _stem(file))] if file else []
    if kind.eps and eps == NO_EPS and "none" not in kind.eps:
        raise InputError(f"attack '{name}' is given an eps; write one, such as '8/255'")
    if kind.eps and eps == SEARCH and not (kind.search or "eps" in kind.read_at):
        raise InputError(f"attack '{name}' runs at a fixed eps, such as '8/255'")
    if kind.eps and eps != NO_EPS:
        params.append(("eps", eps if eps == SEARCH else spelling(eps)))
    if "pairs" in kind.options and pairs != PAIRS:
        params.append(("pairs", f"{pairs}pairs"))
    for asked, option, param, what in (
        (normalized, "normalized", ("eps_space", "normalized"), 'eps_space = "normalized"'),
        (rounded, "rounded", ("saved", "8bit"), "round_to_8bit = true"),
    ):
        if asked and (option not in kind.options or eps == SEARCH):
            having = [n for n in registry.names("attack") if option in kind_of("adversarial", n).options]
            raise InputError(
                f"{what} is for {', '.join(having)} at a fixed eps, not for '{name}' at '{eps}'; give these a table of "
                "their own"
            )
        if asked:
            params.append(param)
    return Condition("adversarial", name, tuple(params), samples, file=file)


def _stem(file: str) -> str:
    """As ids have it."""
    return re.sub(r"\W", "_", PurePath(file).stem)


def attack_kind(name: str) -> Kind:
    """Raises `InputError` for an attack that nobody registered, and for what lacks a text behind its colon."""
    if not registry.knows("attack", name):
        _known(name, (*known_shifts("adversarial"), *registry.names("attack")), "attack")
    kind = kind_of("adversarial", name)
    if name.endswith(":"):
        raise InputError(f"attack '{name}' needs a text, such as '{name}{kind.example}'")
    return kind


def _known(name: str, names: tuple[str, ...], what: str) -> str:
    if name not in names:
        raise InputError(f"{what} '{name}' is unknown; {nearest(name, names)}")
    return name
