"""Our kinds of conditions that are data alone; attacks and corruptions are registered where they are programmed."""

from __future__ import annotations

from clip_robustness import registry
from clip_robustness.conditions.benchmark import CORRUPTIONS_OF_MCE
from clip_robustness.conditions.kind import Kind
from clip_robustness.conditions.shifts import kinds_of
from clip_robustness.metrics.benchmark import NOISE_SEQUENCES

_HERE = "clip_robustness.conditions"
_WITH_OWN_CLASSES = ("imagenet-r", "imagenet-a", "objectnet", "imagenet-vid-robust", "ytbb-robust", "cue-conflict")
_FRAMES = 31
CHANGED = ("synthetic", "adversarial")
"""The families that there are worst cases of."""
WORST_OF = "worst-of"
"""Of several conditions: their members are in the parameters."""
_SEQUENCES = {
    "family": "synthetic",
    "source": "Hendrycks & Dietterich 2019, section 3 (ImageNet-P)",
    "runner": f"{_HERE}.sequences.flips",
    "frames": _FRAMES,
    "labels_count": True,
    "read_at": ("difficulty",),
    "but_for": NOISE_SEQUENCES,
    "passes": (_FRAMES, 0),
}
_IMAGENET_C = "Hendrycks & Dietterich 2019, section 3 (ImageNet-C)"
_GEIRHOS = "Geirhos et al. 2019"


def _natural(name: str, source: str) -> Kind:
    return Kind(name, "natural", source, data=name)


_REGISTERED = tuple(kind for found in registry.ours("shift") for kind in kinds_of(found))
_ALL = (
    Kind("clean", "clean", "Russakovsky et al. 2015"),
    *(Kind(f"clean-{name}-classes", "clean", classes_of=name) for name in _WITH_OWN_CLASSES),
    _natural("imagenet-v2", "Recht et al. 2019, matched-frequency"),
    _natural("imagenet-sketch", "Wang et al. 2019"),
    _natural("imagenet-r", "Hendrycks et al. 2021"),
    _natural("imagenet-a", "Hendrycks et al. 2021"),
    _natural("objectnet", "Barbu et al. 2019"),
    _natural("imagenet-vid-robust", "Shankar et al. 2021"),
    _natural("ytbb-robust", "Shankar et al. 2021"),
    Kind(
        "objectnet-all-names",
        "natural",
        "Barbu et al. 2019",
        data="objectnet",
        part=lambda _: "all names",
        all_names=True,
    ),
    Kind(
        "imagenet-c",
        "synthetic",
        _IMAGENET_C,
        pixels=f"{_HERE}.corruptions.corrupt.of_source",
        runs="corruption",
        draws_by=("corruption",),
        drawing=1,
    ),
    Kind(
        "imagenet-c-disk",
        "synthetic",
        _IMAGENET_C,
        data="imagenet-c",
        part=lambda params: f"{params['corruption']}/{params['severity']}",
    ),
    Kind("imagenet-c-mce", "synthetic", _IMAGENET_C, averages="imagenet-c", over=CORRUPTIONS_OF_MCE),
    Kind("imagenet-c-disk-mce", "synthetic", _IMAGENET_C, averages="imagenet-c-disk", over=CORRUPTIONS_OF_MCE),
    Kind(
        "corruption",
        "synthetic",
        pixels=f"{_HERE}.corruptions.corrupt.of_source",
        runs="corruption",
        draws_by=("corruption",),
        drawing=1,
    ),
    Kind(
        "imagenet-p",
        pixels=f"{_HERE}.sequences.drawn",
        draws_by=("perturbation",),
        drawing=_FRAMES,
        **_SEQUENCES,  # type: ignore[arg-type]
    ),
    Kind(
        "imagenet-p-disk",
        data="imagenet-p",
        part=lambda params: (
            f"{params['perturbation']}_{params['difficulty']}"
            if params["perturbation"] in NOISE_SEQUENCES and params["difficulty"] != 1
            else str(params["perturbation"])
        ),
        pixels=f"{_HERE}.sequences.read",
        **_SEQUENCES,  # type: ignore[arg-type]
    ),
    Kind("stylized-imagenet", "synthetic", _GEIRHOS, data="stylized-imagenet"),
    Kind(
        "stylized-local",
        "synthetic",
        "Elnekave & Weiss 2022, towards paintings",
        pixels=f"{_HERE}.stylized.of_source",
        drawing=20,
    ),
    Kind("cue-conflict", "synthetic", _GEIRHOS, data="cue-conflict"),
    *(
        Kind(name, "text", source, about, runner=f"{_HERE}.text.run", pictured=False, takes_file=name == "names")
        for name, source, about in (
            ("templates", "Radford et al. 2021, section 3.1.4", "the worst of the model's templates, each by itself"),
            (
                "synonyms",
                "Fellbaum 1998, WordNet",
                "the worst of WordNet's names, or of a file's",
            ),
            (
                "typos",
                "Levenshtein 1966, distance 1",
                "the worst of five draws, a letter more, less or another",
            ),
            ("typos-search", "Levenshtein 1966, distance 1", "the typo of each name that moves its text the furthest"),
            ("names", "Carlsson et al. 2022, Multilingual-CLIP", "names and prompts of a file, as in another language"),
        )
    ),
    Kind("typographic-disk", "adversarial", "the benchmark's ImageNet-T", data="typographic"),
    *(Kind(WORST_OF, f, "Carlini et al. 2019, per-example success", pictured=False) for f in CHANGED),
    *_REGISTERED,
)
_BY_NAME = {(kind.family, kind.name): kind for kind in _ALL}
DATA_SETS = tuple(dict.fromkeys(kind.data for kind in _ALL))


NAMES = {
    family: tuple(kind.name for kind in _ALL if kind.family == family and kind.name != WORST_OF)
    for family in ("clean", "natural", "adversarial", "text")
}


def all_code() -> list[str]:
    """What our conditions are computed by, as 'module.name'."""
    attacks = [Kind.of_attack(found.name, found) for found in registry.ours("attack")]
    kinds = {name for kind in (*_ALL, *attacks) for name in kind.code}
    return sorted(kinds | {found.reference for found in registry.ours("corruption")})


def known_shifts(family: str = "natural") -> list[str]:
    """The conditions of a family that are sets: ours, of synthetic ones the registered, and those of others."""
    ours = NAMES.get(family) or [kind.name for kind in _REGISTERED if kind.family == family]
    return [*ours, *(name for of, name in _of_others() if of == family)]


def _of_others() -> dict[tuple[str, str], Kind]:
    found = [registry.find("shift", name) for name in registry.names("shift")]
    return {(kind.family, kind.name): kind for shift in found if shift.version for kind in kinds_of(shift)}


def is_ours(name: str) -> bool:
    """Whether a kind of ours has the name, in whatever family."""
    return any(kind.name == name for kind in _ALL)


def kind_of(family: str, name: str) -> Kind:
    """Raises `InputError` for an attack that nobody registered. A natural shift that nobody did is a data set of its
    name."""
    if known := _BY_NAME.get((family, name)):
        return known
    if family == "adversarial" and registry.knows("attack", name):
        return Kind.of_attack(name, registry.find("attack", name))
    if known := _of_others().get((family, name)):
        return known
    if registry.knows("condition", name):
        known = Kind.of_condition(registry.find("condition", name))
        if known.family == family:
            return known
    if family == "adversarial":
        registry.find("attack", name)
    return Kind(name, family, data=name)
