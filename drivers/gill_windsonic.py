r"""Gill WindSonic in its polar format, talking unasked (continuous) or asked (polled).

    > "?Q"                                          polled only: ? wakes the polled mode, Q is its name
    < STX "Q,229,002.74,M,00," ETX "16" CR LF
           │ │   │      │ │         exclusive or of what stands between STX and ETX, two hex digits
           │ │   │      │ status: 00, A good; 01, 02, 04 a transducer; 08, 09 its memory; V void
           │ │   │      unit: M m/s, N knots, P mph, K km/h, F ft/min
           │ │   speed
           │ direction in degrees, may be empty
           name of the instrument, a letter
    > "!"                                           polled only: no stray letter counts as a poll until the next ?

An empty direction or speed is what it could not compute; the direction is empty in a calm, too (below 0.05 m/s as
shipped). Another unit than the one set is a BadAnswer, since someone has reconfigured the instrument.

Continuous (M2): the next whole message after the poll's begin counts, so `patience` must be longer than the time
between two messages (1 s as shipped, up to 4 s). Polled (M4): the answer comes within 130 ms; a name from A to F and
K, M, N, P may stand in an answer and had better not be used. Either way the instrument wants a line of its own: it
talks over others, or every letter on the line is a poll to it. For its NMEA formats take `nmea_0183`, for SDI-12
`sdi_12`. `stationd scan` finds a polled one by its name as delivered, Q; what it answers to ?&, one letter, would tell
it from nothing else.

Line: 9600 8N1.

Evidence: built
Source: format and set-up from forge (acquire_gillwindsonic), whose simulator made the line above; the sum recomputed.
Status codes, calm and polled mode from the user manual (1405 PS 0019 issue 28, sections 9.1 to 9.3, 10 and 11.5), which
shows no whole exchange. Not confirmed on hardware.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from drivers.checksum import xor8
from drivers.driver import Exchange
from drivers.errors import BadAnswer
from drivers.fields import Choice, Key, Table, Text, duration
from drivers.identity import Question
from drivers.sample import Channel, Flag, Sample

if TYPE_CHECKING:
    from drivers.line import Line

UNITS = {"m/s": "M", "kn": "N", "mph": "P", "km/h": "K", "ft/min": "F"}
OPTIONS = Table(
    Key("unit", Choice(*UNITS), "m/s", doc="unit of the speed that the instrument is set to"),
    Key("node", Text(re.compile("[A-Z]"), "a capital letter"), "Q", doc="name of the instrument"),
    Key("patience", duration(), 2.5, doc="a message comes at least this often; continuous mode"),
    Key("mode", Choice("continuous", "polled"), "continuous", doc="M2 or M4, as the instrument is set"),
)

_MESSAGE = re.compile(rb"\x02([^\x02\x03]*)\x03([0-9A-Fa-f]{2})\r\n")
_FIELDS = re.compile(r"([A-Z]),(\d{3})?,(\d{1,3}\.\d{1,2})?,([MNPKF]),([0-9AV]{1,2}),")
_GOOD = {"00", "A"}
_LONGEST = 32
_LIMIT = 1024


def options_for(heard: bytes) -> dict[str, Any] | None:
    """Give name and unit of the first message that was heard."""
    for found in _MESSAGE.finditer(heard):
        if fields := _FIELDS.fullmatch(found[1].decode("latin-1")):
            unit = next(unit for unit, letter in UNITS.items() if letter == fields[4])
            said = {"node": fields[1], "unit": unit}
            return {name: value for name, value in said.items() if value != OPTIONS.keys[name].default}
    return None


def _polled_options(found: re.Match[bytes]) -> dict[str, Any]:
    return {"mode": "polled", **(options_for(found[0] + b"\r\n") or {})}


IDENTITY = (
    Question(
        lambda _: b"?Q",
        re.compile(rb"\x02Q,(?:\d{3})?,(?:\d{1,3}\.\d{1,2})?,[MNPKF],[0-9AV]{1,2},\x03[0-9A-Fa-f]{2}"),
        _polled_options,
        then=(Question(lambda _: b"!", re.compile(rb"(?!)"), lambda _: {}),),
    ),
)
"""The poll of one that has its name as delivered, Q, and the end of polling, which nobody answers."""


def driver(options: dict[str, Any]) -> WindSonic:
    """Build the driver from checked options."""
    return WindSonic(options)


class WindSonic:
    """One anemometer."""

    has_checksum = True

    def __init__(self, options: dict[str, Any]) -> None:
        self._letter = UNITS[options["unit"]]
        self._node = options["node"]
        self.patience_s = options["patience"]
        self._is_polled = options["mode"] == "polled"
        self.unsolicited = not self._is_polled
        self.channels = (
            Channel("wind_direction", "wind_direction", "deg"),
            Channel("wind_speed", "wind_speed", options["unit"]),
        )

    def read(self, line: Line, address: int) -> list[Sample]:
        """Wait for the next message, or ask for one."""
        del address  # the instrument names itself by its letter
        direction, speed, status = self._fields(self._message(line))
        flags = () if status in _GOOD else (Flag.FAULT,)
        values = (float(direction) if direction else None, float(speed) if speed else None)
        return [
            Sample(channel.name, value, (Flag.FAULT,) if value is None else flags)
            for channel, value in zip(self.channels, values, strict=True)
        ]

    def plan(self, framer: str) -> list[Exchange]:
        """Unasked, nothing is sent, and the wait for a message is not the line's time."""
        del framer
        if self._is_polled:
            return [Exchange("poll", 2, _LONGEST), Exchange("end of poll", 1, 0)]
        return [Exchange("listen", 0, _LONGEST)]

    def _message(self, line: Line) -> bytes:
        if not self._is_polled:
            return line.listen(_complete, timeout_s=self.patience_s)
        answer = line.ask(b"?" + self._node.encode(), _complete)
        line.tell(b"!")
        return answer

    def _fields(self, message: bytes) -> tuple[str, str, str]:
        """Give direction, speed and status as they stand in the message."""
        found = _MESSAGE.fullmatch(message, max(message.rfind(b"\x02"), 0))
        if not found:
            raise BadAnswer(f"not a message from STX to sum: {message[-40:]!r}")
        if int(found[2], 16) != xor8(found[1]):
            raise BadAnswer("wrong checksum")
        fields = _FIELDS.fullmatch(found[1].decode("latin-1"))
        if not fields:
            raise BadAnswer(f"not a polar message: {found[1]!r}")
        node, direction, speed, letter, status = fields.groups(default="")
        if node != self._node:
            raise BadAnswer(f"from instrument {node}, expected was {self._node}")
        if letter != self._letter:
            raise BadAnswer(f"speed in unit {letter}, the unit set is {self._letter}")
        return direction, speed, status


def _complete(data: bytes) -> int:
    """Find the end of the first message that began after the line was opened, not of a tail before it."""
    if len(data) > _LIMIT:
        raise BadAnswer(f"{len(data)} bytes without a whole message")
    start = data.find(b"\x02")
    return data.find(b"\r\n", start) + 2 if start >= 0 and b"\r\n" in data[start:] else 0
