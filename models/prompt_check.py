"""Whether prompts reach a model as they are meant: none is cut at its context length, no two classes have the same, and
no template stands twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b

from torch import Tensor

from clip_robustness.errors import InputError
from clip_robustness.models.templates import Prompts, TextTemplate, Tokenizer

_NAMED = 5


class PromptCheck:
    """Looks at the prompts of a head block by block, as they are tokenised."""

    def __init__(self, prompts: Prompts, tokenizer: Tokenizer) -> None:
        self._prompts, self._tokenizer = prompts, tokenizer
        self._padding = int(tokenizer([""])[0, -1])
        self._first: list[dict[bytes, str]] = [{} for _ in prompts.templates]
        self._cut: dict[str, int] = {}
        self._full: dict[str, None] = {}
        self._length = self._all = 0

    def add(self, names: Sequence[str], tokens: Tensor) -> None:
        """`tokens`: int64 (templates, names, context length).

        Raises `InputError` where two classes of different names have the same prompt: no image could tell them apart by
        it. Two of the same name can't be told apart by any.
        """
        self._length, self._all = tokens.shape[-1], self._all + len(names)
        for template, rows, first in zip(self._prompts.templates, tokens, self._first, strict=True):
            cut = self._cut_rows(template, names, rows) if isinstance(template, TextTemplate) else set()
            for i, (name, row) in enumerate(zip(names, rows.numpy(), strict=True)):
                other = first.setdefault(blake2b(row.data, digest_size=16).digest(), name)
                if other.casefold() != name.casefold():
                    why = f"cut at the model's {self._length} tokens, " if i in cut else ""
                    what = f" of '{template.text[:60]}'" if isinstance(template, TextTemplate) else ""
                    mend = "shorten the template" if why else "give one another name"
                    raise InputError(
                        f"prompts {self._prompts.name}: {why}the prompts{what} for the classes '{other}' and '{name}' "
                        f"are the same; {mend}"
                    )
            for i in cut:
                self._cut[names[i]] = self._cut.get(names[i], 0) + 1
            self._full |= {names[i]: None for i in (rows[:, -1] != self._padding).nonzero().flatten().tolist()}

    def _cut_rows(self, template: TextTemplate, names: Sequence[str], rows: Tensor) -> set[int]:
        """Those that say something else when there is room for one more token."""
        full = (
            (rows[:, -2] != self._padding).nonzero().flatten().tolist()
        )  # the last may be an end that is padding, too
        if not full:
            return set()
        longer = self._tokenizer([template.of(names[i]) for i in full], context_length=rows.shape[1] + 1)
        goes_on = (longer[:, :-1] != rows[full]).any(1) | (longer[:, -1] != self._padding)
        return {i for i, more in zip(full, goes_on.tolist(), strict=True) if more}

    def said(self) -> str:
        """What the user should know: empty where every prompt is whole, not near to be cut, and there once."""
        said = [text for text in (self._said_of_length(), self._said_of_repeated()) if text]
        return f"prompts {self._prompts.name}: {'; '.join(said)}" if said else ""

    def _said_of_repeated(self) -> str:
        texts = Counter(t.text for t in self._prompts.templates if isinstance(t, TextTemplate))
        (text, times), *_ = texts.most_common(1) or [("", 1)]
        more = sum(n > 1 for n in texts.values()) - 1
        others = f", as do {more} others" if more > 1 else ", as does another one" if more else ""
        return f"the template '{text}' stands {times} times and weighs as much{others}" if times > 1 else ""

    def _said_of_length(self) -> str:
        if not (of := self._cut or self._full):
            return ""
        named = ", ".join(list(of)[:_NAMED]) + (", ..." if len(of) > _NAMED else "")
        classes = f"{len(of)} of {self._all} classes ({named})"
        context = f"the model's context length of {self._length} tokens"
        if self._cut:
            return f"{sum(self._cut.values())} are cut at {context}, in {classes}; shorten the template or the names"
        return f"none is cut, but in {classes} they fill {context}"
