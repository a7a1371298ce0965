"""What a file registers, read from its source: names and options without an import. Light to import."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clip_robustness.errors import InputError


def declared_in(file: Path, decorator: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(attribute, name, options) of each function or class at the top of a file under `@decorator("name", option=...)`.

    Raises `InputError` naming the file for an option that is no literal, which could not be known without an import,
    and for what is no Python.
    """
    try:
        text = file.read_text(encoding="utf-8")
        body = ast.parse(text).body if f"@{decorator}(" in text else []
    except (SyntaxError, ValueError) as error:
        raise InputError(f"{file}: not a Python file: {error}") from None
    for statement in body:
        for call in getattr(statement, "decorator_list", ()):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == decorator):
                continue
            try:
                (name,) = map(ast.literal_eval, call.args)
                options = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
            except ValueError:
                raise InputError(f"{file}, line {call.lineno}: @{decorator} takes literals alone") from None
            yield getattr(statement, "name", ""), name, options
