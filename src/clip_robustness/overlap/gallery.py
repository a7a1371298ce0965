"""gallery.html: pairs of test and pre-training image, for a person to judge. One self-contained file."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from clip_robustness.files import whole
from clip_robustness.metrics.intervals import accuracy
from clip_robustness.overlap.found import Found

SHOWN = 60
_SIDE = 112


@dataclass(frozen=True)
class Shown:
    """A pair, with data addresses of its `picture`s; `theirs` None: there is only an embedding."""

    data: str
    is_copy: bool
    id: str
    near: str
    cosine: float
    alike: float | None
    ours: str
    theirs: str | None


def write(found: Found, pairs: Sequence[Shown], file: Path) -> None:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"share": _share}
    by_set = {name: [pair for pair in pairs if pair.data == name] for name in found.data}
    text = environment.get_template("gallery.html.j2").render(found=found, by_set=by_set)
    with whole(file) as partial:
        partial.write_text(text, encoding="utf-8")


def picture(image: Image.Image) -> str:
    """A data address of a thumbnail."""
    image = image.convert("RGB")
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _share(count: int, n: int) -> str:
    """With its exact 95% interval, in percent."""
    e = accuracy(np.arange(n) < count)
    return f"{100 * e.value:.1f}% [{100 * e.low:.1f}, {100 * e.high:.1f}]"
