r"""NMEA 0183: GPS receivers, Vaisala WXT, WMT and Gill WindSonic in NMEA format, talking unasked.

    < "$GPRMC,195959.00,A,1541.31258893,N,05130.51204125,W,0.26,147.44,140120,16.9,W,D*0B" CR LF
       │ │   │         │ latitude        longitude        knots course date   var.    │ exclusive or of all between $
       │ │   time UTC  A valid, V not    ddmm.mmmm        ddmmyy              │         and *, two hex digits
       │ sentence                                                             mode: A, D, P, R, F fix; N none, E S not
       talker                                                                 measured, M by hand; may be missing
    < "$GPGGA,195959.00,1541.31258893,N,05130.51204125,W,2,06,1.5,9.2,M,-37.6,M,4.0,0138*7E" CR LF
                                                         quality: 0 none, 1 to 5 fix, 6 8 not measured, 7 by hand;
                                                         then satellites, HDOP, altitude
    < "$GPZDA,195959.00,14,01,2020,00,00*6A" CR LF       time UTC, day, month, year, zone; nothing on the fix
    < "$WIMWV,045,R,011.63,N,A*09" CR LF                 direction, R or T, speed, K km/h M m/s N kn S mph; A or V
    < "$WIXDR,C,23.5,C,8,H,49.3,P,8,P,1010.1,H,8*…"      type, value, unit, id, as often as need be

Each channel says where it is `from`: "RMC utc", "GGA satellites", "MWV speed", or "XDR C 8" for type and id of a
transducer. A read ends when every channel has come; sentences that no channel needs are passed over. One that is
needed and has a wrong sum or none, a unit other than the channel's, an unknown status, an impossible date or time is a
BadAnswer. Empty is null and a fault. Without a fix the values of RMC, GGA and ZDA (which waits for a GGA) are faults;
by hand is `manual`. Ids of a WXT begin with its address.

"RMC utc" and "ZDA utc" are text, ISO 8601 with milliseconds, and witness the station's clock: a record's own time is
when the last sentence needed had come. Receivers count weeks modulo 1024, so a date is believed only within 1024 weeks
from `earliest`; any other is null and a fault. A receiver that has not heard the satellites' almanac yet may be off by
the leap seconds, and no sentence says so.

Line: 4800 or 9600 8N1 (WXT 19200). The line is taken while the sentences are awaited: give it to one talker.

Evidence: captured
Source: RMC, GGA, ZDA captured from a Hemisphere VS100 (NOAA PSL, raw files of ATOMIC 2020), their fields from Garmin's
GPS 35 manual; MWV from the manuals of Vaisala WMT700 and WXT530 and of the WindSonic; XDR from those of WXT510, WXT520
and WXT530; all sums recomputed. Two samples that Vaisala prints, *75 and *2D, have wrong sums and are refused. Not
confirmed on hardware here.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from drivers.checksum import xor8
from drivers.driver import Exchange
from drivers.errors import BadAnswer, NoAnswer
from drivers.fields import NAME, Choice, Key, MapOf, Table, Text, duration
from drivers.nmea_sentences import NAMED, SPEEDS, TRANSDUCERS, Found, gga, mwv, rmc, xdr, zda
from drivers.sample import Channel, Flag, Sample
from drivers.units import Unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from drivers.line import Line

_FROM = re.compile(rf"{'|'.join(NAMED)}|MWV speed|XDR [{''.join(TRANSDUCERS)}] [A-Za-z0-9_]{{1,12}}")
_CHANNEL = Table(
    Key("from", Text(_FROM, 'a source like "RMC utc", "MWV speed" or "XDR C 0"'), doc="sentence and what is meant"),
    Key("parameter", Text(), doc="the quantity measured"),
    Key("unit", Unit(), "", doc="the unit that the sentence must name"),
)
OPTIONS = Table(
    Key("channels", MapOf(NAME, "a name", _CHANNEL), doc="what each channel is made from"),
    Key("talker", Text(re.compile("[A-Z]{2}"), "two capital letters"), "", doc="only its sentences; else anyone's"),
    Key("reference", Choice("R", "T"), "R", doc="of MWV: relative to the instrument, or true"),
    Key("patience", duration(), 2.5, doc="all that is needed comes at least this often"),
    Key("earliest", Text(re.compile(r"20\d\d-\d\d-\d\d"), "a date"), "2026-01-01", doc="no true date is before"),
)

_SENTENCE = re.compile(r"\$([A-Z]{2})([A-Z]{3}),([^*$!]*)\*([0-9A-Fa-f]{2})")
_LONGEST, _LIMIT = 82, 16384

_USUAL = {
    "RMC": ("RMC utc", "RMC latitude", "RMC longitude"),
    "GGA": ("GGA satellites", "GGA altitude"),
    "ZDA": ("ZDA utc",),
}
_MEANINGS = {"C": "temperature", "H": "relative_humidity", "P": "air_pressure"}


def options_for(heard: bytes) -> dict[str, Any] | None:
    """Give channels for the sentences that came; what a transducer measures is in its manual."""
    channels: dict[str, dict[str, str]] = {}
    options: dict[str, Any] = {"channels": channels}
    for _, name, fields, _ in _SENTENCE.findall(heard.decode("latin-1")):
        parts = fields.split(",")
        if name == "MWV" and len(parts) == 5 and parts[3] in SPEEDS:
            options |= {"reference": parts[1]} if parts[1] == "T" else {}
            channels["wind_direction"] = _row("MWV direction", "wind_direction", "deg")
            channels["wind_speed"] = _row("MWV speed", "wind_speed", SPEEDS[parts[3]][0])
        elif name == "XDR":
            channels |= _transducers(parts)
        for source in _USUAL.get(name, ()):
            what = source.partition(" ")[2]
            channels[what] = _row(source, what, NAMED[source])
    return options if channels else None


def _transducers(parts: list[str]) -> dict[str, dict[str, str]]:
    groups = [parts[place : place + 4] for place in range(0, len(parts) - 3, 4)]
    return {
        f"{_MEANINGS.get(kind, 'value')}_{kind}{number}": _row(
            f"XDR {kind} {number}", _MEANINGS.get(kind, "unknown"), TRANSDUCERS[kind][unit][0]
        )
        for kind, _, unit, number in groups
        if unit in TRANSDUCERS.get(kind, ()) and _FROM.fullmatch(f"XDR {kind} {number}")
    }


def _row(source: str, parameter: str, unit: str) -> dict[str, str]:
    return {"from": source, "parameter": parameter, "unit": unit}


def driver(options: dict[str, Any]) -> Nmea0183:
    """Build the driver from checked options. Raises ValueError for a unit or date that cannot be."""
    return Nmea0183(options)


class Nmea0183:
    """One talker, or several on one line."""

    has_checksum = True
    unsolicited = True

    def __init__(self, options: dict[str, Any]) -> None:
        rows = options["channels"]
        self.channels = tuple(Channel(name, row["parameter"], row["unit"]) for name, row in rows.items())
        self._sources = [str(row["from"]) for row in rows.values()]
        for channel, source in zip(self.channels, self._sources, strict=True):
            _hold_unit(channel, source)
        self._needed = {*self._sources} | ({"GGA quality"} if "ZDA utc" in self._sources else set())
        self._talker, self.patience_s = options["talker"], options["patience"]
        earliest = datetime.fromisoformat(options["earliest"])
        self._sentences: dict[str, Callable[[list[str]], dict[str, Found]]] = {
            "RMC": lambda fields: rmc(fields, earliest),
            "GGA": gga,
            "ZDA": lambda fields: zda(fields, earliest),
            "MWV": lambda fields: mwv(fields, options["reference"]),
            "XDR": lambda fields: xdr(fields, self._needed),
        }
        wanted = {source[:3] for source in self._needed}
        self._sentences = {name: read for name, read in self._sentences.items() if name in wanted}

    def read(self, line: Line, address: int) -> list[Sample]:
        """Wait until every channel has come."""
        del address  # sentences name their talker
        found: dict[str, Found] = {}
        try:
            line.listen(self._collector(found), timeout_s=self.patience_s)
        except NoAnswer as error:
            missing = ", ".join(sorted(self._needed - found.keys()))
            raise NoAnswer(f"{error}; without a sentence: {missing}") from error
        if "ZDA utc" in found:
            utc, fix = found["ZDA utc"], found["GGA quality"]
            found["ZDA utc"] = utc._replace(flags=utc.flags + fix.flags)
        return [_sample(channel, found[source]) for channel, source in zip(self.channels, self._sources, strict=True)]

    def plan(self, framer: str) -> list[Exchange]:
        """Nothing is sent, and the wait is not the line's time; XDR may come in three sentences."""
        del framer
        count = len(self._sentences) + (2 if "XDR" in self._sentences else 0)
        return [Exchange("listen", 0, _LONGEST * count)]

    def _collector(self, found: dict[str, Found]) -> Callable[[bytes], int]:
        """Build the test that takes each sentence as it comes, and is content once nothing is missing."""
        done = 0

        def complete(data: bytes) -> int:
            nonlocal done
            while (end := data.find(b"\r\n", done)) >= 0:
                found.update(self._taken(data[done:end].decode("latin-1")))
                done = end + 2
                if self._needed <= found.keys():
                    return done
            if len(data) > _LIMIT:
                raise BadAnswer(f"{len(data)} bytes without what is needed")
            return 0

        return complete

    def _taken(self, text: str) -> dict[str, Found]:
        """Give what a sentence says; nothing, if no channel needs it."""
        sentence = text[max(text.rfind("$"), 0) :]
        read = self._sentences.get(sentence[3:6])
        if not sentence.startswith("$") or read is None or not sentence[1:].startswith(self._talker):
            return {}
        parts = _SENTENCE.fullmatch(sentence)
        if not parts:
            raise BadAnswer(f"not a sentence with a checksum: {sentence[:90]!r}")
        if int(parts[4], 16) != xor8(sentence[1:-3].encode("latin-1")):
            raise BadAnswer(f"wrong checksum: {sentence[:90]!r}")
        return read(parts[3].split(","))


def _hold_unit(channel: Channel, source: str) -> None:
    words = source.split()
    letters = SPEEDS if source == "MWV speed" else TRANSDUCERS[words[1]] if words[0] == "XDR" else None
    allowed = [unit for units in letters.values() for unit in units] if letters else [NAMED[source]]
    if channel.unit not in allowed:
        known = ", ".join(f'"{unit}"' for unit in dict.fromkeys(allowed))
        raise ValueError(f'{channel.name}: "{source}" has no unit "{channel.unit}"; allowed: {known}')


def _sample(channel: Channel, found: Found) -> Sample:
    if found.units is not None and channel.unit not in found.units:
        raise BadAnswer(f"{channel.name} comes in {' or '.join(found.units)}, the unit set is {channel.unit}")
    flags = found.flags or ((Flag.FAULT,) if found.value is None else ())
    return Sample(channel.name, found.value, tuple(dict.fromkeys(flags)))
