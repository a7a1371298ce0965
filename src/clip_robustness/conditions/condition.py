"""Conditions: what is done to which images before a model sees them. Data only, light to import."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import partial

from clip_robustness.conditions import registry
from clip_robustness.errors import InputError, nearest
from clip_robustness.metrics.benchmark import NOISE_SEQUENCES, PERTURBATIONS
from clip_robustness.models.spec import selectable

_NATURAL_WITH_OWN_CLASSES = ("imagenet-r", "imagenet-a", "objectnet", "imagenet-vid-robust", "ytbb-robust")
_ALL_NAMES = "objectnet-all-names"
NATURAL = ("imagenet-v2", "imagenet-sketch", *_NATURAL_WITH_OWN_CLASSES, _ALL_NAMES)
"""The seven; objectnet once more with all of its classes, most of which only a zero-shot model can be asked for."""
CORRUPTIONS = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
    "speckle_noise",
    "gaussian_blur",
    "spatter",
    "saturate",
)
"""The fifteen of ImageNet-C, which mCE is about, and its four extra ones."""
CORRUPTIONS_OF_MCE = CORRUPTIONS[:15]
SEVERITIES = (1, 2, 3, 4, 5)
DIFFICULTIES = (1, 2, 3)
MCE = "-mce"
"""What follows the name of imagenet-c, made on the fly or from disk, for the mean over all of its cells."""
STYLIZED = ("stylized-imagenet", "stylized-local", "cue-conflict")
WHITE_BOX, BY_TRANSFER, BY_SCORE = ("fgsm", "bim", "mim"), ("fgsm", "bim", "mim", "dim"), ("nes", "spsa")
TYPOGRAPHIC, TYPOGRAPHIC_DISK = "typographic", "typographic-disk"
ATTACKS = (*WHITE_BOX, "deepfool", *(f"transfer-{name}" for name in BY_TRANSFER), *BY_SCORE, TYPOGRAPHIC)
"""The eleven, in the order of the benchmark."""
EXTENDED = ("pgd", "apgd-ce", "apgd-t", "fab", "square", "autoattack")
CAPTION = "caption:"
"""What stands before the text that images are moved to, in a zero-shot model's embedding."""
UNIVERSAL = "universal"
"""One perturbation for all images."""
TORCHATTACKS = "torchattacks:"
"""What stands before the name of any attack of that library, with its options: 'torchattacks:CW?c=1'."""
OF_PLUGINS = "corruption"
"""The name of the conditions that corruptions of plugins are."""
registry.reserve("corruption", CORRUPTIONS)
registry.reserve("attack", (*ATTACKS, *EXTENDED, TYPOGRAPHIC_DISK, UNIVERSAL))
NO_EPS = "none"
"""For attacks that are not bounded."""
SEARCH = "min"
"""In the place of eps: the smallest one is searched for each image."""
PAIRS = 100
"""Of queries a step, of the score-based attacks."""
CLEAN_SET = "imagenet"
"""The clean reference, which corruptions and attacks start from, unless a suite calls it otherwise."""
_OWN_DATA = {
    **{name: name for name in NATURAL},
    _ALL_NAMES: "objectnet",
    "imagenet-c-disk": "imagenet-c",
    "imagenet-p-disk": "imagenet-p",
    "stylized-imagenet": "stylized-imagenet",
    "cue-conflict": "cue-conflict",
    "typographic-disk": "typographic",
}
"""Conditions with images of their own -> their data set; all others start from the clean reference."""
FROST = "frost-textures"
"""The published pictures that the frost corruption can blend images with instead of drawn ones."""
CIFAR = "cifar10"
"""What the clean reference is called under [data] where the classes are CIFAR-10's."""
DATA_SETS = tuple(dict.fromkeys((CLEAN_SET, CIFAR, *_OWN_DATA.values(), FROST)))
NOT_NATURAL = tuple(name for name in DATA_SETS if name not in NATURAL)
OVERLAP = "overlap-"
"""What stands before the name of a natural shift, or of the clean images, that is looked at without its images that
overlap with the pre-training set."""
_REFERENCES = {f"clean-{name}-classes": name for name in (*_NATURAL_WITH_OWN_CLASSES, "cue-conflict")}
"""Conditions on clean images of the classes of a data set -> the data set."""


@dataclass(frozen=True)
class Condition:
    """One column of the benchmark: `family` and `name` of the benchmark, and its parameters in a fixed order.

    `params` values are strings or integers (`eps` is a fraction, '8/255'), so that they survive JSON.
    `samples` is the number of images where it is less than the suite's, for conditions that cost much.
    """

    family: str
    name: str
    params: tuple[tuple[str, str | int], ...] = ()
    samples: int | None = field(default=None, compare=False)

    @property
    def id(self) -> str:
        """Stable, readable, selectable with `-k`: `imagenet-c-contrast-3`, `bim-8/255`."""
        name = selectable(self.name) if self.caption else self.name
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
        return CLEAN if name == CLEAN.name else natural(name)

    @property
    def computation(self) -> str:
        """What is computed for it. Sequences with an order have the same frames at every difficulty."""
        if self.family == "overlap":
            return self.compared.computation
        if self.is_sequence and self["perturbation"] not in NOISE_SEQUENCES:
            return f"{self.family}/{self.name}-{self['perturbation']}"
        return f"{self.family}/{self.name}" if self.name == "deepfool" else self.path

    @property
    def data(self) -> str:
        """The data set that it is evaluated on; a natural shift that is not the benchmark's has one of its name."""
        shift = self.compared
        return _OWN_DATA.get(shift.name, shift.name if shift.family == "natural" else CLEAN_SET)

    @property
    def part(self) -> str:
        """The folder inside the data set, where a data set holds the images of many conditions."""
        if self.name == "imagenet-c-disk":
            return f"{self['corruption']}/{self['severity']}"
        if self.name == "imagenet-p-disk":
            name, difficulty = str(self["perturbation"]), self["difficulty"]
            return f"{name}_{difficulty}" if name in NOISE_SEQUENCES and difficulty != 1 else name
        return ""

    @property
    def all_names(self) -> bool:
        """Whether it asks for all of a data set's classes, also those that ImageNet does not have."""
        return self.name == _ALL_NAMES

    @property
    def caption(self) -> str:
        """The text that images are moved to; '' for all other conditions."""
        return self.name.removeprefix(CAPTION) if self.name.startswith(CAPTION) else ""

    @property
    def zero_shot_only(self) -> bool:
        """Whether supervised models can't be asked, because they have no such classes or read no text."""
        return self.all_names or bool(self.caption)

    @property
    def extended(self) -> bool:
        """Whether it is an attack beyond the benchmark's eleven."""
        return self.family == "adversarial" and self.name not in (*ATTACKS, TYPOGRAPHIC_DISK)

    @property
    def registered(self) -> registry.Registered | None:
        """The function of a plugin that it runs; None for our own. Imports the plugin's package."""
        if self.name == OF_PLUGINS:
            return registry.find("corruption", str(self["corruption"]))
        ours = (*EXTENDED, UNIVERSAL)
        if self.extended and self.name not in ours and not self.of_peer and not self.caption:
            return registry.find("attack", self.name)
        return None

    @property
    def of_peer(self) -> bool:
        """Whether another library attacks."""
        return self.name.startswith(TORCHATTACKS)

    @property
    def on_surrogate(self) -> str:
        """The attack that is crafted on a surrogate; '' for all others."""
        return self.name.removeprefix("transfer-") if self.name.startswith("transfer-") else ""

    @property
    def eps(self) -> float | None:
        """In pixel units; None where the smallest is searched, or there is none."""
        written = dict(self.params).get("eps", SEARCH)  # what has none, has none to give
        return None if written == SEARCH else float(parse_eps(str(written)))

    @property
    def by_score(self) -> bool:
        """Whether it is an attack that sees the scores alone, and takes no gradient."""
        return self.name in (*BY_SCORE, "square")

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
    def averaged(self) -> str:
        """The condition whose cells it is the mean of; '' for all others."""
        return self.name.removesuffix(MCE) if self.name.endswith(MCE) else ""

    @property
    def attacked(self) -> bool:
        """Whether this program attacks: published typographic attacks are images like others."""
        return self.family == "adversarial" and self.name != TYPOGRAPHIC_DISK

    @property
    def is_sequence(self) -> bool:
        return self.name in ("imagenet-p", "imagenet-p-disk")

    @property
    def classes_of(self) -> str:
        """The data set whose classes the labels are."""
        return _REFERENCES.get(self.name, self.data)

    def __getitem__(self, key: str) -> str | int:
        return dict(self.params)[key]


CLEAN = Condition("clean", "clean")


def parse_eps(text: str) -> Fraction:
    """'8/255', '0.5/255' or '0.03' -> its exact value in pixel units, images in [0, 1].

    Raises `InputError` outside (0, 1].
    """
    numerator, _, denominator = text.partition("/")
    try:
        eps = Fraction(numerator) / Fraction(denominator or 1)
    except (ValueError, ZeroDivisionError):
        raise InputError(f"eps '{text}' is not a number; write it as '8/255'") from None
    if not 0 < eps <= 1:
        raise InputError(f"eps '{text}' is outside (0, 1]: images are in [0, 1]; did you mean '{text}/255'?")
    return eps


def _spelling(text: str) -> str:
    """How an eps is written in ids: '1/510' and '0.50/255' as '0.5/255'.

    Only fractions over a multiple of 255, and those with decimals in them, are written anew: '8/256' and '0.03' stay.
    """
    eps = parse_eps(text)
    _, bar, denominator = text.partition("/")
    levels = 255 * eps
    decimal = Decimal(levels.numerator) / levels.denominator
    if bar and Fraction(denominator) % 255 == 0 and Fraction(decimal) == levels:
        return f"{decimal:f}/255"
    return str(eps) if bar and not re.fullmatch(r"\d+/\d+", text) else text


def natural(name: str) -> Condition:
    """A shift of the benchmark, or one of the user's own, whose data set the suite names."""
    return Condition("natural", name)


def overlap(shift: Condition) -> Condition:
    """The same without the images that overlap with the pre-training set."""
    return Condition("overlap", OVERLAP + shift.name)


def averaged_by(mean: Condition, conditions: Iterable[Condition]) -> list[Condition]:
    """Those of the conditions that a mean over cells is made of."""
    return [c for c in conditions if c.name == mean.averaged and c["corruption"] in CORRUPTIONS_OF_MCE]


def largest(conditions: Iterable[Condition]) -> Condition:
    """Of conditions of one computation the one on the most images: it has the outcomes of all."""
    return max(conditions, key=lambda condition: math.inf if condition.samples is None else condition.samples)


def reference(shift: Condition) -> Condition:
    """The clean images that a shift is compared with: of the same classes."""
    return next((Condition("clean", name) for name, data in _REFERENCES.items() if data == shift.name), CLEAN)


def corruption(name: str, severity: int, *, on_disk: bool = False, samples: int | None = None) -> Condition:
    """Of ImageNet-C: made on the fly, or `on_disk`, the published files."""
    if severity not in SEVERITIES:
        raise InputError(f"severity {severity} of imagenet-c does not exist; it goes from 1 to 5")
    params = (("corruption", _known(name, CORRUPTIONS, "corruption")), ("severity", severity))
    return Condition("synthetic", "imagenet-c-disk" if on_disk else "imagenet-c", params, samples)


def any_corruption(name: str, severity: int, samples: int | None = None) -> Condition:
    """One of ImageNet-C, made on the fly, or one of a plugin."""
    if not registry.knows("corruption", name):
        _known(name, (*CORRUPTIONS, *registry.names("corruption")), "corruption")
        return corruption(name, severity, samples=samples)
    if severity not in SEVERITIES:
        raise InputError(f"severity {severity} of corruption '{name}' does not exist; it goes from 1 to 5")
    return Condition("synthetic", OF_PLUGINS, (("corruption", name), ("severity", severity)), samples)


def mean_corruption(*, on_disk: bool = False) -> Condition:
    """The mean over the fifteen corruptions of ImageNet-C at all severities, and mCE."""
    return Condition("synthetic", ("imagenet-c-disk" if on_disk else "imagenet-c") + MCE)


def perturbation(name: str, difficulty: int = 1, *, on_disk: bool = False, samples: int | None = None) -> Condition:
    """A kind of sequence of ImageNet-P: made on the fly, or `on_disk`, the published files."""
    if difficulty not in DIFFICULTIES:
        raise InputError(f"difficulty {difficulty} of imagenet-p does not exist; it goes from 1 to 3")
    params = (("perturbation", _known(name, PERTURBATIONS, "perturbation")), ("difficulty", difficulty))
    return Condition("synthetic", "imagenet-p-disk" if on_disk else "imagenet-p", params, samples)


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
) -> Condition:
    """At an eps in pixel units, or, where it is 'min', searched for the smallest one. Typographic attacks have none.

    `pairs` other than the benchmark's are part of the id. `normalized`: eps is in units of the normalised image.
    `rounded`: what counts is the prediction for the perturbed image as an 8-bit file holds it.
    """
    params: list[tuple[str, str | int]] = []
    if name == CAPTION:
        raise InputError(f"attack '{name}' needs a text, such as '{CAPTION}a photo of a dog'")
    if not name.startswith((TORCHATTACKS, CAPTION)) and not registry.knows("attack", name):
        _known(name, (*ATTACKS, TYPOGRAPHIC_DISK, *EXTENDED, UNIVERSAL, *registry.names("attack")), "attack")
    if eps == NO_EPS and registry.knows("attack", name):
        raise InputError(f"attack '{name}' is given an eps; write one, such as '8/255'")
    if not name.startswith(TYPOGRAPHIC) and eps != NO_EPS:
        if eps != SEARCH:
            eps = _spelling(eps)
        elif Condition("adversarial", name).extended:
            raise InputError(f"attack '{name}' runs at a fixed eps, such as '8/255'")
        params.append(("eps", eps))
    if name in BY_SCORE and pairs != PAIRS:
        params.append(("pairs", f"{pairs}pairs"))
    for asked, key, value, what in (
        (normalized, "eps_space", "normalized", 'eps_space = "normalized"'),
        (rounded, "saved", "8bit", "round_to_8bit = true"),
    ):
        if asked and (name not in (*WHITE_BOX, *BY_SCORE) or eps == SEARCH):
            raise InputError(
                f"{what} is for {', '.join((*WHITE_BOX, *BY_SCORE))} at a fixed eps, not for '{name}' at '{eps}'; "
                "give these a table of their own"
            )
        if asked:
            params.append((key, value))
    return Condition("adversarial", name, tuple(params), samples)


def _known(name: str, names: tuple[str, ...], what: str) -> str:
    if name not in names:
        raise InputError(f"{what} '{name}' is unknown; {nearest(name, names)}")
    return name


def condition_of(text: str) -> Condition:
    """The condition of an id: `clean`, `bim-8/255`, `imagenet-c-fog-3`, or of a natural shift, ours or the user's own.

    Raises `InputError` for what looks like an attack, a corruption or a sequence and is none.
    """
    if text in _NAMED:
        return _NAMED[text]
    if text.startswith(OVERLAP):
        return overlap(condition_of(text.removeprefix(OVERLAP)))
    for kind, make in _WITH_LEVELS.items():
        if text.startswith(f"{kind}-"):
            name, _, level = text.removeprefix(f"{kind}-").rpartition("-")
            return make(name, int(level) if level.isdecimal() else 0)
    attacks = (*ATTACKS, *EXTENDED, UNIVERSAL, *registry.names("attack"))
    if (found := _ATTACK.fullmatch(text)) and (found["name"] in attacks or text.startswith((TORCHATTACKS, CAPTION))):
        pairs, normalized, rounded = int(found["pairs"] or PAIRS), bool(found["normalized"]), bool(found["rounded"])
        return attack(found["name"], found["eps"], pairs=pairs, normalized=normalized, rounded=rounded)
    if text in (TYPOGRAPHIC, TYPOGRAPHIC_DISK):
        return attack(text)
    return stylized(text) if text in STYLIZED else natural(text)


_ATTACK = re.compile(
    r"(?P<name>.+?)-(?P<eps>[^-]+?)(-(?P<pairs>\d+)pairs)?(?P<normalized>-normalized)?(?P<rounded>-8bit)?"
)
_NAMED = {
    condition.id: condition
    for condition in (
        CLEAN,
        *(Condition("clean", name) for name in _REFERENCES),
        mean_corruption(),
        mean_corruption(on_disk=True),
    )
}
_WITH_LEVELS: dict[str, Callable[[str, int], Condition]] = {  # the longer names first
    "imagenet-c-disk": partial(corruption, on_disk=True),
    "imagenet-p-disk": partial(perturbation, on_disk=True),
    "imagenet-c": corruption,
    "imagenet-p": perturbation,
    OF_PLUGINS: any_corruption,
}
