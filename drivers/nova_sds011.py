r"""Nova Fitness SDS011, SDS018 and SDS021, talking unasked once a second or asked.

    < AA C0 06 00 06 00 58 D9 3D AB
            │     │     │     │  end
            │     │     │     sum of the six bytes before, lowest 8 bits
            │     │     id of the sensor
            │     PM10, low byte first, in 0.1 µg/m³
            PM2.5: 6 is 0.6 µg/m³

    > AA B4 04 00 00 00 00 00 00 00 00 00 00 00 00 FF FF 02 AB      give a reading; FF FF: whoever you are
                                                   id    sum

`mode = "active"` listens to what it sends by itself, as it does when delivered; `query` asks. One that keeps talking
between questions is read all the same: this driver never sets the silent mode, which a sensor keeps without power.

The frame has no status. A sensor that has just started may send 0.0 and 0.0 (PyPMS takes that for warming up); clean
air and a zero filter do the same, so it is passed on.

Line: 9600 8N1, a line of its own.

Evidence: captured
Source: PyPMS (captured frames, commands; tests/captured_data/SDS01x). Not confirmed on hardware here. Working periods,
sleeping and waking are not covered.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from drivers.checksum import sum8
from drivers.driver import Exchange
from drivers.errors import BadAnswer
from drivers.fields import Choice, Key, Table, Text, duration
from drivers.identity import Question
from drivers.sample import Channel, Sample

if TYPE_CHECKING:
    from drivers.line import Line

_ANY = "FFFF"
OPTIONS = Table(
    Key("mode", Choice("active", "query"), "active", doc="it talks unasked, or is asked"),
    Key("sensor", Text(re.compile("[0-9A-F]{4}"), "an id of four hex digits"), _ANY, doc="its id; FFFF: whoever"),
    Key("patience", duration(0.1, 60), 3.0, doc="active: a frame comes at least this often"),
)
_START, _END, _LENGTH = b"\xaa\xc0", 0xAB, 10
_LIMIT = 512


def _question(sensor: str) -> bytes:
    asked = b"\x04" + bytes(12) + bytes.fromhex(sensor)
    return b"\xaa\xb4" + asked + bytes([sum8(asked), _END])


IDENTITY = (
    Question(
        lambda _: _question(_ANY),
        re.compile(rb"\xaa\xc0.{4}(?P<id>..).\xab", re.DOTALL),
        lambda found: {"mode": "query", "sensor": found["id"].hex().upper()},
    ),
)
"""A reading, of whoever there is."""


def driver(options: dict[str, Any]) -> Sds011:
    """Build the driver from checked options."""
    return Sds011(options)


class Sds011:
    """One sensor."""

    has_checksum = True
    channels = (Channel("pm25", "PM2.5", "µg/m³"), Channel("pm10", "PM10", "µg/m³"))

    def __init__(self, options: dict[str, Any]) -> None:
        self._id = options["sensor"]
        self.patience_s = options["patience"]
        self.unsolicited = options["mode"] == "active"
        self._question = _question(self._id)

    def read(self, line: Line, address: int) -> list[Sample]:
        """Wait for the next frame, or ask for one."""
        del address  # the sensor has an id of its own
        if self.unsolicited:
            answer = line.listen(_complete, timeout_s=self.patience_s)
        else:
            answer = line.ask(self._question, _complete)
        return self._samples(answer[-_LENGTH:])

    def plan(self, framer: str) -> list[Exchange]:
        """One question, or none."""
        del framer
        return [Exchange("listen", 0, _LENGTH) if self.unsolicited else Exchange("query", len(self._question), _LENGTH)]

    def _samples(self, frame: bytes) -> list[Sample]:
        if frame[-1] != _END or sum8(frame[2:8]) != frame[8]:
            raise BadAnswer("wrong checksum or end")
        sender = frame[6:8].hex().upper()
        if self._id not in {_ANY, sender}:
            raise BadAnswer(f"from sensor {sender}, expected was {self._id}")
        numbers = (int.from_bytes(frame[place : place + 2], "little") for place in (2, 4))
        return [Sample(channel.name, number / 10) for channel, number in zip(self.channels, numbers, strict=True)]


def _complete(data: bytes) -> int:
    """Find the end of the first frame that begins in the data, behind whatever is left of one before."""
    place = data.find(_START)
    if place >= 0 and len(data) >= place + _LENGTH:
        return place + _LENGTH
    if len(data) > _LIMIT:
        raise BadAnswer(f"{len(data)} bytes without a whole frame")
    return 0
