"""Units are spelled in one way, whoever wrote them: °C, µg/m³, m³/h, W/m², µS/cm.

Nothing is converted. What an instrument calls a unit (`UGM`, `deg C`, `MPS`) is a matter of its driver.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from drivers.kinds import Choice, Text

if TYPE_CHECKING:
    from drivers.report import Path_, Report

_SIGNS = str.maketrans({"\u03bc": "\u00b5", "\u2103": "\u00b0C", "\u2109": "\u00b0F"})
_POWERS = str.maketrans("23", "²³")
_DEGREES = re.compile(r"\bdeg ?(?=[CF]\b)")
_MICRO = re.compile(r"\bu(?=(?:g|m|L|S|V|A|W|mol)\b)")
_POWER = re.compile(r"\b([cdkmµn]?m|Nm|in|ft)([23])\b")


def spelled(unit: str) -> str:
    """Spell a unit as all drivers do: "ug/m3" is "µg/m³"."""
    unit = _MICRO.sub("µ", _DEGREES.sub("°", unit.translate(_SIGNS)))
    return _POWER.sub(lambda found: found[1] + found[2].translate(_POWERS), unit)


class Unit(Text):
    """A unit, in whatever spelling; read in the usual one."""

    def read(self, value: Any, path: Path_, report: Report) -> str | None:
        """Read it."""
        text = super().read(value, path, report)
        return text if text is None else spelled(text)


class UnitOf(Choice):
    """One of a few units, in whatever spelling."""

    def read(self, value: Any, path: Path_, report: Report) -> str | None:
        """Read it."""
        return super().read(spelled(value) if isinstance(value, str) else value, path, report)
