"""What a file registers, read from its source: names and options without an import. Light to import."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clip_robustness.errors import InputError


def declared_in(file: Path, decorator: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(attribute, name, options) of each function or class at the top of a file under `@decorator("name", option=...)`,
    however it is imported.

    Raises `InputError` naming the file for an option that is no literal, which could not be known without an import,
    and for what is no Python.
    """
    try:
        text = file.read_text(encoding="utf-8")
        body = ast.parse(text).body if re.search(rf"@[\w.]*\b{decorator}\(|\b{decorator} as ", text) else []
    except (SyntaxError, ValueError) as error:
        raise InputError(f"{file}: not a Python file: {error}") from None
    imported = (alias for statement in body if isinstance(statement, ast.ImportFrom) for alias in statement.names)
    called = {decorator} | {alias.asname for alias in imported if alias.name == decorator and alias.asname}
    for statement in body:
        for call in getattr(statement, "decorator_list", ()):
            if not (isinstance(call, ast.Call) and _called(call.func, called, decorator)):
                continue
            try:
                (name,) = map(ast.literal_eval, call.args)
                options = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
            except ValueError:
                raise InputError(f"{file}, line {call.lineno}: @{decorator} takes literals alone") from None
            yield getattr(statement, "name", ""), name, options


def _called(function: ast.expr, names: set[str], attribute: str) -> bool:
    """Whether it is one of the names, or `module.attribute`."""
    if isinstance(function, ast.Attribute):
        return function.attr == attribute
    return isinstance(function, ast.Name) and function.id in names
