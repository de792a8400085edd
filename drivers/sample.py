"""What a driver returns: one sample a channel, with the reasons not to use it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

Value = float | int | str | None


class Flag(StrEnum):
    """Why a value may or may not be used, worst first. `SUSPECT` is set by the agent's checks, never by a driver."""

    NO_COMM = "no_comm"
    STOPPED = "stopped"
    MAINTENANCE = "maintenance"
    CALIBRATION = "calibration"
    FAULT = "fault"
    OVER_RANGE = "over_range"
    SUSPECT = "suspect"
    MANUAL = "manual"
    OK = "ok"


ORDER = {flag: rank for rank, flag in enumerate(Flag)}


def worst(flags: Iterable[Flag]) -> Flag:
    """Of several flags that hold, give the one that is published; none means ok."""
    return min(flags, key=ORDER.__getitem__, default=Flag.OK)


class Channel(NamedTuple):
    """One value that an instrument reports: its name, the quantity measured and the unit, fixed for good."""

    name: str
    parameter: str
    unit: str


class Sample(NamedTuple):
    """One channel's value as the driver decoded it, with every flag that holds (none: ok). No time, no identity.

    A non-finite or sentinel value is None with a flag, never a number.
    """

    channel: str
    value: Value
    flags: tuple[Flag, ...] = ()
