"""What the sentences of NMEA 0183 say: their fields, and the units that their letters mean.

Each function takes the fields behind the sentence's name and gives what they hold by its source, "GGA latitude" say.
Raises BadAnswer for what no such sentence can hold. Sources are in `nmea_0183`.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from drivers.errors import BadAnswer
from drivers.sample import Flag

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drivers.sample import Value

    Units = dict[str, tuple[str, ...]]
    States = dict[str, tuple[Flag, ...]]

NAMED = {
    "RMC utc": "",
    "RMC latitude": "deg",
    "RMC longitude": "deg",
    "RMC speed": "kn",
    "RMC course": "deg",
    "GGA latitude": "deg",
    "GGA longitude": "deg",
    "GGA quality": "",
    "GGA satellites": "",
    "GGA hdop": "",
    "GGA altitude": "m",
    "ZDA utc": "",
    "MWV direction": "deg",
}
"""What has the same unit in all instruments."""
SPEEDS: Units = {"K": ("km/h",), "M": ("m/s",), "N": ("kn",), "S": ("mph",)}
TRANSDUCERS: dict[str, Units] = {
    "A": {"D": ("deg",)},
    "C": {"C": ("°C",), "F": ("°F",)},
    "G": {"": ("",), "P": ("%",)},
    "H": {"P": ("%",)},
    "P": {"B": ("bar",), "P": ("Pa",), "H": ("hPa",), "I": ("inHg",), "M": ("mmHg",)},
    "R": {"M": ("mm/h", "hits/(cm² h)"), "I": ("in/h", "hits/(in² h)"), "H": ("hits/h",)},  # rain; hail
    "S": SPEEDS,
    "U": dict.fromkeys("VNFW", ("V",)),  # N, F, W: the voltage of a heater that is off, half or fully on
    "V": {"M": ("mm", "hits/cm²"), "I": ("in", "hits/in²"), "H": ("hits",)},
    "Z": {"S": ("s",), "s": ("s",)},
}
"""Units that a letter may mean, by type of transducer (WXT530 manual, table 20)."""
_CLOCK = re.compile(r"(\d\d)(\d\d)(\d\d)(?:\.(\d+))?")
_ANGLE = re.compile(r"(\d{2,3})(\d\d\.\d{1,12})")
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{0,15})?")
_MODES: States = {**dict.fromkeys("ADPRF", ()), **dict.fromkeys("NES", (Flag.FAULT,)), "M": (Flag.MANUAL,)}
_QUALITIES: States = {**dict.fromkeys("12345", ()), **dict.fromkeys("068", (Flag.FAULT,)), "7": (Flag.MANUAL,)}
_WIND_STATES: States = {
    **dict.fromkeys(("A", "00", "60"), ()),
    **dict.fromkeys(("V", "01", "02", "04", "08", "09"), (Flag.FAULT,)),
}
_ERA = timedelta(weeks=1024)


class Found(NamedTuple):
    """One value of a sentence, the units that its letter may mean (None: the usual one), its flags."""

    value: Value
    flags: tuple[Flag, ...] = ()
    units: tuple[str, ...] | None = None


def rmc(fields: list[str], earliest: datetime) -> dict[str, Found]:
    """Position, speed and time; status V, or a mode that is none of a fix, makes all of it a fault."""
    if len(fields) not in {11, 12, 13} or fields[1] not in {"A", "V"}:
        raise BadAnswer(f"not an RMC sentence: {','.join(fields)!r}")
    flags: tuple[Flag, ...] = () if fields[1] == "A" else (Flag.FAULT,)
    if len(fields) > 11:
        flags += _state(fields[11], _MODES)
    day, month, year = (fields[8][place : place + 2] for place in (0, 2, 4))
    century = "19" if year >= "80" else "20"
    utc = _utc(fields[0], fields[8] and f"{century}{year}-{month}-{day}", earliest)
    return {
        "RMC utc": Found(utc, flags),
        "RMC latitude": Found(_angle(fields[2], fields[3], "NS", 90), flags),
        "RMC longitude": Found(_angle(fields[4], fields[5], "EW", 180), flags),
        "RMC speed": Found(_number(fields[6]), flags),
        "RMC course": Found(_number(fields[7]), flags),
    }


def gga(fields: list[str]) -> dict[str, Found]:
    """Position and its quality."""
    if len(fields) != 14 or fields[9] not in {"M", ""}:
        raise BadAnswer(f"not a GGA sentence: {','.join(fields)!r}")
    flags = _state(fields[5], _QUALITIES)
    return {
        "GGA latitude": Found(_angle(fields[1], fields[2], "NS", 90), flags),
        "GGA longitude": Found(_angle(fields[3], fields[4], "EW", 180), flags),
        "GGA quality": Found(int(fields[5]), flags),
        "GGA satellites": Found(_whole(fields[6]), flags),
        "GGA hdop": Found(_number(fields[7]), flags),
        "GGA altitude": Found(_number(fields[8]), flags),
    }


def zda(fields: list[str], earliest: datetime) -> dict[str, Found]:
    """Time; whether there is a fix it does not say."""
    if len(fields) != 6:
        raise BadAnswer(f"not a ZDA sentence: {','.join(fields)!r}")
    day, month, year = fields[1:4]
    return {"ZDA utc": Found(_utc(fields[0], year and f"{year}-{month}-{day}", earliest))}


def mwv(fields: list[str], reference: str) -> dict[str, Found]:
    """Wind; another reference than that set is a BadAnswer."""
    if len(fields) != 5 or fields[3] not in SPEEDS:
        raise BadAnswer(f"not an MWV sentence: {','.join(fields)!r}")
    if fields[1] != reference:
        raise BadAnswer(f"the wind's reference is {fields[1]!r}, the one set is {reference}")
    flags = _state(fields[4], _WIND_STATES)
    direction = _number(fields[0])
    if direction is not None and not 0 <= direction <= 360:
        raise BadAnswer(f"no direction: {fields[0]}")
    return {"MWV direction": Found(direction, flags), "MWV speed": Found(_number(fields[2]), flags, SPEEDS[fields[3]])}


def xdr(fields: list[str], needed: Iterable[str]) -> dict[str, Found]:
    """Values of the transducers that are needed; others may be of any kind."""
    if len(fields) % 4:
        raise BadAnswer(f"not groups of four: {','.join(fields)!r}")
    found: dict[str, Found] = {}
    for place in range(0, len(fields), 4):
        kind, text, unit, number = fields[place : place + 4]
        source = f"XDR {kind} {number}"
        if source not in needed:
            continue
        if source in found:
            raise BadAnswer(f"{source} stands twice in a sentence")
        if unit not in TRANSDUCERS[kind]:
            raise BadAnswer(f"{source} has the unknown unit {unit!r}")
        value = text if kind == "G" and text and not _NUMBER.fullmatch(text) else _number(text)
        found[source] = Found(value, (), TRANSDUCERS[kind][unit])
    return found


def _state(text: str, known: States) -> tuple[Flag, ...]:
    if text not in known:
        raise BadAnswer(f"unknown status {text!r}")
    return known[text]


def _number(text: str) -> float | None:
    if text and not _NUMBER.fullmatch(text):
        raise BadAnswer(f"no number: {text!r}")
    return float(text) if text else None


def _whole(text: str) -> int | None:
    if text and not (text.isdecimal() and len(text) < 10):
        raise BadAnswer(f"no whole number: {text!r}")
    return int(text) if text else None


def _angle(text: str, side: str, sides: str, most: int) -> float | None:
    """Turn degrees and minutes into degrees, north and east positive; both fields are empty without a position."""
    if not text and not side:
        return None
    found = _ANGLE.fullmatch(text)
    if not found or side not in tuple(sides) or float(found[2]) >= 60:
        raise BadAnswer(f"no position: {text},{side}")
    degrees = round(int(found[1]) + float(found[2]) / 60, 9)
    if degrees > most:
        raise BadAnswer(f"no position: {text},{side}")
    return degrees if side == sides[0] else -degrees


def _utc(clock: str, day: str, earliest: datetime) -> str | None:
    """Give the time in ISO 8601; None if it is missing or of another era. Raises BadAnswer for what is no time."""
    if not clock or not day:
        return None
    found = _CLOCK.fullmatch(clock)
    if not found or not re.fullmatch(r"\d{4}-\d\d-\d\d", day):
        raise BadAnswer(f"no time: {day} {clock}")
    hour, minute, second, fraction = found.groups(default="")
    is_leap = (hour, minute, second) == ("23", "59", "60")
    try:
        moment = datetime.fromisoformat(f"{day}T{hour}:{minute}:{'59' if is_leap else second}")
    except ValueError as error:
        raise BadAnswer(f"no time: {day} {clock}") from error
    if not earliest <= moment < earliest + _ERA:
        return None
    return f"{day}T{hour}:{minute}:{second}.{fraction[:3]:0<3}Z"
