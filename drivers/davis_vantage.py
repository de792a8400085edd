r"""Davis Vantage Pro, Vantage Pro2 and Vantage Vue consoles: one LOOP packet.

    > LF                                wakes the console
    < LF CR
    > "LOOP 1" LF
    < 06 4C 4F 4F C4 00 68 02 54 7B 52 03 1E FF 7F FF FF FF 7F …  0A 0D 2A 3C     captured
      │  └─L─O─O┘ │  │  │     │     │     │  │     │  │  └ 16 wind direction, degrees
      │           │  │  │     │     │     │  │     │  └ 15 wind speed, mean of 10 min, mph
      ACK         │  │  │     │     │     │  │     └ 14 wind speed, mph
                  │  │  │     │     │     │  └ 12 outside temperature, 0.1 °F (7FFF: none)
                  │  │  │     │     │     └ 11 inside humidity, %
                  │  │  │     │     └ 9 inside temperature, 0.1 °F: 0352 is 85.0
                  │  │  │     └ 7 barometer, 0.001 inHg: 7B54 is 31.572
                  │  │  └ 5 number of the next archive record
                  │  └ 4 kind of packet, 0
                  └ 3 trend of the barometer

99 bytes, numbers low byte first. Then come 18 extra, 25 soil and 29 leaf temperatures (°F + 90), 33 outside and 34
extra humidity, 41 rain rate and 50, 52, 54 rain of day, month, year (tips of the collector), 43 UV index (0.1), 44
solar radiation (W/m²), 86 a bit for each transmitter whose battery is low, 87 the console's battery (300/51200 V), 95
LF CR, 97 CRC-CCITT with the high byte first: over the whole packet it gives 0.

7FFF, FFFF and FF are sensors that are absent: null and a fault; leave out what a station does not have with `channels`
of its instrument file. The direction is 0 where there is none. The console itself makes the wind speed 0 when it lost
its sensor; no bit tells it from a calm. A barometer outside of 20 to 32.5 inHg is `over_range`. How much a tip of the
rain collector is, no packet says: see `rain_tip`.

A console that sleeps may leave the wake unanswered; that read fails, and the next one finds it awake. A packet comes
up to 2 s after it was asked for: `timeout` of the instrument must be longer.

Line: 19200 8N1, or TCP 22222 of WeatherLink IP.

Evidence: captured
Source: packet captured in the tests of PyVantagePro, sum recomputed; fields from Davis' serial communication reference
manual (rev. 2.3, section IX.1) and from weewx and PyVantagePro. The exchange around the packet by the same manual. Not
confirmed on hardware here. LOOP2, soil moisture, leaf wetness, evapotranspiration, alarms and archive are not read.
"""

from __future__ import annotations

import re
from struct import unpack_from
from typing import TYPE_CHECKING, Any, NamedTuple

from drivers.checksum import crc_ccitt
from drivers.driver import Exchange
from drivers.errors import BadAnswer, Refused
from drivers.fields import Choice, Key, ListOf, Table
from drivers.identity import Question
from drivers.line import until
from drivers.sample import Channel, Flag, Sample

if TYPE_CHECKING:
    from drivers.line import Line


class Place(NamedTuple):
    """A channel and where it stands: offset, form for `struct`, the raw value of no sensor, raw / divisor + offset."""

    channel: Channel
    at: int
    form: str
    absent: int | None
    divisor: float = 1
    plus: int = 0


def _byte(name: str, parameter: str, unit: str, at: int, plus: int = 0) -> Place:
    return Place(Channel(name, parameter, unit), at, "B", 0xFF, 1, plus)


_PLACES = (
    Place(Channel("air_pressure", "air_pressure", "inHg"), 7, "<H", 0, 1000),
    Place(Channel("inside_temperature", "inside_temperature", "°F"), 9, "<h", 0x7FFF, 10),
    _byte("inside_humidity", "inside_humidity", "%", 11),
    Place(Channel("air_temperature", "air_temperature", "°F"), 12, "<h", 0x7FFF, 10),
    _byte("relative_humidity", "relative_humidity", "%", 33),
    _byte("wind_speed", "wind_speed", "mph", 14),
    _byte("wind_speed_10min", "wind_speed_10min", "mph", 15),
    Place(Channel("wind_direction", "wind_direction", "deg"), 16, "<H", 0x7FFF),
    Place(Channel("uv_index", "uv_index", ""), 43, "B", 0xFF, 10),
    Place(Channel("solar_radiation", "solar_radiation", "W/m²"), 44, "<H", 0x7FFF),
    Place(Channel("battery_voltage", "battery_voltage", "V"), 87, "<H", None, 51200 / 300),
    Place(Channel("low_batteries", "low_batteries", ""), 86, "B", None),
)
_RAIN = {"rain_rate": 41, "rain_day": 50, "rain_month": 52, "rain_year": 54}
_TIPS = {"0.01in": ("in", 100), "0.2mm": ("mm", 5)}
_EXTRA = {
    place.channel.name: place
    for place in (
        *(_byte(f"extra_temperature_{n}", "extra_temperature", "°F", 17 + n, -90) for n in range(1, 8)),
        *(_byte(f"soil_temperature_{n}", "soil_temperature", "°F", 24 + n, -90) for n in range(1, 5)),
        *(_byte(f"leaf_temperature_{n}", "leaf_temperature", "°F", 28 + n, -90) for n in range(1, 5)),
        *(_byte(f"extra_humidity_{n}", "extra_humidity", "%", 33 + n) for n in range(1, 8)),
    )
}
OPTIONS = Table(
    Key("rain_tip", Choice(*_TIPS), doc="one tip of the rain collector"),
    Key("extra", ListOf(Choice(*_EXTRA), is_set=True), [], doc="further sensors of this station"),
)

_ACK, _NAK = 0x06, (0x15, 0x21)  # 21 by the reference, 15 by what consoles do (weewx)
_LENGTH = 99
_LOWEST_INHG, _HIGHEST_INHG = 20, 32.5

IDENTITY = (
    Question(
        lambda _: b"\nVER\n",
        re.compile(rb"\n\rOK\n\r[A-Z][a-z]{2} +\d{1,2} +\d{4}\n\r"),
        lambda _: {},
    ),
)
"""The date of its firmware (page 11 of the manual named above); the line feed before it wakes the console."""


def driver(options: dict[str, Any]) -> DavisVantage:
    """Build the driver from checked options."""
    return DavisVantage(options)


class DavisVantage:
    """One console."""

    has_checksum = True

    def __init__(self, options: dict[str, Any]) -> None:
        unit, divisor = _TIPS[options["rain_tip"]]
        rain = [
            Place(Channel(name, name, f"{unit}/h" if name == "rain_rate" else unit), at, "<H", 0xFFFF, divisor)
            for name, at in _RAIN.items()
        ]
        self._places = (*_PLACES, *rain, *(_EXTRA[name] for name in options["extra"]))
        self.channels = tuple(place.channel for place in self._places)

    def read(self, line: Line, address: int) -> list[Sample]:
        """Wake the console and ask for one packet."""
        del address  # there is one console on a line
        line.ask(b"\n", until(b"\n\r", limit=_LENGTH))
        answer = line.ask(b"LOOP 1\n", _complete).lstrip(b"\n\r")
        if answer[0] in _NAK:
            raise Refused(f"the console does not give a LOOP packet ({answer[0]:02X})", answer[0])
        packet = answer[1:]
        if answer[0] != _ACK or packet[:3] != b"LOO" or packet[4] or packet[95:97] != b"\n\r":
            raise BadAnswer(f"not a LOOP packet: {answer[:8].hex(' ')}")
        if crc_ccitt(packet):
            raise BadAnswer("wrong checksum (CRC)")
        return [_sample(place, packet) for place in self._places]

    def plan(self, framer: str) -> list[Exchange]:
        """One wake, one packet."""
        del framer
        return [Exchange("wake", 1, 2), Exchange("LOOP 1", 7, 1 + _LENGTH)]


def _complete(data: bytes) -> int:
    """Find the end of ACK and packet, or of any other single byte; a second answer to the wake may come before."""
    start = len(data) - len(data.lstrip(b"\n\r"))
    if start > _LENGTH:
        raise BadAnswer("line feeds without end")
    if start == len(data):
        return 0
    length = start + (1 + _LENGTH if data[start] == _ACK else 1)
    return length if len(data) >= length else 0


def _sample(place: Place, packet: bytes) -> Sample:
    raw = unpack_from(place.form, packet, place.at)[0]
    name = place.channel.name
    is_absent = raw == place.absent or (name == "wind_direction" and raw == 0)
    if is_absent:
        return Sample(name, None, (Flag.FAULT,))
    value = raw + place.plus if place.divisor == 1 else round(raw / place.divisor + place.plus, 3)
    return Sample(name, value, _flags(name, value))


def _flags(name: str, value: float) -> tuple[Flag, ...]:
    if name == "low_batteries" and value:
        return (Flag.FAULT,)
    if name == "air_pressure" and not _LOWEST_INHG <= value <= _HIGHEST_INHG:
        return (Flag.OVER_RANGE,)
    if name == "wind_direction" and value > 360:
        raise BadAnswer(f"no direction: {value}")
    return ()
