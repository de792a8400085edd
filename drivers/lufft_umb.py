r"""Lufft instruments that speak UMB binary: WS200 to WS800, Ventus, IRS31Pro and others.

    > 01 10 01 70 01 F0 04 02 23 10 64 00 03 61 D9 04
      │  │  └─to┘ └from │  │  │  │  └ch.┘ │  └CRC┘ EOT      the CRC from SOH to ETX, low byte first
      │  │              │  │  │  │        ETX
      │  │              │  │  │  version of the command
      │  │              │  │  command: 23 one channel, 2F several
      │  │              │  STX
      │  version        bytes between STX and ETX
      SOH
    < 01 10 01 F0 01 70 0A 02 23 10 00 64 00 16 00 00 B4 41 03 C6 22 04     channel 100 is 22.5
                                    │  └ch.┘ │  └─value───┘
                                    status   type: 10 u8, 11 i8, 12 u16, 13 i16, 14 u32, 15 i32, 16 float, 17 double
    > 01 10 01 90 01 F0 09 02 2F 10 03 65 00 59 02 84 03 03 D2 6C 04        three channels: 101, 601, 900
    < 01 10 01 F0 01 90 1C 02 2F 10 00 03 08 00 65 00 16 ED 14 CF 41 08 00 59 02 16 80 E3 25 3F 05 00 84 03 10 0A
      03 FC A2 04                   │  │  │  │  channel, type, value, three times
                                    │  │  │  its status
                                    │  │  bytes of status, channel, type and value
                                    │  number of channels
                                    status

All numbers come low byte first. An address is the class of the instrument (`class`: 7 for WS, 8 Ventus, 9 IRS31Pro)
and its number on the line: class 7, address 1 is 7001; an `address` above 255 is taken as the whole (0x7001). The
master is F001.

What a channel means is in the instrument's manual, for WS 100 temperature, 200 relative humidity, 300 pressure, 400
wind speed, 500 wind direction; a channel has its unit, so °C and °F are two channels, and no frame names it.

Status of a channel: 0 good; 24 no such channel is `no_comm`; 28 not ready, 36 switched off are `stopped`; 34, 35
calibrating; 50 to 53 outside of the range are `over_range`; all others a fault; the value is then null. That an
instrument does not know a command is Refused: take `request = "single"`, which all of them know.

Line: 19200 8N1, RS-485.

Evidence: manual
Source: frames from the manuals of WS700-UMB (section 19.3.4) and IRS31Pro-UMB (18.3.4), sums recomputed; status words
from both and from lufft-python. What follows a bad status no manual shows: it may be missing. Not confirmed on
hardware.
"""

from __future__ import annotations

import re
from math import isfinite
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

from drivers.checksum import crc16
from drivers.driver import Exchange
from drivers.errors import BadAnswer, Refused
from drivers.fields import NAME, Choice, Integer, Key, MapOf, Table, Text
from drivers.identity import Question
from drivers.number import shortest
from drivers.sample import Channel, Flag, Sample
from drivers.units import Unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drivers.complete import Complete
    from drivers.line import Line
    from drivers.sample import Value

_CHANNEL = Table(
    Key("name", Text(NAME, "a name"), doc="name of the channel"),
    Key("parameter", Text(), doc="the quantity measured"),
    Key("unit", Unit(), doc="the unit of that channel by the manual"),
)
OPTIONS = Table(
    Key("channels", MapOf(re.compile(r"\d{1,5}"), "a channel's number", _CHANNEL, int), doc="what each channel is"),
    Key("class", Integer(1, 15), 7, doc="class of the instrument: 7 WS, 8 Ventus, 9 IRS31Pro"),
    Key("request", Choice("multiple", "single"), "multiple", doc="channels asked for together, or one by one"),
)

_HEAD, _TAIL = 8, 4
_SOH = b"\x01\x10"
_MASTER = 0xF001
_SINGLE, _MULTIPLE, _VERSION = 0x23, 0x2F, 0x10
_TOGETHER = 16
"""The longest answer has 210 bytes, a channel at most 13."""
_LIMIT = 4096
_TYPES = {0x10 + place: Struct("<" + letter) for place, letter in enumerate("BbHhIifd")}
_NOT_UNDERSTOOD = range(0x10, 0x14)
_STATES = {
    0x24: Flag.NO_COMM,
    0x28: Flag.STOPPED,
    0x36: Flag.STOPPED,
    0x34: Flag.CALIBRATION,
    0x35: Flag.CALIBRATION,
    **dict.fromkeys(range(0x50, 0x54), Flag.OVER_RANGE),
}


class Reading(NamedTuple):
    """What came for one channel."""

    status: int
    value: Value


def driver(options: dict[str, Any]) -> LufftUmb:
    """Build the driver from checked options. Raises ValueError for a channel that cannot be."""
    return LufftUmb(options)


class LufftUmb:
    """One instrument."""

    has_checksum = True

    def __init__(self, options: dict[str, Any]) -> None:
        self.channels = tuple(Channel(**row) for row in options["channels"].values())
        self._numbers: list[int] = list(options["channels"])
        if too_high := [number for number in self._numbers if number > 0xFFFF]:
            raise ValueError(f"channels go up to 65535, found {too_high[0]}")
        self._class = options["class"]
        self._is_single = options["request"] == "single"

    def read(self, line: Line, address: int) -> list[Sample]:
        """Ask for all channels."""
        sender = address if address > 0xFF else self._class << 12 | address
        readings: list[Reading] = []
        for numbers in self._requests():
            command, payload = self._request(numbers)
            request = framed(sender, _MASTER, command, payload)
            answer = line.ask(request, _complete(sender), address=sender)
            readings += self._readings(numbers, _data(answer, sender, command))
        return [_sample(channel.name, reading) for channel, reading in zip(self.channels, readings, strict=True)]

    def plan(self, framer: str) -> list[Exchange]:
        """One request for 16 channels, or for each."""
        del framer
        shell = _HEAD + 2 + _TAIL
        return [
            Exchange(f"channel {numbers[0]}", shell + len(self._request(numbers)[1]), shell + 2 + 9 * len(numbers))
            for numbers in self._requests()
        ]

    def _requests(self) -> list[tuple[int, ...]]:
        step = 1 if self._is_single else _TOGETHER
        return [tuple(self._numbers[place : place + step]) for place in range(0, len(self._numbers), step)]

    def _request(self, numbers: tuple[int, ...]) -> tuple[int, bytes]:
        payload = b"".join(number.to_bytes(2, "little") for number in numbers)
        return (_SINGLE, payload) if self._is_single else (_MULTIPLE, bytes([len(numbers)]) + payload)

    def _readings(self, numbers: tuple[int, ...], data: bytes) -> list[Reading]:
        status, rest = data[0], data[1:]
        if status in _NOT_UNDERSTOOD:
            raise Refused(f"the instrument does not take the request (status {status:02X})", status)
        if self._is_single:
            return [_reading(numbers[0], status, rest)]
        if status and not rest[1:]:
            return [Reading(status, None)] * len(numbers)
        return list(_several(numbers, rest))


def framed(to: int, sender: int, command: int, payload: bytes) -> bytes:
    """Build a frame."""
    head = _SOH + to.to_bytes(2, "little") + sender.to_bytes(2, "little") + bytes([len(payload) + 2])
    covered = head + bytes([0x02, command, _VERSION]) + payload + b"\x03"
    return covered + crc16(covered, 0x8408).to_bytes(2, "little") + b"\x04"


def _asks(kind: int) -> Question:
    """Ask an instrument of a class for channel 100; one that has none says so in a frame of the same form."""
    return Question(
        lambda address: framed(kind << 12 | address, _MASTER, _SINGLE, b"\x64\x00"),
        re.compile(
            rb"\x01\x10\x01\xf0." + bytes([kind << 4]) + rb".\x02" + bytes([_SINGLE]) + rb"\x10.{1,11}\x03..\x04",
            re.DOTALL,
        ),
        lambda _: {"class": kind},
        (1,),
        range(1, 256),
    )


IDENTITY = tuple(map(_asks, (7, 8, 9)))


def _frames(data: bytes) -> Iterator[bytes]:
    """Give each whole frame, whatever stands between them."""
    start = data.find(_SOH)
    while start >= 0 and len(data) >= start + _HEAD:
        end = start + _HEAD + data[start + 6] + _TAIL
        if len(data) < end:
            return
        yield data[start:end]
        start = data.find(_SOH, end)


def _complete(sender: int) -> Complete:
    """Build the test for the first frame that is not another instrument's."""

    def complete(data: bytes) -> int:
        if len(data) > _LIMIT:
            raise BadAnswer(f"{len(data)} bytes without an answer")
        for frame in _frames(data):
            if _sender(frame) == sender or not _is_sound(frame):
                return data.index(frame) + len(frame)
        return 0

    return complete


def _sender(frame: bytes) -> int:
    return int.from_bytes(frame[4:6], "little")


def _is_sound(frame: bytes) -> bool:
    covered, crc = frame[:-3], int.from_bytes(frame[-3:-1], "little")
    return frame[7] == 0x02 and frame[-4] == 0x03 and frame[-1] == 0x04 and crc16(covered, 0x8408) == crc


def _data(answer: bytes, sender: int, command: int) -> bytes:
    """Give what stands between version of the command and ETX, status first."""
    frame = [*_frames(answer)][-1]
    if not _is_sound(frame):
        raise BadAnswer("wrong checksum (CRC) or frame")
    if _sender(frame) != sender or int.from_bytes(frame[2:4], "little") != _MASTER:
        raise BadAnswer(f"not to us from {sender:04X}: {frame[2:6].hex(' ')}")
    if frame[8:10] != bytes([command, _VERSION]) or len(frame) < _HEAD + 3 + _TAIL:
        raise BadAnswer(f"not an answer to command {command:02X}: {frame[8:12].hex(' ')}")
    return frame[10:-_TAIL]


def _several(numbers: tuple[int, ...], data: bytes) -> Iterator[Reading]:
    if not data or data[0] != len(numbers):
        raise BadAnswer(f"not {len(numbers)} channels: {data[:1].hex()}")
    place = 1
    for number in numbers:
        part = data[place + 1 : place + 1 + data[place]] if place < len(data) else b""
        if not part or len(part) != data[place]:
            raise BadAnswer(f"the answer ends before channel {number}")
        yield _reading(number, part[0], part[1:])
        place += 1 + len(part)
    if place != len(data):
        raise BadAnswer("the answer goes on after the last channel")


def _reading(number: int, status: int, data: bytes) -> Reading:
    """Read channel, type and value; behind a bad status they may be missing."""
    if len(data) >= 2 and int.from_bytes(data[:2], "little") != number:
        raise BadAnswer(f"channel {int.from_bytes(data[:2], 'little')} in place of {number}")
    if status:
        return Reading(status, None)
    form = _TYPES.get(data[2]) if len(data) > 2 else None
    if form is None or form.size != len(data) - 3:
        raise BadAnswer(f"channel {number}: no value of a known type: {data.hex(' ')}")
    value = form.unpack(data[3:])[0]
    if data[2] == 0x16:
        return Reading(status, shortest([value])[0])
    return Reading(status, value if isfinite(value) else None)


def _sample(name: str, reading: Reading) -> Sample:
    if reading.status:
        return Sample(name, None, (_STATES.get(reading.status, Flag.FAULT),))
    return Sample(name, reading.value, () if reading.value is not None else (Flag.FAULT,))
