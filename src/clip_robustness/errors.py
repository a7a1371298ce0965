"""The one exception for bad input, and the one warning."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Iterable


class InputError(ValueError):
    """Something the user gave is wrong. The message is one sentence: what, where, and what to do about it."""


class ModelWarning(UserWarning):
    """A model loads, but the user should know something about it before trusting its figures."""


def warn(message: str) -> None:
    """Give a `ModelWarning`."""
    warnings.warn(message, ModelWarning, stacklevel=3)


def nearest(name: str, known: Iterable[str]) -> str:
    """Words to append to a message about an unknown name: the closest known one, or all when there are few."""
    options = sorted(set(known))
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    if not options:
        return "no name is known"
    return f"known: {', '.join(options)}" if len(options) <= 12 else f"{len(options)} names are known"


_NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line breaks, what turns the direction of writing, and bytes of names that are not UTF-8."""


def one_line(text: str) -> str:
    """A text of others as a terminal and the log of a CI job may show it: in a line, and no command to either.

    GitHub's runner takes a line for a command that begins with '::', or has '##[' in it.
    """
    text = _NO_TEXT.sub(lambda found: found[0].encode("unicode_escape").decode(), text).replace("##[", "##\\[")
    return f"\\{text}" if text.lstrip().startswith("::") else text


def number_of(number: int, one: str, many: str = "") -> str:
    """'1 limit', '2 limits'; `many` where an s is not enough."""
    return f"{number} {one if number == 1 else many or one + 's'}"


_OF_FILES: dict[type[OSError], str] = {
    FileNotFoundError: "there is no such file or folder",
    FileExistsError: "a file that stands where a folder is needed",
    NotADirectoryError: "a file that stands where a folder is needed",
    IsADirectoryError: "a folder, where a file is needed",
    PermissionError: "permission denied",
}


def reason(error: Exception) -> str:
    """What is wrong, to append to a file's name."""
    said = (_OF_FILES.get(type(error)) or error.strerror) if isinstance(error, OSError) else ""
    return said or str(error)


def sentence(error: Exception, most: int = 1500) -> str:
    """What an `InputError`, or an `OSError` that nobody expected, says to the user: a line, cut in the middle where a
    name in it has no end."""
    name = error.filename if isinstance(error, OSError) else None
    text = one_line(str(error) if name is None else f"{name}: {reason(error)}")
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-most // 2 :]}"


class NotRunError(InputError):
    """A cell can't be measured in this run, which is no fault of its model: it has no data, or the time is up."""
