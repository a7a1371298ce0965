"""What means of the benchmark are over. Data only, light to import."""

NOISE_SEQUENCES = ("gaussian_noise", "shot_noise")
"""Sequences without order: their frames are compared with the first, clean one, and their difficulty is the strength of
the noise; the others' is how far apart the compared frames are."""
PERTURBATIONS = (
    *NOISE_SEQUENCES,
    "motion_blur",
    "zoom_blur",
    "snow",
    "brightness",
    "translate",
    "rotate",
    "tilt",
    "scale",
)
"""The ten of ImageNet-P, which mFP is about."""
