"""The drawn world: scenes (what is in a picture) and how a scene becomes pixels.

A scene is plain data; `draw(scene, rng)` paints it. Everything random comes from the generator that is passed in, so a
picture is a function of its seed alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from clip_robustness.mini.objects import OBJECTS, Rng
from clip_robustness.mini.parts import DARK, LIGHT, MAIN, SECOND, Part
from clip_robustness.models.embedded import SIZE

CLASSES: tuple[str, ...] = tuple(OBJECTS)

Colour = tuple[int, int, int]

COLOURS: dict[str, Colour] = {
    "red": (205, 45, 40),
    "orange": (235, 130, 30),
    "yellow": (240, 210, 60),
    "green": (60, 150, 60),
    "blue": (45, 90, 190),
    "purple": (130, 60, 160),
    "pink": (240, 140, 175),
    "brown": (130, 85, 45),
    "white": (240, 240, 235),
    "grey": (140, 140, 145),
    "black": (40, 40, 45),
}

BACKGROUNDS: dict[str, tuple[Colour, Colour]] = {
    "grass": ((110, 165, 80), (80, 130, 55)),
    "sky": ((150, 195, 235), (205, 225, 245)),
    "sand": ((225, 205, 160), (200, 175, 125)),
    "wood": ((165, 120, 75), (135, 95, 55)),
    "snow": ((235, 240, 245), (210, 220, 230)),
    "water": ((70, 130, 170), (40, 95, 140)),
    "brick": ((165, 90, 70), (140, 70, 55)),
    "stone": ((150, 150, 145), (115, 115, 115)),
    "night": ((35, 40, 70), (15, 15, 35)),
}
"""Surface -> colours at the top and at the bottom."""

STYLES = ("photo", "sketch", "cartoon", "silhouette", "neon", "painting", "pixel", "pastel")
"""`photo` is the clean style, the only one the supervised baseline is trained on."""

_TYPICAL_COLOURS: dict[str, tuple[str, ...]] = {
    "apple": ("red", "green", "yellow"),
    "banana": ("yellow", "yellow", "green"),
    "tree": ("green", "green", "orange"),
    "flower": ("pink", "red", "yellow", "purple"),
    "mushroom": ("red", "brown"),
    "book": ("red", "blue", "brown"),
    "key": ("grey", "yellow"),
    "anchor": ("grey", "black"),
    "airplane": ("white", "grey", "blue"),
    "chair": ("brown", "grey", "white"),
    "hammer": ("grey", "black"),
    "ladder": ("brown", "grey"),
}

_SUPERSAMPLING = 3


@dataclass(frozen=True)
class Scene:
    """What a picture shows. `label` None is a picture of words alone; `scale` is half the object's side over half of
    the picture's; `x`, `y` shift its centre in the same unit; `turn` is in turns; `words` are written on top;
    `company` is another object, behind this one."""

    label: int | None
    style: str = "photo"
    colour: str = "red"
    second: str = "grey"
    background: str = "grass"
    scale: float = 0.75
    x: float = 0.0
    y: float = 0.0
    turn: float = 0.0
    squeeze: float = 1.0
    shear: float = 0.0
    mirrored: bool = False
    clutter: int = 0
    words: tuple[str, ...] = ()
    company: Scene | None = None


def sample_scene(rng: Rng, label: int | None, style: str = "photo") -> Scene:
    """An ordinary scene of a class: typical colours more often than not, moderate pose, any background."""
    names = list(COLOURS)
    typical = _TYPICAL_COLOURS.get(CLASSES[label]) if label is not None else None
    colour = str(rng.choice(typical)) if typical and rng.random() < 0.7 else str(rng.choice(names))
    return Scene(
        label=label,
        style=style,
        colour=colour,
        second=str(rng.choice([c for c in names if c != colour])),
        background=str(rng.choice(list(BACKGROUNDS))),
        scale=rng.uniform(0.55, 0.9),
        x=rng.uniform(-0.15, 0.15),
        y=rng.uniform(-0.15, 0.15),
        turn=rng.normal(0, 0.035),
        squeeze=rng.uniform(0.85, 1.15),
        shear=rng.normal(0, 0.08),
        mirrored=bool(rng.random() < 0.5),
        clutter=int(rng.integers(0, 4)),
    )


def draw(scene: Scene, rng: Rng) -> np.ndarray:
    """Paint a scene: uint8 RGB of shape (SIZE, SIZE, 3)."""
    big = SIZE * _SUPERSAMPLING
    canvas = _ground(scene, rng).resize((big, big), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(canvas)
    if scene.style in ("photo", "painting", "pixel"):
        _scatter_clutter(pen, scene.clutter, rng)
    for thing in (scene.company, scene):
        if thing is not None and thing.label is not None:
            _paint_object(pen, thing, OBJECTS[CLASSES[thing.label]](rng))
    image = canvas.reduce(_SUPERSAMPLING)
    image = Image.fromarray(_finish(image, scene.style, rng))
    for word in scene.words:
        _write(image, word, rng)
    return np.asarray(image)


def _ground(scene: Scene, rng: Rng) -> Image.Image:
    """The background at picture size: a textured gradient, or what the style paints on."""
    if scene.style in ("sketch", "pastel"):
        return Image.new("RGB", (SIZE, SIZE), (*(int(v) for v in rng.integers(236, 254, 3)),))
    if scene.style == "neon":
        return Image.new("RGB", (SIZE, SIZE), (*(int(v) for v in rng.integers(5, 35, 3)),))
    top, bottom = (np.array(c, float) for c in BACKGROUNDS[scene.background])
    if scene.style in ("cartoon", "silhouette"):
        return Image.new("RGB", (SIZE, SIZE), tuple(int(v) for v in (top + rng.uniform(-15, 15, 3)).clip(0, 255)))
    ramp = np.linspace(0, 1, SIZE)[:, None, None]
    pixels = top * (1 - ramp) + bottom * ramp + rng.normal(0, 10, 3)
    cells = int(rng.choice([4, 8, 16]))
    texture = rng.normal(0, 14, (cells, cells)).astype(np.float32)
    patches = Image.fromarray(texture).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    pixels = pixels + np.asarray(patches)[..., None]
    if scene.background in ("wood", "brick", "water"):
        period = rng.uniform(4, 10)
        stripes = np.sin(2 * np.pi * (np.arange(SIZE) / period + rng.random()))
        pixels = pixels + 12 * (stripes[:, None, None] if rng.random() < 0.8 else stripes[None, :, None])
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _scatter_clutter(pen: ImageDraw.ImageDraw, count: int, rng: Rng) -> None:
    """Small shapes that mean nothing."""
    side = SIZE * _SUPERSAMPLING
    for _ in range(count):
        x, y = rng.uniform(0, side, 2)
        w, h = rng.uniform(0.03, 0.14, 2) * side
        colour = tuple(int(v) for v in rng.integers(30, 230, 3))
        shape = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        shape((x - w, y - h, x + w, y + h), fill=colour)


def _paint_object(pen: ImageDraw.ImageDraw, scene: Scene, parts: list[Part]) -> None:
    slots, edge, edge_width = _palette(scene)
    matrix, centre = _placement(scene)
    unit = scene.scale * SIZE * _SUPERSAMPLING / 2
    for part in parts:
        points = [tuple(p) for p in part.points @ matrix.T + centre]
        if part.width:
            width = part.width * unit
            if edge:
                pen.line(points, fill=edge, width=round(width + 2 * edge_width), joint="curve")
            pen.line(points, fill=slots[part.slot], width=max(round(width), 2), joint="curve")
        else:
            pen.polygon(points, fill=slots[part.slot])
            if edge:
                pen.line([*points, points[0]], fill=edge, width=round(edge_width), joint="curve")


def _palette(scene: Scene) -> tuple[dict[int, Colour], Colour | None, float]:
    """The colour of each slot, and colour and width (in pixels of the canvas) of the outlines."""
    main, second = COLOURS[scene.colour], COLOURS[scene.second]
    slots = {MAIN: main, SECOND: second, DARK: (50, 45, 45), LIGHT: (235, 235, 230)}
    if scene.style == "sketch":
        return dict.fromkeys(slots, (248, 248, 248)), (70, 70, 75), 3.5
    if scene.style == "cartoon":
        return slots, (15, 15, 15), 5
    if scene.style == "silhouette":
        return dict.fromkeys(slots, (25, 25, 30)), None, 0
    if scene.style == "neon":
        return dict.fromkeys(slots, (20, 20, 28)), _shade(main, 0.6, 110), 4.5
    if scene.style == "pastel":
        return {slot: _shade(colour, 0.45, 140) for slot, colour in slots.items()}, _shade(main, 0.45, 110), 2.5
    return slots, _shade(main, 0.55, 0), 1.5


def _shade(colour: Colour, factor: float, offset: int) -> Colour:
    red, green, blue = (min(255, int(value * factor + offset)) for value in colour)
    return red, green, blue


def _placement(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Matrix and centre that take unit coordinates to pixels of the supersampled canvas."""
    a = scene.turn * 2 * np.pi
    rotation = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    form = np.array([[(-1 if scene.mirrored else 1) * scene.squeeze, scene.shear], [0, 1 / scene.squeeze]])
    half = SIZE * _SUPERSAMPLING / 2
    return rotation @ form * scene.scale * half, np.array([1 + scene.x, 1 + scene.y]) * half


def _finish(image: Image.Image, style: str, rng: Rng) -> np.ndarray:
    """What happens to the whole picture: light and grain of a photo, brush, pixels, paper."""
    if style == "painting":
        image = image.filter(ImageFilter.ModeFilter(5))
        pixels = np.asarray(image, float) * rng.uniform(0.85, 1.1, 3) + rng.normal(0, 6, (SIZE, SIZE, 1))
    elif style == "pixel":
        side = int(rng.integers(20, 29))
        small = image.resize((side, side), Image.Resampling.BOX).quantize(12).convert("RGB")
        pixels = np.asarray(small.resize((SIZE, SIZE), Image.Resampling.NEAREST), float)
    elif style == "photo":
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.6)))
        direction = rng.normal(0, 0.15, 2)
        ramp = np.linspace(-1, 1, SIZE)
        light = rng.uniform(0.85, 1.12) + direction[0] * ramp[:, None] + direction[1] * ramp[None, :]
        pixels = np.asarray(image, float) * light[..., None] + rng.normal(0, rng.uniform(1, 5), (SIZE, SIZE, 3))
    elif style in ("sketch", "pastel"):
        pixels = np.asarray(image, float) + rng.normal(0, 5, (SIZE, SIZE, 1))
    else:
        pixels = np.asarray(image, float)
    return pixels.clip(0, 255).round().astype(np.uint8)


def _write(image: Image.Image, word: str, rng: Rng) -> None:
    """Write a word somewhere on the picture, in white, black or a colour, as large as it fits or smaller."""
    font = ImageFont.load_default(size=int(rng.integers(9, 18)))
    pen = ImageDraw.Draw(image)
    left, top, right, bottom = pen.textbbox((0, 0), word, font=font)
    if right - left > SIZE - 2:
        font = ImageFont.load_default(size=int(font.size * (SIZE - 2) / (right - left)))  # type: ignore[union-attr]
        left, top, right, bottom = pen.textbbox((0, 0), word, font=font)
    x = rng.uniform(1, max(1.001, SIZE - 1 - (right - left)))
    y = rng.uniform(1, max(1.001, SIZE - 1 - (bottom - top)))
    fill = ("white", "white", "black", COLOURS[str(rng.choice(list(COLOURS)))])[int(rng.integers(4))]
    pen.text((x - left, y - top), word, font=font, fill=fill)


def with_words(scene: Scene, *words: str) -> Scene:
    """The same scene with words written on it."""
    return replace(scene, words=words)
