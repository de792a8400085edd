r"""Palas Fidas 200 and its kin (Fidas Smart, Promo, UF-CPC), asked over TCP or talking unasked over UDP.

Every value has a number. TCP 4672 ("TCP/IP ASCII" in the menu "interfaces"), `mode = "polled"`:

    > "<getVal60;61;62>\r\n"
    < "<sendVal 60=1373.361084;61=0.083834;62=0.116399>7C\r\n"
       │        number=value                            │ exclusive or of `<` to `>` inclusive, two hex digits
    < "<fail>00\r\n"                                      something in the question is not known to it

UDP, to a port that is set in the unit, `mode = "stream"`; the line is `udp = "0.0.0.0:56790"`:

    < "6082<sendVal 0=0.000000;1=0.000000;…;64=0.017911;…>5B"
       number of the unit; the sum does not cover it. One record may come in several datagrams.

Status channels are 0 (good) or 1, each about one thing: 0 flow, 1 coincidence, 2 pumps, 3 weather station, 4 IADS
(drying), 5 deviation of the raw channel, 6 LED temperature, 7 operating mode. The concentrations are in doubt
with all of them but 3; the others where it is about them. Channel 22 is the mode: 1 auto; 3 idle is `stopped`, 4
calibration and 5 offset are `calibration`, any other is `maintenance`. `status` publishes bits 0 to 7 as one number.
What is not fitted (weather station, IADS) comes as NaN or is in error for good: leave it out of `channels`.

PM values are averages over the time set in the unit (900 s as delivered), in mg/m³.

Evidence: manual
Source: Palas TCP/IP ASCII protocol for Fidas/Promo/UF-CPC, 10/2021 (frames, numbers, units); mkndaq (UDP form, names
of the modes; 13 hours of a Fidas 200 without weather station and IADS: status 1 0 0 1 1 0 0 0, NaN for 40 to 48,
so 1 is an error). Not confirmed on hardware. Its sample `…74=0.0>3E` does not hold its sum (6E) and is refused. Size
distributions (110 and above), further PM values (66 to 109) and settings are not covered.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from drivers.checksum import xor8
from drivers.driver import Exchange
from drivers.errors import BadAnswer, Refused
from drivers.fields import Choice, Key, ListOf, Table, duration
from drivers.identity import Question
from drivers.sample import Channel, Flag, Sample

if TYPE_CHECKING:
    from drivers.line import Line


class Item(NamedTuple):
    """A channel, its number, and the bits of the status that it is in doubt with."""

    name: str
    parameter: str
    unit: str
    number: int
    doubts: int = 0


_COUNTING = 0b0111_0111  # all but the weather station, and the mode, which has flags of its own
_WEATHER, _FLOW, _COINCIDENCE, _PUMPS, _IADS, _RAW, _LED = 8, 1, 2, 4, 16, 32, 64
ITEMS = (
    Item("particle_number", "particle_number", "1/cm³", 60, _COUNTING),
    Item("pm1", "PM1", "mg/m³", 61, _COUNTING),
    Item("pm25", "PM2.5", "mg/m³", 62, _COUNTING),
    Item("pm4", "PM4", "mg/m³", 63, _COUNTING),
    Item("pm10", "PM10", "mg/m³", 64, _COUNTING),
    Item("tsp", "TSP", "mg/m³", 65, _COUNTING),
    Item("velocity", "velocity", "m/s", 20, _FLOW),
    Item("coincidence", "coincidence", "%", 21, _COINCIDENCE),
    Item("pump_output", "pump_output", "%", 23, _PUMPS),
    Item("iads_temperature", "iads_temperature", "°C", 24, _IADS),
    Item("raw_channel_deviation", "raw_channel_deviation", "", 25, _RAW),
    Item("led_temperature", "led_temperature", "°C", 26, _LED),
    Item("sample_flow", "sample_flow", "L/min", 27, _FLOW),
    Item("air_temperature", "air_temperature", "°C", 40, _WEATHER),
    Item("relative_humidity", "relative_humidity", "%", 41, _WEATHER),
    Item("wind_speed", "wind_speed", "km/h", 42, _WEATHER),
    Item("wind_direction", "wind_direction", "deg", 43, _WEATHER),
    Item("air_pressure", "air_pressure", "hPa", 47, _WEATHER),
)
_STATUS, _MODE = range(8), 22
_MODE_BIT, _AUTO = 128, 1
_MODES = {_AUTO: (), 3: (Flag.STOPPED,), 4: (Flag.CALIBRATION,), 5: (Flag.CALIBRATION,)}

OPTIONS = Table(
    Key("mode", Choice("polled", "stream"), "polled", doc="asked over TCP, or talking unasked over UDP"),
    Key(
        "values",
        ListOf(Choice(*(item.name for item in ITEMS)), least=1, is_set=True),
        None,
        doc="what is asked for; default: all",
    ),
    Key("status", Choice("asked", "none"), "asked", doc="none: it is not asked for, and nothing is flagged"),
    Key("patience", duration(0.1, 80), 15.0, doc="in a stream: a record comes at least this often"),
)
_FRAME = re.compile(rb"<([^<>]*)>([0-9A-Fa-f]{2})")
_VALUES = re.compile(r"sendVal (.*?);?")
_VALUE = re.compile(r"(\d{1,4})=([+-]?\d{1,15}(?:\.\d{1,15})?(?:[eE][+-]?\d{1,2})?|[+-]?(?:nan|inf))", re.IGNORECASE)
_LIMIT = 16_384

IDENTITY = (Question(lambda _: b"<getVal60>\r\n", re.compile(rb"<sendVal 60=[^<>]*>[0-9A-Fa-f]{2}"), lambda _: {}),)


def driver(options: dict[str, Any]) -> Fidas:
    """Build the driver from checked options."""
    return Fidas(options)


class Fidas:
    """One particle spectrometer."""

    has_checksum = True

    def __init__(self, options: dict[str, Any]) -> None:
        wanted = options["values"]
        self._items = [item for item in ITEMS if wanted is None or item.name in wanted]
        self._has_status = options["status"] == "asked"
        self.patience_s = options["patience"]
        self.unsolicited = options["mode"] == "stream"
        channels = [Channel(item.name, item.parameter, item.unit) for item in self._items]
        own = [Channel("operating_mode", "operating_mode", ""), Channel("status", "status_word", "")]
        self.channels = (*channels, *(own if self._has_status else ()))
        numbers = [*(_STATUS if self._has_status else ()), *([_MODE] if self._has_status else ())]
        self._numbers = sorted({*numbers, *(item.number for item in self._items)})

    def read(self, line: Line, address: int) -> list[Sample]:
        """Ask for the values, or wait for the next record; what else it has is passed over."""
        del address  # there is one unit at the other end
        if self.unsolicited:
            answer = line.listen(_complete, timeout_s=self.patience_s)
        else:
            answer = line.ask(self._request, _complete)
        values = _values(answer)
        if missing := [str(number) for number in self._numbers if number not in values]:
            raise BadAnswer(f"no value with number {', '.join(missing)} in the answer")
        return self._samples(values)

    def plan(self, framer: str) -> list[Exchange]:
        """Count one request and 16 characters for each value; nothing is sent to a stream."""
        del framer
        received = 16 + 16 * len(self._numbers)
        return [
            Exchange("listen", 0, received) if self.unsolicited else Exchange("getVal", len(self._request), received)
        ]

    @property
    def _request(self) -> bytes:
        return b"<getVal%s>\r\n" % ";".join(map(str, self._numbers)).encode()

    def _samples(self, values: dict[int, float]) -> list[Sample]:
        if not self._has_status:
            return [_sample(item.name, values[item.number], ()) for item in self._items]
        bits, mode = _bits(values), _whole(values, _MODE)
        held = _MODES.get(mode, (Flag.MAINTENANCE,)) or ((Flag.MAINTENANCE,) if bits & _MODE_BIT else ())
        samples = [
            _sample(item.name, values[item.number], held + ((Flag.FAULT,) if bits & item.doubts else ()))
            for item in self._items
        ]
        return [*samples, Sample("operating_mode", mode), Sample("status", bits)]


def _complete(data: bytes) -> int:
    """Find the end of the first record that began after the listening, not of a tail before it."""
    if len(data) > _LIMIT:
        raise BadAnswer(f"{len(data)} bytes without a whole record")
    start = data.find(b"<")
    end = data.find(b">", start) + 3
    return end if start >= 0 and 3 <= end <= len(data) else 0


def _values(answer: bytes) -> dict[int, float]:
    """Give the values by their numbers."""
    found = _FRAME.fullmatch(answer, max(answer.rfind(b"<"), 0))
    if not found:
        raise BadAnswer(f"not a record from < to its sum: {answer[-40:]!r}")
    if int(found[2], 16) != xor8(b"<" + found[1] + b">"):
        raise BadAnswer("wrong checksum")
    text = found[1].decode("latin-1")
    if text == "fail":
        raise Refused("the unit says fail: it does not know one of the values, or this form of question")
    listed = _VALUES.fullmatch(text)
    pairs = [_VALUE.fullmatch(pair) for pair in listed[1].split(";")] if listed else [None]
    values = {int(pair[1]): float(pair[2]) for pair in pairs if pair}
    if len(values) != len(pairs):
        raise BadAnswer(f"not a list of values, each once: {text[:60]!r}")
    return values


def _bits(values: dict[int, float]) -> int:
    bits = [_whole(values, number) for number in _STATUS]
    if not set(bits) <= {0, 1}:
        raise BadAnswer(f"status channels are not 0 or 1: {bits}")
    return sum(bit << place for place, bit in enumerate(bits))


def _whole(values: dict[int, float], number: int) -> int:
    value = values[number]
    if not math.isfinite(value) or value != int(value):
        raise BadAnswer(f"channel {number} is no whole number: {value}")
    return int(value)


def _sample(name: str, value: float, flags: tuple[Flag, ...]) -> Sample:
    """Give a value; what is not a number (nothing is fitted there) is none."""
    if math.isfinite(value):
        return Sample(name, value, flags)
    return Sample(name, None, flags if Flag.FAULT in flags else (*flags, Flag.FAULT))
