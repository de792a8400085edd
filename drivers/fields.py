"""The words of which the definitions of our files are made.

One definition reads a file, names every mistake in it at once, and gives the JSON Schema for editors.
"""

from __future__ import annotations

import math
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Protocol

from drivers.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from drivers.toml_file import Document

Path_ = tuple[str, ...]
REQUIRED: Any = object()
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Report:
    """Collects the problems of one document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []

    def add(self, path: Path_, found: object, allowed: str) -> None:
        """Note a problem at a key; `found` is the value, or "" where a key is missing."""
        text = "" if found == "" else _shown(found)
        self.problems.append(
            Problem(self.document.path, self.document.line(path), ".".join(path), text, allowed)
        )

    def done(self) -> None:
        """Raise ConfigError with everything noted, if anything was."""
        if self.problems:
            raise ConfigError(self.problems)


def _shown(value: object) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


class Kind(Protocol):
    """One sort of value: how it is read and how a JSON Schema describes it."""

    def read(self, value: Any, path: Path_, report: Report) -> Any:
        """Check and convert a value; on a mistake add a problem and return None."""

    def schema(self) -> dict[str, Any]:
        """Describe the value as JSON Schema."""


class Text:
    """A string; `what` describes the form that `pattern` demands."""

    def __init__(self, pattern: re.Pattern[str] | None = None, what: str = "text") -> None:
        self.pattern, self.what = pattern, what

    def read(self, value: Any, path: Path_, report: Report) -> str | None:
        if isinstance(value, str) and (self.pattern is None or self.pattern.fullmatch(value)):
            return value
        report.add(path, value, f"expected {self.what}" + (' in quotes, like "abc"' if not isinstance(value, str) else ""))
        return None

    def schema(self) -> dict[str, Any]:
        return {"type": "string"} | ({"pattern": f"^(?:{self.pattern.pattern})$"} if self.pattern else {})


class Choice:
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def read(self, value: Any, path: Path_, report: Report) -> str | None:
        if value in self.words and isinstance(value, str):
            return value
        report.add(path, value, f"allowed: {', '.join(self.words)}{did_you_mean(value, self.words)}")
        return None

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.words)}


class Integer:
    """A whole number between two bounds, both allowed."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    def read(self, value: Any, path: Path_, report: Report) -> int | None:
        if isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high:
            return value
        report.add(path, value, f"allowed: a whole number from {self.low} to {self.high}, without quotes")
        return None

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


class Number:
    """A finite number between two bounds, both allowed."""

    def __init__(self, low: float = -1e300, high: float = 1e300) -> None:
        self.low, self.high = low, high

    def read(self, value: Any, path: Path_, report: Report) -> float | None:
        if isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high:
            return value
        bounds = "" if self.high >= 1e300 else f" from {self.low:g} to {self.high:g}"
        report.add(path, value, f"allowed: a number{bounds}, without quotes")
        return None

    def schema(self) -> dict[str, Any]:
        bounds = {} if self.high >= 1e300 else {"minimum": self.low, "maximum": self.high}
        return {"type": "number"} | bounds


class Quantity:
    """A number with a unit in one string, like "60s" or "2GB"; read as a float in the base unit."""

    def __init__(self, units: Mapping[str, float], example: str, low: float, high: float) -> None:
        self.units, self.example, self.low, self.high = units, example, low, high
        self.pattern = re.compile(rf"(\d+(?:\.\d+)?)\s*({'|'.join(units)})")

    def read(self, value: Any, path: Path_, report: Report) -> float | None:
        found = self.pattern.fullmatch(value) if isinstance(value, str) else None
        if found and self.low <= (amount := float(found[1]) * self.units[found[2]]) <= self.high:
            return amount
        report.add(path, value, f"allowed: {self._shown(self.low)} to {self._shown(self.high)}, written like {self.example}")
        return None

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{self.pattern.pattern}$"}

    def _shown(self, amount: float) -> str:
        unit = max((u for u, size in self.units.items() if size <= amount), key=self.units.__getitem__, default="")
        return f"{amount / self.units[unit]:g}{unit}" if unit else f"{amount:g}"


def duration(low: float = 0.001, high: float = 366 * 86400) -> Quantity:
    """A time span, read as seconds."""
    return Quantity({"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}, '"500ms", "60s", "15min", "30d"', low, high)


def size(low: float = 1, high: float = 1e15) -> Quantity:
    """An amount of data, read as bytes."""
    return Quantity({"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}, '"500kB", "2GB"', low, high)


class ListOf:
    """A list of values of one kind."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def read(self, value: Any, path: Path_, report: Report) -> list[Any] | None:
        if not isinstance(value, list):
            report.add(path, value, "expected a list in brackets, like [1, 2]")
            return None
        return [self.kind.read(item, (*path, str(index)), report) for index, item in enumerate(value)]

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": self.kind.schema()}


class MapOf:
    """A table whose keys the author chooses: `key` checks them (as text), `kind` their values."""

    def __init__(self, key: re.Pattern[str], what: str, kind: Kind, convert: Callable[[str], Any] = str) -> None:
        self.key, self.what, self.kind, self.convert = key, what, kind, convert

    def read(self, value: Any, path: Path_, report: Report) -> dict[Any, Any] | None:
        if not isinstance(value, dict):
            report.add(path, value, "expected a table")
            return None
        for key in value:
            if not self.key.fullmatch(key):
                report.add((*path, key), key, f"expected as key {self.what}")
        good = {key: item for key, item in value.items() if self.key.fullmatch(key)}
        return {self.convert(key): self.kind.read(item, (*path, key), report) for key, item in good.items()}

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "patternProperties": {f"^(?:{self.key.pattern})$": self.kind.schema()},
            "additionalProperties": False,
        }


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
    """One key of a table: its kind, its default (none: it must be there) and one line of documentation."""

    def __init__(self, name: str, kind: Kind, default: Any = REQUIRED, *, doc: str) -> None:
        self.name, self.kind, self.default, self.doc = name, kind, default, doc


class Table:
    """A table with known keys; anything else in it is a mistake. Read as a dict with every key present."""

    def __init__(self, *keys: Key) -> None:
        self.keys = {key.name: key for key in keys}

    def read(self, value: Any, path: Path_, report: Report) -> dict[str, Any] | None:
        if not isinstance(value, dict):
            report.add(path, value, "expected a table")
            return None
        for name in value.keys() - self.keys.keys():
            near = did_you_mean(name, self.keys)
            report.add((*path, name), "", f"unknown key; allowed: {', '.join(self.keys)}{near}")
        return {name: self._one(key, value, path, report) for name, key in self.keys.items()}

    def _one(self, key: Key, value: dict[str, Any], path: Path_, report: Report) -> Any:
        if key.name in value:
            return key.kind.read(value[key.name], (*path, key.name), report)
        if key.default is REQUIRED:
            report.add((*path, key.name), "", f"is missing; {key.doc}")
            return None
        return key.default

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {name: key.kind.schema() | {"description": key.doc} for name, key in self.keys.items()},
            "required": [name for name, key in self.keys.items() if key.default is REQUIRED],
            "additionalProperties": False,
        }


def did_you_mean(found: object, allowed: Iterable[str]) -> str:
    """Suggest the nearest allowed word, as the end of a sentence."""
    near = get_close_matches(str(found), list(allowed), 1, 0.6)
    return f"; did you mean {near[0]}?" if near else ""


def finite(value: float) -> bool:
    """Say whether a number is neither infinite nor NaN."""
    return math.isfinite(value)
