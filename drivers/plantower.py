r"""Plantower PMS1003, PMS3003, PMS5003, PMS5003T, PMS7003 and PMSA003, talking unasked or asked.

    < 42 4D 00 1C 00 00 00 08 00 08 00 00 00 08 00 08 00 D2 00 46 00 2D 00 1E 00 00 00 00 97 00 02 C5
      "BM"  │     PM1   PM2.5 PM10  PM1   PM2.5 PM10  particles in 0.1 L of air, larger than      │     sum of all
            │     "factory", CF = 1 in the atmosphere 0.3   0.5   1     2.5   5     10 um     reserved  before, 16 bits
            bytes that follow: 28; all numbers have 16 bits, high byte first

    PMS3003: 20 bytes follow, six concentrations and three reserved numbers; no commands
    PMS5003T: four counts (0.3 to 2.5 um), then temperature (signed) and humidity, both in tenths

`mode = "active"` listens to what it sends by itself each 0.2 to 2.3 s, as it does after power-up. `passive` has it
speak only when asked; since it forgets that with its power, it is told before each question:

    > 42 4D E1 00 00 01 70          be passive (the sum counts all before)
    < 42 4D 00 04 E1 00 01 74
    > 42 4D E2 00 00 01 71          give a reading

The frame has no status. A frame of zeros alone is sent while it warms up: no values, `stopped`. For ambient air use the
values "in the atmosphere": `pm1`, `pm25`, `pm10`.

Line: 9600 8N1, a line of its own.

Evidence: captured
Source: PyPMS (captured frames, commands, zeros while warming up), Plantower PMS5003 and PMS7003 data manuals (units,
intervals). The answer to "be passive" is built from the rule. Not confirmed on hardware here. What the reserved numbers
mean differs between models and is not looked at; sleeping and waking are not covered.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from drivers.checksum import sum16
from drivers.driver import Exchange
from drivers.errors import BadAnswer
from drivers.fields import Choice, Key, Table, duration
from drivers.sample import Channel, Flag, Sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from drivers.line import Line


class Model(NamedTuple):
    """A frame: how its numbers are packed, what they are in their order, and whether it can be asked."""

    packing: str
    channels: tuple[Channel, ...]
    takes_commands: bool = True


def _count(size: str) -> Channel:
    name = f"particles_over_{size}um"
    return Channel(name, name, "1/0.1L")


_MASS = (
    Channel("pm1_factory", "PM1_factory", "µg/m³"),
    Channel("pm25_factory", "PM2.5_factory", "µg/m³"),
    Channel("pm10_factory", "PM10_factory", "µg/m³"),
    Channel("pm1", "PM1", "µg/m³"),
    Channel("pm25", "PM2.5", "µg/m³"),
    Channel("pm10", "PM10", "µg/m³"),
)
_COUNTS = tuple(map(_count, ("0.3", "0.5", "1", "2.5", "5", "10")))
_AIR = (Channel("air_temperature", "air_temperature", "°C"), Channel("relative_humidity", "relative_humidity", "%"))
MODELS = {
    "pmsx003": Model(">12H2x", (*_MASS, *_COUNTS)),
    "pms3003": Model(">6H6x", _MASS, takes_commands=False),
    "pms5003t": Model(">10HhH2x", (*_MASS, *_COUNTS[:4], *_AIR)),
}
_TENTHS = {channel.name for channel in _AIR}

OPTIONS = Table(
    Key("model", Choice(*MODELS), doc="pmsx003: PMS1003, 5003, 7003, A003; fixes the channels"),
    Key("mode", Choice("active", "passive"), "active", doc="it talks unasked, or is asked"),
    Key("patience", duration(0.1, 60), 5.0, doc="active: a frame comes at least this often"),
)
_START = b"BM"
_BE_PASSIVE, _IS_PASSIVE = b"BM\xe1\x00\x00\x01\x70", b"BM\x00\x04\xe1\x00\x01\x74"
_READ = b"BM\xe2\x00\x00\x01\x71"
_LIMIT = 512

READS = re.compile(re.escape(_READ))
"""Being told to be passive, a sensor talks no more."""


def driver(options: dict[str, Any]) -> Plantower:
    """Build the driver from checked options."""
    return Plantower(options)


class Plantower:
    """One sensor."""

    has_checksum = True

    def __init__(self, options: dict[str, Any]) -> None:
        model = MODELS[options["model"]]
        self.unsolicited = options["mode"] == "active"
        if not self.unsolicited and not model.takes_commands:
            raise ValueError(f'a {options["model"]} takes no commands; allowed: mode = "active"')
        self.channels = model.channels
        self.patience_s = options["patience"]
        self._numbers = struct.Struct(model.packing)
        self._start = _START + struct.pack(">H", self._numbers.size + 2)
        self._length = len(self._start) + self._numbers.size + 2

    def read(self, line: Line, address: int) -> list[Sample]:
        """Wait for the next frame, or ask for one."""
        del address  # there is one sensor at the other end
        complete = _frame(self._start, self._length)
        if self.unsolicited:
            frame = line.listen(complete, timeout_s=self.patience_s)
        else:
            line.ask(_BE_PASSIVE, _frame(_IS_PASSIVE, len(_IS_PASSIVE)))
            frame = line.ask(_READ, complete)
        return self._samples(frame[-self._length :])

    def plan(self, framer: str) -> list[Exchange]:
        """Nothing is sent to one that talks; else two questions."""
        del framer
        if self.unsolicited:
            return [Exchange("listen", 0, self._length)]
        passive = Exchange("BE PASSIVE", len(_BE_PASSIVE), len(_IS_PASSIVE), is_order=True)
        return [passive, Exchange("read", len(_READ), self._length)]

    def _samples(self, frame: bytes) -> list[Sample]:
        if sum16(frame[:-2]) != int.from_bytes(frame[-2:], "big"):
            raise BadAnswer("wrong checksum")
        payload = frame[len(self._start) : -2]
        if not any(payload):
            return [Sample(channel.name, None, (Flag.STOPPED,)) for channel in self.channels]
        return [
            Sample(channel.name, number / 10 if channel.name in _TENTHS else number)
            for channel, number in zip(self.channels, self._numbers.unpack(payload), strict=True)
        ]


def _frame(start: bytes, length: int) -> Callable[[bytes], int]:
    """Build the test for a frame that begins like this, behind whatever is left of one before."""

    def complete(data: bytes) -> int:
        place = data.find(start)
        if place >= 0 and len(data) >= place + length:
            return place + length
        if len(data) > _LIMIT:
            raise BadAnswer(f"{len(data)} bytes without a whole frame of this model")
        return 0

    return complete
