"""Kinds of conditions: what each says of itself, so that nobody asks for its name. Data only, light to import.

What is computed is named as 'module.function' and imported when it runs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from clip_robustness.conditions.benchmark import BENCHMARK, CORRUPTIONS_OF_MCE
from clip_robustness.errors import InputError
from clip_robustness.registry import Access, Registered

Option = Literal["pairs", "normalized", "rounded"]
_HERE = "clip_robustness.conditions"
CLEAN_SET = "imagenet"
"""The clean reference, which corruptions and attacks start from, unless a suite calls it otherwise."""


_NO_FIGURES = (
    *("source", "about", "compared_with", "pair_by", "data", "part", "averages", "over", "passes", "drawing"),
    *("attack", "registered", "levels", "access", "eps", "options", "example", "pictured", "stronger_than", "draws"),
)
"""Fields that no outcome depends on; the data set and what is registered count by themselves."""


@dataclass(frozen=True)
class Kind:
    """A kind of condition. The defaults are those of images that are shown as they are."""

    name: str
    family: str
    source: str = ""
    """The paper that defines it, and where in it."""
    about: str = ""
    """A line for `clip-robustness ls`."""
    compared_with: str = ""
    """The natural shift that is its clean reference; default: the clean images."""
    pair_by: str = ""
    """A regular expression whose first group, of an image's id, names its partner there; in the order of ids."""
    data: str = CLEAN_SET
    """The data set that it is evaluated on."""
    part: Callable[[Mapping[str, str | int]], str] = lambda _: ""
    """Parameters -> the folder inside the data set, where that holds the images of many conditions."""
    classes_of: str = ""
    """The data set whose classes the labels are; default: its own data set."""
    all_names: bool = False
    """Whether it asks for all of the data set's classes, also those that ImageNet does not have."""
    pixels: str = ""
    """What makes the pixels, as `corruptions.corrupt.corrupted` does; default: they are as the model crops them."""
    draws_by: tuple[str, ...] = ()
    """Parameters that the random numbers of an image depend on beside the name."""
    runs: Literal["", "corruption"] = ""
    """The parameter that names what is registered, and run on each image."""
    runner: str = f"{_HERE}.scoring.top_1"
    """What makes predictions of pixels, as `scoring.top_1` does."""
    frames: int = 1
    """Of an image, about: how many images make a batch depends on it."""
    labels_count: bool = False
    """Whether what is predicted for an image depends on its label."""
    read_at: tuple[str, ...] = ()
    """Parameters that one computation is read at any value of."""
    but_for: tuple[str, ...] = ()
    """Values of other parameters for which it is not so."""
    averages: str = ""
    """The kind whose cells it is the mean of."""
    over: tuple[str, ...] = ()
    """The corruptions of a set, or those that it is the mean over."""
    passes: tuple[float, float] = (1, 0)
    """Forward passes an image without a gradient, and with it, about: the mean over models of 40 to 90% robust
    accuracy, of which an image that is wrong when clean takes one, and one that is fooled early a few."""
    drawing: float = 0
    """Forward passes that take as long as making the pixels of an image does."""
    registered: Registered | None = None
    """The whole kind, where others registered it."""
    levels: tuple[tuple[str, tuple[str | int, ...]], ...] = ()
    """Its parameters then, and the values that each may have."""

    # of attacks
    attack: Registered | None = None
    """What the runner runs."""
    access: Access | None = None
    search: str = ""
    """The runner at eps 'min', which searches the smallest for each image; '': there is no search."""
    eps: tuple[str, ...] = ()
    """Whether it has a 'fixed' eps, whether 'none' is allowed."""
    options: tuple[Option, ...] = ()
    """Those of a suite's table that it has."""
    rejects: bool = False
    """Whether its images are of no class, and are to be told from those that are."""
    takes_file: bool = False
    """Whether it needs a file, which the suite names."""
    crafted_on: Literal["", "surrogate", "text", "wordings"] = ""
    """A surrogate, or the model itself over the text that follows the name."""
    example: str = ""
    """Of what follows a name that ends in a colon."""
    craft_set: str = ""
    """What chooses the images that it is crafted on, once for all of them."""
    reads_names: bool = False
    """Whether it depends on what classes are called."""
    pictured: bool = True
    """Whether the gallery shows it: what takes hundreds of passes an image, or runs elsewhere, is not done again."""
    draws: bool = True
    """Whether it draws random numbers; without it is the same under all seeds, and computed once."""
    stronger_than: tuple[str, ...] = ()
    """Attacks that it should be at least as strong as."""

    @property
    def zero_shot_only(self) -> bool:
        """Whether supervised models can't be asked, because they have no such classes or read no text."""
        return self.all_names or self.crafted_on in ("text", "wordings") or self.is_wording

    @property
    def is_reference(self) -> bool:
        """Whether it is the clean images, which others are compared with."""
        return self.family == "clean"

    @property
    def is_shift(self) -> bool:
        """Whether it is a natural shift, of which there may be a trend."""
        return self.family == "natural"

    @property
    def is_wording(self) -> bool:
        """Whether it says the same classes in other words."""
        return self.family == "text"

    @property
    def is_attack(self) -> bool:
        """Whether images were attacked, here or before they were published."""
        return self.family == "adversarial"

    @property
    def tells_of_labels(self) -> bool:
        """Whether an accuracy at chance shows that labels do not fit. Attacks may leave a model there."""
        return self.is_reference or (self.is_shift and not self.rejects)

    @property
    def is_repeated(self) -> bool:
        """Whether it looks at another condition once more, without the images that overlap."""
        return self.family == "overlap"

    @property
    def changes(self) -> bool:
        """Whether it does something to images; others have their own, or are the clean ones."""
        return bool(self.pixels or self.attack)

    @property
    def is_sequence(self) -> bool:
        return self.frames > 1

    @property
    def is_mce(self) -> bool:
        """Whether it is a mean over what AlexNet's errors, which mCE is relative to, are known for."""
        return bool(self.averages) and self.over == CORRUPTIONS_OF_MCE

    @property
    def in_benchmark(self) -> bool:
        return self.name in BENCHMARK or self.family in ("clean", "overlap")

    @property
    def told(self) -> Mapping[str, Any]:
        """What outcomes depend on beside code and parameters."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NO_FIGURES}

    @property
    def code(self) -> list[str]:
        """What it is computed by, whatever the parameters, as 'module.name'."""
        named = [self.pixels, self.runner, self.search, self.craft_set, self.attack.reference if self.attack else ""]
        return [name for name in named if name]

    @classmethod
    def of_attack(cls, name: str, found: Registered) -> Kind:
        """As it is registered: `runner` names one of ours, 'itself', or a module that has a `run`, and a `search` where
        there is one; `craft_set` a function beside it, or 'module.function'. By default it is a function of images at a
        fixed eps."""
        given = dict(found.options)
        base, searches = given.pop("runner", "function"), given.pop("search", False)
        module = base if "." in base else f"{_HERE}.attacks.runners.{base}"
        given["runner"] = found.reference if base == "itself" else f"{module}.run"
        given["search"] = f"{module}.search" if searches else ""
        if chooses := given.get("craft_set"):
            given["craft_set"] = chooses if "." in chooses else f"{found.reference.rpartition('.')[0]}.{chooses}"
        defaults: Mapping[str, Any] = {"labels_count": True, "eps": ("fixed",), "passes": (1, 20)}
        try:
            return cls(name, "adversarial", attack=found, **{**defaults, **given})
        except TypeError as error:
            raise InputError(f"{found}: {str(error).partition(') ')[2]}") from None

    @classmethod
    def of_condition(cls, found: Registered) -> Kind:
        """As it is registered whole. Its random numbers are the same at all parameters."""
        given = dict(found.options)
        params = given.pop("params", {})
        if not isinstance(params, dict) or not all(isinstance(own, (tuple, list)) and own for own in params.values()):
            raise InputError(f'{found}: params give each name its values, as in params={{"level": (1, 2, 3)}}')
        levels = tuple((key, tuple(values)) for key, values in params.items())
        family = given.pop("family", "synthetic")
        if family not in ("natural", "synthetic"):
            raise InputError(f"{found}: its family is natural or synthetic, not '{family}'")
        if (runner := given.get("runner", "")) and "." not in runner:
            given["runner"] = f"{found.reference.rpartition('.')[0]}.{runner}"
        try:
            return cls(
                found.name, family, pixels=f"{_HERE}.registered.of_source", levels=levels, registered=found, **given
            )
        except TypeError as error:
            raise InputError(f"{found}: {str(error).partition(') ')[2]}") from None


def load(reference: str) -> Any:
    """What a 'module.attribute' names."""
    module, _, attribute = reference.rpartition(".")
    return getattr(importlib.import_module(module), attribute)
