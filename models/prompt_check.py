"""Whether prompts reach a model as they are meant: none is cut at its context length, no two classes have the same."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from torch import Tensor

from models.errors import InputError
from models.templates import Prompts, TextTemplate, Tokenizer

_NAMED = 5


class PromptCheck:
    """Looks at the prompts of a head block by block, as they are tokenised."""

    def __init__(self, prompts: Prompts, tokenizer: Tokenizer) -> None:
        self._prompts, self._tokenizer = prompts, tokenizer
        self._padding = int(tokenizer([""])[0, -1])
        self._first: list[dict[bytes, str]] = [{} for _ in prompts.templates]
        self._cut: dict[str, int] = {}
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
        """What the user should know: empty where every prompt is whole."""
        if not self._cut:
            return ""
        named = ", ".join(list(self._cut)[:_NAMED]) + (", ..." if len(self._cut) > _NAMED else "")
        return (
            f"prompts {self._prompts.name}: {sum(self._cut.values())} are cut at the model's context length of "
            f"{self._length} tokens, in {len(self._cut)} of {self._all} classes ({named}); shorten the template or the "
            "names"
        )
