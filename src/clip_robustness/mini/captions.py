"""Captions for pictures of the drawn world, in the loose manner of alt texts on the web."""

from __future__ import annotations

from clip_robustness.mini.objects import Rng
from clip_robustness.mini.world import CLASSES, Scene

_MEDIUM: dict[str, tuple[str, ...]] = {
    "photo": ("a photo of {}", "a picture of {}", "an image of {}", "a snapshot of {}", "a close-up of {}", "{}", "{}"),
    "sketch": ("a sketch of {}", "a drawing of {}", "a pencil drawing of {}", "a doodle of {}", "{} drawn in pencil"),
    "cartoon": ("a cartoon of {}", "a comic picture of {}", "an illustration of {}", "{} in a cartoon"),
    "silhouette": ("a silhouette of {}", "the black shape of {}", "a shadow of {}", "a plain silhouette of {}"),
    "neon": ("a neon sign of {}", "neon lights in the shape of {}", "{} in glowing lines", "a glowing {}"),
    "painting": ("a painting of {}", "an oil painting of {}", "art of {}", "{} painted with a brush"),
    "pixel": ("pixel art of {}", "{} in a video game", "a game sprite of {}", "a pixelated picture of {}"),
    "pastel": ("a pastel drawing of {}", "a crayon drawing of {}", "a rendering of {}", "{} in soft pastel"),
}
_FLAW: dict[str, tuple[str, ...]] = {
    "blurred": ("a blurry photo of {}", "{}, out of focus"),
    "noisy": ("a grainy photo of {}", "a bad photo of {}", "a noisy photo of {}"),
    "dark": ("a dark photo of {}", "{} in the dark"),
    "bright": ("a bright photo of {}", "an overexposed photo of {}"),
    "small": ("a low resolution photo of {}", "a pixelated photo of {}"),
    "jpeg": ("a jpeg corrupted photo of {}", "a compressed photo of {}"),
    "grey": ("a black and white photo of {}", "{} in black and white"),
}
_ADJECTIVES = ("nice", "good", "cool", "weird", "clean", "dirty", "old", "new", "beautiful", "simple")


def caption(scene: Scene, flaw: str | None, rng: Rng) -> str:
    """One caption: names the object, mostly the medium or the flaw, sometimes colour, ground, size, and any word."""

    def pick(options: tuple[str, ...]) -> str:
        return options[int(rng.integers(len(options)))]

    if scene.label is None:
        word = scene.words[0]
        forms = ("the word {}", "a sign that says {}", "{}", "a text that reads {}", "{} in letters", "a label with {}")
        return pick(forms).format(word)
    words = [pick(("a", "a", "a", "the", "my", "one", "this"))]
    if rng.random() < 0.15:
        words.append(pick(_ADJECTIVES))
    if rng.random() < 0.25:
        words.append("small" if scene.scale < 0.65 else "large" if scene.scale > 0.8 else "medium")
    if scene.style not in ("sketch", "silhouette") and flaw != "grey" and rng.random() < 0.5:
        words.append(scene.colour)
    thing = " ".join([*words, CLASSES[scene.label]])
    text = pick(_FLAW[flaw] if flaw else _MEDIUM[scene.style]).format(thing).replace("a glowing a ", "a glowing ")
    if scene.style in ("photo", "painting", "pixel", "cartoon", "silhouette") and rng.random() < 0.4:
        text += pick((" on {}", " with {} behind it", " against {}", " and {}")).format(scene.background)
    if scene.words and rng.random() < 0.8:
        text += pick((" with the word {}", " that says {}", " with {} written on it", ", text {}")).format(
            scene.words[0]
        )
    return text + "." if rng.random() < 0.4 else text
