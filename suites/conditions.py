"""Conditions: what is done to which images before a model sees them. Data only, light to import."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from models.errors import InputError, nearest

_WITH_OWN_CLASSES = ("imagenet-r", "imagenet-a", "objectnet", "imagenet-vid-robust", "ytbb-robust")
NATURAL = ("imagenet-v2", "imagenet-sketch", *_WITH_OWN_CLASSES)
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
SEVERITIES = (1, 2, 3, 4, 5)
ATTACKS = ("fgsm", "bim")
CLEAN_SET = "imagenet"
"""The clean reference, which corruptions and attacks start from."""
DATA_SETS = (CLEAN_SET, *NATURAL)
_REFERENCES = {f"clean-{name}-classes": name for name in _WITH_OWN_CLASSES}
"""Conditions on clean images of the classes of a natural shift -> the shift that they are the reference of."""


@dataclass(frozen=True)
class Condition:
    """One column of the benchmark: `family` and `name` of the benchmark, and its parameters in a fixed order.

    `params` values are strings or integers (`eps` is the fraction as written, '8/255'), so that they survive JSON.
    """

    family: str
    name: str
    params: tuple[tuple[str, str | int], ...] = ()

    @property
    def id(self) -> str:
        """Stable, readable, selectable with `-k`: `imagenet-c-contrast-3`, `bim-8/255`."""
        return "-".join([self.name, *(str(value) for _, value in self.params)])

    @property
    def path(self) -> str:
        """What the rules' patterns match: `family/id`."""
        return f"{self.family}/{self.id}"

    @property
    def data(self) -> str:
        """The data set that it is evaluated on."""
        return self.name if self.family == "natural" else CLEAN_SET

    @property
    def classes_of(self) -> str:
        """The data set whose classes the labels are."""
        return _REFERENCES.get(self.name, self.data)

    def __getitem__(self, key: str) -> str | int:
        return dict(self.params)[key]


CLEAN = Condition("clean", "clean")


def parse_eps(text: str) -> Fraction:
    """'8/255' or '0.03' -> its exact value in pixel units, images in [0, 1]. Raises `InputError` outside (0, 1]."""
    try:
        eps = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise InputError(f"eps '{text}' is not a number; write it as '8/255'") from None
    if not 0 < eps <= 1:
        raise InputError(f"eps '{text}' is outside (0, 1]: images are in [0, 1]; did you mean '{text}/255'?")
    return eps


def natural(name: str) -> Condition:
    return Condition("natural", _known(name, NATURAL, "natural shift"))


def reference(shift: Condition) -> Condition:
    """The clean images that a natural shift is compared with: of the same classes."""
    return next((Condition("clean", name) for name, data in _REFERENCES.items() if data == shift.name), CLEAN)


def corruption(name: str, severity: int) -> Condition:
    if severity not in SEVERITIES:
        raise InputError(f"severity {severity} of imagenet-c does not exist; it goes from 1 to 5")
    known = _known(name, CORRUPTIONS, "corruption")
    return Condition("synthetic", "imagenet-c", (("corruption", known), ("severity", severity)))


def attack(name: str, eps: str) -> Condition:
    parse_eps(eps)
    return Condition("adversarial", _known(name, ATTACKS, "attack"), (("eps", eps),))


def _known(name: str, names: tuple[str, ...], what: str) -> str:
    if name not in names:
        raise InputError(f"{what} '{name}' is unknown; {nearest(name, names)}")
    return name
