"""What the benchmark is made of: names alone, each list in its order. Light to import."""

from clip_robustness.metrics.benchmark import PERTURBATIONS

NATURAL = (
    "imagenet-v2",
    "imagenet-sketch",
    "imagenet-r",
    "imagenet-a",
    "objectnet",
    "imagenet-vid-robust",
    "ytbb-robust",
    "objectnet-all-names",
)
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
STYLIZED = ("stylized-imagenet", "stylized-local", "cue-conflict")
ATTACKS = (
    "fgsm",
    "bim",
    "mim",
    "deepfool",
    "transfer-fgsm",
    "transfer-bim",
    "transfer-mim",
    "transfer-dim",
    "nes",
    "spsa",
    "typographic",
)
"""The eleven."""
BENCHMARK = frozenset(
    {
        *NATURAL,
        *("imagenet-c", "imagenet-c-disk", "imagenet-c-mce", "imagenet-c-disk-mce", "imagenet-p", "imagenet-p-disk"),
        *STYLIZED,
        *ATTACKS,
        "typographic-disk",
    }
)
"""Kinds of conditions; all others go beyond it."""

__all__ = ["ATTACKS", "BENCHMARK", "CORRUPTIONS", "CORRUPTIONS_OF_MCE", "NATURAL", "PERTURBATIONS", "STYLIZED"]
