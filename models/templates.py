"""Prompts: what a zero-shot model is told about a class, as text templates or as learned token ids.

`prompts` finds learned ones; `models.head` turns prompts into a classifier's weights.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clip_robustness.errors import InputError
from clip_robustness.files import expanded
from clip_robustness.models.options import LEARNED, TEMPLATE_SETS

Tokenizer = Callable[..., Tensor]
"""A tokenizer of open_clip: texts -> int64 (n, context length)."""

SCHEMA = 1
_ASSIGNMENT = re.compile(r"\w+\s*=\s*(?=[\[(])")
_MARK = re.compile(r"(?:[-*\u2022]|\d+[.)])\s+")
"""Of a list, before each line."""
_QUOTED = re.compile(r"""(["'])(?P<text>.*)\1,?""")
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"
_OTHER = re.compile(r"\{[^{}]+\}|\{\{\}\}|%s|[{}]|\t.*|\s#\s.*")
"""What no prompt should say: places for something else than `{}`, a second column, a comment."""


@dataclass(frozen=True)
class TextTemplate:
    """A sentence with `{}` for the class name."""

    text: str

    def of(self, name: str) -> str:
        """The sentence for a class."""
        return self.text.replace("{}", name)

    def tokens(self, names: Sequence[str], tokenizer: Tokenizer) -> Tensor:
        """int64 (names, context length)."""
        return tokenizer([self.of(name) for name in names])


@dataclass(frozen=True)
class TokenTemplate:
    """Learned token ids before and after those of the class name."""

    before: tuple[int, ...]
    after: tuple[int, ...] = ()

    def tokens(self, names: Sequence[str], tokenizer: Tokenizer) -> Tensor:
        """int64 (names, context length), padded with zeros. Raises `InputError` for a name that leaves no room."""
        vocabulary = bpe_of(tokenizer)
        rows = torch.zeros(len(names), vocabulary.context_length, dtype=torch.long)
        for row, name in zip(rows, names, strict=True):
            ids = [
                vocabulary.sot_token_id,
                *self.before,
                *vocabulary.encode(name),
                *self.after,
                vocabulary.eot_token_id,
            ]
            if len(ids) > len(row):
                raise InputError(
                    f"class '{name}' and a learned prompt need {len(ids)} tokens, the model has {len(row)}"
                )
            row[: len(ids)] = torch.tensor(ids)
        return rows


@dataclass(frozen=True)
class Prompts:
    """An ensemble of templates. A class's embedding is the weighted mean of theirs, normalised."""

    name: str
    templates: tuple[TextTemplate | TokenTemplate, ...]
    weights: tuple[float, ...]

    def digest(self, names: tuple[str, ...]) -> str:
        """Eight hexadecimal digits for the templates, their weights and the class names that they are filled with."""
        return hashlib.sha256(repr((self.templates, self.weights, names)).encode()).hexdigest()[:8]


def bpe_of(tokenizer: Tokenizer) -> Any:
    """The tokenizer, if it is CLIP's own byte-pair encoding. Raises `InputError` for any other: learned prompts are
    ids of that vocabulary."""
    from open_clip import SimpleTokenizer

    if not isinstance(tokenizer, SimpleTokenizer):
        raise InputError(f"learned prompts need CLIP's own tokenizer, this model has {type(tokenizer).__name__}")
    return tokenizer


def read_prompts(name_or_file: str) -> Prompts:
    """A template set by name, a text file with a template a line, a list of them, or a JSON that the search wrote.

    Raises `InputError` for a file that is neither.
    """
    if name_or_file in TEMPLATE_SETS and name_or_file not in LEARNED:
        return _of_texts(name_or_file, _template_set(name_or_file))
    file = LEARNED.get(name_or_file) or expanded(name_or_file)
    try:
        text = file.read_text(encoding="utf-8-sig")
        content = json.loads(text) if file.suffix == ".json" else _texts(text)
        return _learned(file, content) if isinstance(content, dict) else _of_texts(file.name, content)
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise InputError(f"prompts {file}: {reason}") from None


def _texts(text: str) -> list[str]:
    """The templates of a Python list, or of lines, which may all be quoted, numbered or have bullets; lines that begin
    with `#` are comments."""
    literal = _ASSIGNMENT.sub("", text.strip(), count=1)
    if literal.startswith(("[", "(")):
        with suppress(ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            return list(ast.literal_eval(literal))
    lines = [line.strip().strip(_INVISIBLE).strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if all(map(_MARK.match, lines)):
        lines = [_MARK.sub("", line, count=1) for line in lines]
    quoted = [found["text"] for line in lines if (found := _QUOTED.fullmatch(line))]
    return quoted if len(quoted) == len(lines) else lines


def _of_texts(name: str, texts: Sequence[str]) -> Prompts:
    if not texts or not all(isinstance(text, str) for text in texts):
        raise InputError("there is no template; write one a line, with {} for the class name")
    for text in texts:
        other = _OTHER.search(text.replace("{}", "") if "{{" not in text else text)
        if "{}" not in text:
            mend = f"; write it in the place of {other[0].strip()}" if other else ""
            raise InputError(f"the template '{text}' has no {{}} for the class name{mend}")
        if other:
            raise InputError(
                f"the template '{text}' has '{other[0].strip()}' beside {{}}, which every prompt would say"
            )
    return Prompts(name, tuple(map(TextTemplate, texts)), (1 / len(texts),) * len(texts))


def _learned(file: Path, content: dict[str, Any]) -> Prompts:
    if "schema" not in content:
        raise InputError("neither a list of templates with {} for the class name, nor prompts that the search wrote")
    if content["schema"] != SCHEMA:
        raise InputError(f"schema {content['schema']}, this version reads {SCHEMA}")
    found = content["prompts"]
    if not found:
        raise InputError("there is no prompt yet; let the search finish a restart")
    templates = tuple(TokenTemplate(tuple(map(int, p["before"])), tuple(map(int, p["after"]))) for p in found)
    return Prompts(file.name, templates, tuple(float(p["weight"]) for p in found))


def _template_set(name: str) -> list[str]:
    from open_clip import OPENAI_IMAGENET_TEMPLATES, SIMPLE_IMAGENET_TEMPLATES

    if name == "plain":
        return ["a photo of a {}."]
    if name == "as-is":
        return ["{}"]
    if name == "cifar10-18":
        return [text.replace("ARTICLE", article) for article in ("a", "the") for text in _CIFAR10]
    functions = OPENAI_IMAGENET_TEMPLATES if name == "openai-80" else SIMPLE_IMAGENET_TEMPLATES
    return [function("{}") for function in functions]


_CIFAR10 = (  # openai/CLIP, data/prompts.md
    *(f"{kind}photo of ARTICLE {{}}." for kind in ("a ", "a blurry ", "a black and white ")),
    *(f"a {kind} photo of ARTICLE {{}}." for kind in ("low contrast", "high contrast", "bad", "good")),
    *(f"a photo of ARTICLE {size} {{}}." for size in ("small", "big")),
)
