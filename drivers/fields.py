"""The words of which the definitions of our files are made.

One definition reads a file, names every mistake in it at once, and gives the JSON Schema for editors. Here is
what holds other values; the single ones of `kinds` can be had from here too.
"""

# ruff: noqa: D102 - `read` and `schema` are documented once, in Kind

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from drivers.kinds import Choice, Integer, Kind, Number, OneOf, Quantity, Text, duration, size
from drivers.report import Path_, Report, did_you_mean, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "NAME",
    "REQUIRED",
    "Choice",
    "Either",
    "Integer",
    "Key",
    "Kind",
    "ListOf",
    "MapOf",
    "Number",
    "OneOf",
    "OneOrMore",
    "Path_",
    "Quantity",
    "Report",
    "Table",
    "TableOfAny",
    "Text",
    "did_you_mean",
    "duration",
    "size",
]

REQUIRED: Any = object()
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class ListOf:
    """A list of values of one kind, `least` of them or more; `is_set`: none twice."""

    def __init__(self, kind: Kind, *, least: int = 0, is_set: bool = False) -> None:
        self.kind, self.least, self.is_set = kind, least, is_set

    def read(self, value: Any, path: Path_, report: Report) -> list[Any] | None:
        if not isinstance(value, list):
            report.add(path, value, "expected a list in brackets, like [1, 2]")
            return None
        if len(value) < self.least:
            report.add(path, value, f"expected a list of at least {self.least}")
        for index, item in enumerate(value if self.is_set else ()):
            if item in value[:index]:
                report.add((*path, str(index)), item, "stands twice in this list")
        return [self.kind.read(item, (*path, str(index)), report) for index, item in enumerate(value)]

    def schema(self) -> dict[str, Any]:
        bounds = ({"minItems": self.least} if self.least else {}) | ({"uniqueItems": True} if self.is_set else {})
        return {"type": "array", "items": self.kind.schema()} | bounds


class MapOf:
    """A table whose keys the author chooses: `key` checks them (as text), `kind` their values."""

    def __init__(self, key: re.Pattern[str], what: str, kind: Kind, convert: Callable[[str], Any] = str) -> None:
        self.key, self.what, self.kind, self.convert = key, what, kind, convert

    def read(self, value: Any, path: Path_, report: Report) -> dict[Any, Any] | None:
        if not isinstance(value, dict):
            report.add(path, value, "expected a table")
            return None
        read: dict[Any, Any] = {}
        for key, item in value.items():
            if not self.key.fullmatch(key):
                report.add((*path, key), key, f"expected as key {self.what}")
            elif (name := self.convert(key)) in read:
                report.add((*path, key), key, f"means the same as a key before it ({name})")
            else:
                read[name] = self.kind.read(item, (*path, key), report)
        return read

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "patternProperties": {f"^(?:{self.key.pattern})$": self.kind.schema()},
            "additionalProperties": False,
        }


class TableOfAny:
    """A table that is read later, by someone who knows what belongs in it; given as it is."""

    def read(self, value: Any, path: Path_, report: Report) -> dict[str, Any] | None:
        if isinstance(value, dict):
            return value
        report.add(path, value, "expected a table")
        return None

    def schema(self) -> dict[str, Any]:
        return {"type": "object"}


class Either:
    """A value of one of several kinds, told apart by its TOML type: string, number or table."""

    def __init__(self, what: str, **kinds: Kind) -> None:
        self.what, self.kinds = what, kinds

    def read(self, value: Any, path: Path_, report: Report) -> Any:
        kind = self.kinds.get(type(value).__name__)
        if kind is None:
            report.add(path, value, f"expected {self.what}")
            return None
        return kind.read(value, path, report)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [kind.schema() for kind in self.kinds.values()]}


class Key:
    """One key of a table: its kind, its default (none: it must be there) and one line of documentation.

    The default of a quantity is written as in a file ("60s"); {} for a table stands for an empty one.
    """

    def __init__(self, name: str, kind: Kind, default: Any = REQUIRED, *, doc: str) -> None:
        self.name, self.kind, self.default, self.doc = name, kind, default, doc

    def absent(self, path: Path_, report: Report) -> Any:
        """Give the value that counts where the key does not stand."""
        if self.default is REQUIRED:
            report.add(path, "", f"is missing; {self.doc}")
            return None
        is_written = isinstance(self.kind, Table | Quantity) and isinstance(self.default, dict | str)
        return self.kind.read(self.default, path, report) if is_written else self.default

    def schema(self) -> dict[str, Any]:
        """Describe the value, its meaning and its default."""
        is_shown = self.default is not REQUIRED and isinstance(self.default, str | int | float) and self.default != ""
        return self.kind.schema() | {"description": self.doc} | ({"default": self.default} if is_shown else {})


class Table:
    """A table with known keys; anything else in it is a mistake. Read as a dict with every key present.

    `advice` answers unknown keys that people are likely to try.
    """

    def __init__(self, *keys: Key, advice: Mapping[str, str] | None = None) -> None:
        self.keys = {key.name: key for key in keys}
        self.advice = advice or {}

    def read(self, value: Any, path: Path_, report: Report) -> dict[str, Any] | None:
        if not isinstance(value, dict):
            report.add(path, value, "expected a table")
            return None
        unknown = [name for name in value if name not in self.keys]
        for name in unknown:
            report.add((*path, name), "", self._unknown(name))
        misspelt = {nearest(name, self.keys) for name in unknown}
        return {name: self._one(key, value, path, report, misspelt) for name, key in self.keys.items()}

    def _unknown(self, name: str) -> str:
        near = did_you_mean(name, self.keys)
        return self.advice.get(name) or f"unknown key; allowed: {', '.join(self.keys)}{near}"

    def _one(self, key: Key, value: dict[str, Any], path: Path_, report: Report, misspelt: set[str]) -> Any:
        if key.name in value:
            return key.kind.read(value[key.name], (*path, key.name), report)
        if key.default is REQUIRED and key.name in misspelt:
            return None  # the misspelt key was reported
        return key.absent((*path, key.name), report)

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {name: key.schema() for name, key in self.keys.items()},
            "required": [name for name, key in self.keys.items() if key.default is REQUIRED],
            "additionalProperties": False,
        }


class OneOrMore:
    """One table of a kind, or several as tables with names of the author's choice; read as each by its place."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.named = MapOf(NAME, "a name of letters, digits, '-' and '_'", table)

    def read(self, value: Any, path: Path_, report: Report) -> dict[Path_, Any] | None:
        if not isinstance(value, dict) or value.keys() & self.table.keys.keys() or not value:
            return {path: self.table.read(value, path, report)}
        found = self.named.read(value, path, report) or {}
        return {(*path, name): one for name, one in found.items()}

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [self.table.schema(), self.named.schema() | {"minProperties": 1}]}
