"""Turns the `[start]` of a profile into commands, and finds what its keys get wrong together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drivers.modbus import READ_NONE, WRITE_ONE, Command
from drivers.start import Start

if TYPE_CHECKING:
    from drivers.fields import Path_, Report

_ADDRESSES = 0x10000
_MOST_VALUES = 123
"""So many registers go into one request of function 16."""


def start(profile: dict[str, Any], report: Report) -> Start:
    """Give the commands of a profile; mistakes go to the report, and what they spoil is left out."""
    raw = profile.get("start")
    if not raw or not raw["steps"] or raw["wait_reads"] is None:
        return Start()
    first = profile.get("first_register") or 0
    steps = enumerate(raw["steps"])
    found = [_command(("start", "steps", str(index)), step, first, report) for index, step in steps if step]
    return Start(tuple(command for command in found if command), raw["wait_reads"])


def _command(path: Path_, step: dict[str, Any], first: int, report: Report) -> Command | None:
    function, register, values = step["function"], step["register"], step["values"]
    if function is None or register is None or values is None or None in values:
        return None
    before = len(report.problems)
    if problem := _count_problem(function, len(values)):
        report.add((*path, "values"), values or "", problem)
    address = register - first
    if not 0 <= address <= _ADDRESSES - max(len(values), 1):
        report.add((*path, "register"), register, f"allowed: {first} to {first + _ADDRESSES - max(len(values), 1)}")
    return Command(function, address, tuple(values)) if len(report.problems) == before else None


def _count_problem(function: int, count: int) -> str:
    if function == READ_NONE:
        return "has no meaning for function 3, which asks for nothing" if count else ""
    if function == WRITE_ONE:
        return "" if count == 1 else "function 6 writes one value, like [1]"
    return f"allowed: up to {_MOST_VALUES} values" if count > _MOST_VALUES else ""
