"""Writes TOML: text, numbers, lists and tables, which is all that our files have."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def text_of(table: Mapping[str, Any]) -> str:
    """Write a whole file."""
    return "\n".join(_lines(table, "")).lstrip("\n") + "\n"


def _lines(table: Mapping[str, Any], path: str) -> Iterator[str]:
    """Give the lines of a table, those of its own tables last."""
    if path:
        yield f"\n[{path}]"
    yield from (f"{_written(key)} = {_written(it)}" for key, it in table.items() if not isinstance(it, dict))
    for key, it in table.items():
        if isinstance(it, dict):
            yield from _lines(it, f"{path}.{_written(key)}" if path else _written(key))


def _written(value: Any) -> str:
    if isinstance(value, dict):  # in a list
        return "{ " + ", ".join(f"{_written(key)} = {_written(it)}" for key, it in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
