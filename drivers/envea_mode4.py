r"""ENVEA / Environnement SA AC32, CO12, AF22, O342, MP101 over their serial protocol "mode 4".

Message 04 asks for state and integers, message 24 for floats:

    > STX "AC32" "04" "07" ETX
           │      │    exclusive or of what stands between STX and itself, two hex digits
           │      message
           name of the instrument, four characters (an MP101 has a number)
    < ACK STX "AC32" "04" "M" "00" "00007218" "00020361" "00013142" "45" ETX
                          │   │    integers of eight characters
                          │   alarms, two hex digits
                          mode: M measures, Z zero, S span, R reference

    > STX "AC32" "24" "000103" "07" ETX
    < ACK STX "AC32" "24"  02 00 40 E7 00 69  02 00 41 A2 E3 54  02 00 41 52 45 A2  "69" ETX
                           02 00 and a float, high byte first: NO 7.2188; NOx 20.361; NO2 13.142

Either ESC stands in place of ACK, or there is no STX behind it: both are taken, since the source names the first byte
alone. `values = "floats"` asks 04 for the state and 24 for the values, `"integers"` takes them from 04, times the
`scale` of each channel, which no source says. Channels come in the order of the answer. Zero, span and reference are
calibration; another letter is a BadAnswer. What the alarm bits mean could not be had: any is a fault of everything,
and they are passed on as `alarm`.

Line: 9600 8N1. What the six digits behind 24 select is not known; those above are the only ones seen.

Evidence: built
Source: SadraAQMS, an open driver for these analyzers: both requests with their sums, which hold; the layout of the
answers. The answer that it quotes has 86 as its sum, which does not hold, so frames here are built by the rule around
its values. Not confirmed on hardware.
"""

from __future__ import annotations

import re
import struct
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from drivers.checksum import xor8
from drivers.driver import Exchange
from drivers.errors import BadAnswer
from drivers.fields import NAME, Choice, Key, ListOf, Number, Table, Text
from drivers.identity import Question
from drivers.number import shortest
from drivers.sample import Channel, Flag, Sample
from drivers.units import Unit

if TYPE_CHECKING:
    from drivers.complete import Complete
    from drivers.line import Line
    from drivers.sample import Value

_CHANNEL = Table(
    Key("name", Text(NAME, "a name"), doc="name of the channel"),
    Key("parameter", Text(), doc="the quantity measured"),
    Key("unit", Unit(), doc="the unit that the instrument is set to"),
    Key("scale", Number(), 1, doc="what an integer is multiplied by"),
)
OPTIONS = Table(
    Key("name", Text(re.compile(r"[A-Z0-9]{4}"), "four capitals or digits"), doc="what the instrument is called"),
    Key("values", Choice("floats", "integers"), "floats", doc="from message 24, or from 04"),
    Key("selection", Text(re.compile(r"\d{6}"), "six digits"), "000103", doc="what stands behind 24"),
    Key("channels", ListOf(_CHANNEL, least=1), doc="what the values are, in their order"),
)

_STX, _ETX, _ACK, _ESC = b"\x02", b"\x03", 6, 0x1B
_STATE, _FLOATS = b"04", b"24"
_BLOCK = struct.Struct(">2sf")
_MARK = b"\x02\x00"
_MODES: dict[str, tuple[Flag, ...]] = {
    "M": (),
    "Z": (Flag.CALIBRATION,),
    "S": (Flag.CALIBRATION,),
    "R": (Flag.CALIBRATION,),
}
_STATE_DATA = re.compile(r"([A-Z])([0-9A-F]{2})((?:[ +-][0-9]{7}|[0-9]{8}){0,32})")
_SUM = re.compile(rb"[0-9A-F]{2}", re.IGNORECASE)
_LIMIT = 1024
_DIGITS = 8
_STATE_CHANNELS = (Channel("mode", "mode", ""), Channel("alarm", "alarm_word", ""))


def _asks(name: bytes) -> Question:
    covered = name + _STATE
    request = _STX + covered + b"%02X" % xor8(covered) + _ETX
    answer = re.compile(rb"[\x06\x1b]\x02?" + covered + rb"[A-Z][0-9A-F]{2}[^\x03]*\x03")
    return Question(lambda _: request, answer, lambda _: {"name": name.decode()})


IDENTITY = tuple(map(_asks, (b"AC32", b"CO12", b"AF22", b"O342")))
"""The state, asked by the name; an MP101 is called by a number that only its owner knows."""


def driver(options: dict[str, Any]) -> EnveaMode4:
    """Build the driver from checked options."""
    return EnveaMode4(options)


class EnveaMode4:
    """One analyzer."""

    has_checksum = True

    def __init__(self, options: dict[str, Any]) -> None:
        self._name: bytes = options["name"].encode()
        self._selection: bytes = options["selection"].encode() if options["values"] == "floats" else b""
        self._scales = [Fraction(str(one["scale"])) for one in options["channels"]]
        self._values = [Channel(one["name"], one["parameter"], one["unit"]) for one in options["channels"]]
        self.channels = (*self._values, *_STATE_CHANNELS)

    def read(self, line: Line, address: int) -> list[Sample]:
        """Ask for the state and its integers, and for the floats if they are wanted."""
        del address  # the instrument is called by its name
        mode, alarm, integers = self._state(line)
        values = self._floats(line) if self._selection else self._scaled(integers)
        flags = _MODES[mode] + ((Flag.FAULT,) if int(alarm, 16) else ())
        samples = [
            Sample(channel.name, value, flags if value is not None else tuple(dict.fromkeys((*flags, Flag.FAULT))))
            for channel, value in zip(self._values, values, strict=True)
        ]
        return [*samples, Sample("mode", mode, flags), Sample("alarm", alarm, flags)]

    def plan(self, framer: str) -> list[Exchange]:
        """One request, or two, and answers of eight or six bytes a value."""
        del framer
        count = len(self._values)
        state = Exchange("04", len(self._frame(_STATE)), 14 + _DIGITS * count)
        floats = Exchange("24", len(self._frame(_FLOATS, self._selection)), 11 + _BLOCK.size * count)
        return [state, floats] if self._selection else [state]

    def _frame(self, message: bytes, data: bytes = b"") -> bytes:
        covered = self._name + message + data
        return _STX + covered + b"%02X" % xor8(covered) + _ETX

    def _state(self, line: Line) -> tuple[str, str, list[int]]:
        data = self._data(line.ask(self._frame(_STATE), _until_etx), _STATE).decode("latin-1")
        found = _STATE_DATA.fullmatch(data)
        if not found:
            raise BadAnswer(f"not mode, alarms and integers: {data[:40]!r}")
        if found[1] not in _MODES:
            raise BadAnswer(f"mode {found[1]!r} is not known")
        texts = [found[3][start : start + _DIGITS] for start in range(0, len(found[3]), _DIGITS)]
        return found[1], found[2], [int(text) for text in texts]

    def _scaled(self, integers: list[int]) -> list[Value]:
        if len(integers) < len(self._scales):
            raise BadAnswer(f"{len(integers)} integers, {len(self._scales)} channels")
        return [float(integer * scale) for integer, scale in zip(integers, self._scales, strict=False)]

    def _floats(self, line: Line) -> list[Value]:
        size = len(self._name) + len(_FLOATS) + _BLOCK.size * len(self._values)
        answer = line.ask(self._frame(_FLOATS, self._selection), _until_size(size + 3))
        blocks = list(_BLOCK.iter_unpack(self._data(answer, _FLOATS)))
        if any(mark != _MARK for mark, _ in blocks):
            raise BadAnswer("a block does not begin with 02 00")
        return list(shortest(value for _, value in blocks))

    def _data(self, answer: bytes, message: bytes) -> bytes:
        """Give what stands between the message's number and the sum; an answer may have noise before it."""
        framed = answer[_begin(answer) :]
        covered, told, end = framed[:-3], framed[-3:-1], framed[-1:]
        if end != _ETX or not _SUM.fullmatch(told):
            raise BadAnswer("no sum and ETX at the end")
        if int(told, 16) != xor8(covered):
            raise BadAnswer("wrong checksum")
        if not covered.startswith(self._name + message):
            raise BadAnswer(f"not message {message.decode()} of {self._name.decode()}: {covered[:6]!r}")
        return covered[len(self._name) + len(message) :]


def _begin(data: bytes) -> int:
    """Find where the covered bytes begin, behind ACK or ESC and an STX; the length of the data if not yet."""
    first = next((place for place, byte in enumerate(data) if byte in {_ACK, _ESC}), len(data))
    return min(first + 1 + (data[first + 1 : first + 2] == _STX), len(data))


def _until_etx(data: bytes) -> int:
    """Find the end of an answer that is text."""
    if len(data) > _LIMIT:
        raise BadAnswer(f"{len(data)} bytes without the end of the answer")
    return data.find(_ETX, _begin(data)) + 1


def _until_size(size: int) -> Complete:
    """Build the test for an answer of a known size, whose bytes may look like an ETX."""

    def complete(data: bytes) -> int:
        begin = _begin(data)
        if len(data) > _LIMIT + size:
            raise BadAnswer(f"{len(data)} bytes without the beginning of an answer")
        return begin + size if len(data) >= begin + size else 0

    return complete
