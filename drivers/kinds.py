"""The sorts of single values in our files: how each is read, and how a JSON Schema describes it."""

# ruff: noqa: D102 - `read` and `schema` are documented once, in Kind

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

from drivers.report import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drivers.report import Path_, Report


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
        report.add(
            path,
            value,
            f"expected {self.what}" + (' in quotes, like "abc"' if not isinstance(value, str) else ""),
        )
        return None

    def schema(self) -> dict[str, Any]:
        return {"type": "string"} | ({"pattern": f"^(?:{self.pattern.pattern})$"} if self.pattern else {})


class Choice:
    """One of a few words. `advice` says of words that others might expect here what to write instead."""

    def __init__(self, *words: str, advice: Mapping[str, str] | None = None) -> None:
        self.words, self.advice = words, advice or {}

    def read(self, value: Any, path: Path_, report: Report) -> str | None:
        if value in self.words and isinstance(value, str):
            return value
        advice = self.advice.get(str(value)) or f"allowed: {', '.join(self.words)}{did_you_mean(value, self.words)}"
        report.add(path, value, advice)
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


class OneOf:
    """One of a few whole numbers."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers

    def read(self, value: Any, path: Path_, report: Report) -> int | None:
        if isinstance(value, int) and not isinstance(value, bool) and value in self.numbers:
            return value
        report.add(path, value, f"allowed: {', '.join(map(str, self.numbers))}, without quotes")
        return None

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.numbers)}


class Quantity:
    """A number with a unit in one string, like "60s" or "2GB"; read as a float in the base unit."""

    def __init__(self, units: Mapping[str, float], example: str, low: float, high: float) -> None:
        self.units, self.example, self.low, self.high = units, example, low, high
        self.pattern = re.compile(rf"([0-9]{{1,12}}(?:\.[0-9]{{1,9}})?) ?({'|'.join(units)})")

    def read(self, value: Any, path: Path_, report: Report) -> float | None:
        amount = self.amount(value) if isinstance(value, str) else None
        if amount is not None and self.low <= amount <= self.high:
            return amount
        bounds = f"{self._shown(self.low)} to {self._shown(self.high)}"
        report.add(path, value, f"allowed: {bounds}, written like {self.example}")
        return None

    def amount(self, text: str) -> float | None:
        """Convert to the base unit, whatever the bounds; None if it is not written like the example."""
        found = self.pattern.fullmatch(text)
        return round(float(found[1]) * self.units[found[2]], 9) if found else None

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{self.pattern.pattern}$"}

    def _shown(self, amount: float) -> str:
        unit = max((u for u, size in self.units.items() if size <= amount), key=self.units.__getitem__, default="")
        return f"{amount / self.units[unit]:g}{unit}" if unit else f"{amount:g}"


def duration(low: float = 0.001, high: float = 366 * 86400) -> Quantity:
    """Describe a time span, read as seconds."""
    return Quantity(
        {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}, '"500ms", "60s", "15min", "30d"', low, high
    )


def size(low: float = 1, high: float = 1e15) -> Quantity:
    """Describe an amount of data, read as bytes."""
    return Quantity({"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}, '"500kB", "2GB"', low, high)
