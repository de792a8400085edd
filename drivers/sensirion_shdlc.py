r"""Sensirion SPS30 over its UART (SHDLC).

    > 7E 00 03 00 FC 7E                          read the newest values
    < 7E 00 03 00 28 40 A7 83 20 … 9E 7E
      │  │  │  │  │  ten float32, high byte first
      │  │  │  │  40 bytes follow
      │  │  │  state, 0: good
      │  │  command, repeated
      │  address, always 0
      frame end; between them the last byte is the complement of the sum of all before, lowest 8 bits

    < 7E 00 03 00 00 FC 7E                       good, but nothing new since the last question
    < 7E 00 03 43 00 B9 7E                       not allowed in this state: it does not measure
    > 7E 00 00 02 01 03 F9 7E                    measure, and give float32
    < 7E 00 00 00 00 FF 7E

On the wire 7E, 7D, 11 and 13 inside a frame are 7D 5E, 7D 5D, 7D 31 and 7D 33. The values are PM1, PM2.5, PM4 and
PM10, then particles from 0.3 um to 0.5, 1, 2.5, 4 and 10 um, then their typical size. New ones come each second.

The sensor is idle when it gets its power. A read that finds it so starts it, and gives no values, flagged `stopped`.
Any other state is a refusal with the state as its code.

Line: 115200 8N1, the sensor's interface pin open or high (UART).

Evidence: captured
Source: PyPMS (captured answers, commands, "no data" and state 43 hex; tests/captured_data/SPS30). The answers to the
start command and of an idle sensor are built. Not confirmed on hardware here. Other SHDLC sensors, fan cleaning, sleep
and the device status register (fan and laser faults) are not covered: a broken fan is not flagged.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from drivers.checksum import sum8
from drivers.driver import Exchange
from drivers.errors import BadAnswer, Refused
from drivers.fields import Table
from drivers.identity import Question
from drivers.number import shortest
from drivers.sample import Channel, Flag, Sample

if TYPE_CHECKING:
    from drivers.line import Line

OPTIONS = Table()
CHANNELS = (
    Channel("pm1", "PM1", "µg/m³"),
    Channel("pm25", "PM2.5", "µg/m³"),
    Channel("pm4", "PM4", "µg/m³"),
    Channel("pm10", "PM10", "µg/m³"),
    *(Channel(name, name, "1/cm³") for name in (f"particles_to_{size}um" for size in ("0.5", "1", "2.5", "4", "10"))),
    Channel("typical_size", "typical_size", "µm"),
)
_END, _STUFF = 0x7E, 0x7D
_STUFFED = {0x5E: 0x7E, 0x5D: 0x7D, 0x31: 0x11, 0x33: 0x13}
_START, _READ = 0x00, 0x03
_MEASURE = b"\x01\x03"
_NOT_ALLOWED = 0x43
_FLOATS = struct.Struct(">10f")
_LIMIT = 512

IDENTITY = (
    Question(
        lambda _: b"\x7e\x00\x03\x00\xfc\x7e",
        re.compile(rb"\x7e\x00\x03(?:\x43\x00\xb9|\x00\x00\xfc|\x00\x28[^\x7e]{41,84})\x7e"),
        lambda _: {},
    ),
)


class Frame(NamedTuple):
    """What an answer says, once its ends, stuffing and sum are gone."""

    state: int
    data: bytes


READS = re.compile(rb"\x7e\x00\x03\x00\xfc\x7e")
"""Reading the values; a start command makes an idle sensor measure."""


def driver(options: dict[str, Any]) -> Sps30:
    """Build the driver; it has no options."""
    del options
    return Sps30()


class Sps30:
    """One sensor."""

    has_checksum = True
    channels = CHANNELS

    def read(self, line: Line, address: int) -> list[Sample]:
        """Ask for the newest values; start a sensor that does not measure."""
        del address  # an SPS30 has no other than 0
        answer = _ask(line, _READ, b"")
        if answer.state == _NOT_ALLOWED:
            return _start(line)
        if answer.state:
            raise Refused(f"the sensor refuses to be read, state {answer.state:02X}", answer.state)
        if not answer.data:
            return []
        if len(answer.data) != _FLOATS.size:
            raise BadAnswer(f"{len(answer.data)} bytes of values, expected were {_FLOATS.size}")
        values = shortest(_FLOATS.unpack(answer.data))
        return [
            Sample(channel.name, value, () if value is not None else (Flag.FAULT,))
            for channel, value in zip(CHANNELS, values, strict=True)
        ]

    def plan(self, framer: str) -> list[Exchange]:
        """One question, and what starts an idle sensor; at worst every byte of an answer is stuffed."""
        del framer
        start = Exchange("at start: MEASURE", len(_frame(_START, _MEASURE)), 2 + 2 * 5, is_once=True, is_order=True)
        return [start, Exchange("read", len(_frame(_READ, b"")), 2 + 2 * (5 + _FLOATS.size))]


def _start(line: Line) -> list[Sample]:
    answer = _ask(line, _START, _MEASURE)
    if answer.state:
        raise Refused(f"the sensor refuses to measure, state {answer.state:02X}", answer.state)
    return [Sample(channel.name, None, (Flag.STOPPED,)) for channel in CHANNELS]


def _ask(line: Line, command: int, data: bytes) -> Frame:
    answer = line.ask(_frame(command, data), _complete)
    content = _unstuffed(answer[answer.rindex(_END, 0, -1) + 1 : -1])
    if len(content) < 5 or sum8(content) != 0xFF:
        raise BadAnswer("wrong checksum")
    if content[:2] != bytes([0, command]):
        raise BadAnswer(f"answers command {content[1]:02X} of address {content[0]}, asked was {command:02X} of 0")
    if len(content) != content[3] + 5:
        raise BadAnswer(f"{len(content) - 5} bytes in the frame, announced are {content[3]}")
    return Frame(content[2], content[4:-1])


def _frame(command: int, data: bytes) -> bytes:
    """Build a request; none of ours has a byte that must be stuffed."""
    content = bytes([0, command, len(data)]) + data
    return bytes([_END]) + content + bytes([~sum8(content) & 0xFF, _END])


def _complete(data: bytes) -> int:
    """Find the end of the first frame that has anything between its ends."""
    start = data.find(_END)
    while start >= 0 and data[start + 1 : start + 2] == bytes([_END]):
        start += 1
    end = data.find(_END, start + 1) if start >= 0 else -1
    if end < 0 and len(data) > _LIMIT:
        raise BadAnswer(f"{len(data)} bytes without a whole frame")
    return end + 1


def _unstuffed(data: bytes) -> bytes:
    content = bytearray()
    rest = iter(data)
    for byte in rest:
        meant = _STUFFED.get(next(rest, -1)) if byte == _STUFF else byte
        if meant is None:
            raise BadAnswer("a byte is stuffed that need not be")
        content.append(meant)
    return bytes(content)
