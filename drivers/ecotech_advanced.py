r"""Ecotech / Acoem Serinus 10, 30, 40, 44, 50, 51 over their Advanced protocol (binary).

One request brings up to 32 parameters, each a number and four bytes:

    > 02 00 01 03 01 32 32 04                   parameter 50 (32 hex), the primary gas
      │  │  │  │  │  │  │  EOT
      │  │  │  │  │  │  exclusive or of all but STX, ETX, EOT and itself
      │  │  │  │  │  message: the parameters asked for
      │  │  │  │  length of the message
      │  │  │  ETX
      │  │  command: 1 get values
      │  serial id
      STX
    < 02 00 01 03 05 32 3F 80 00 00 89 04       50 is 1.00, a float, high byte first
    < 02 00 00 03 02 00 02 00 04                command 0: no; the second byte says why

`channels` says which parameters are what: 50, 51 and 52 are the primary, second and third gas; others stand in the
manual. Units are those that the instrument is set to, and no answer says them. Besides them 85 is always asked for (0
measure, 1 zero, 2 span: calibration) and 83, whose four bytes are the channel `status`: the manual says what its bits
mean, but which bit is which could not be had, so they flag nothing.

Nos 0 (checksum), 3 (flash being erased) and 5 (another process collects) pass, and are bad answers; 1, 2 and 4
(length, parameter, command not known) are refusals.

Line: 8N1, TCP alike. What sets the calibration mode (command 4) is never sent.

Evidence: manual
Source: Serinus 30 user manual 3.3, appendix A, pages 202 to 208 (frames, errors, example). The last row of the printed
answer has 50 as its checksum, against its own calculation, which gives 89 hex; so does the rule. Not confirmed on
hardware.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any

from drivers.checksum import xor8
from drivers.driver import Exchange
from drivers.errors import BadAnswer, Refused
from drivers.fields import NAME, Key, MapOf, Table, Text
from drivers.identity import Question, unknown
from drivers.number import shortest
from drivers.sample import Channel, Flag, Sample
from drivers.units import Unit

if TYPE_CHECKING:
    from drivers.complete import Complete
    from drivers.line import Line

_CHANNEL = Table(
    Key("name", Text(NAME, "a name"), doc="name of the channel"),
    Key("parameter", Text(), doc="the quantity measured"),
    Key("unit", Unit(), doc="the unit that the instrument is set to"),
)
OPTIONS = Table(
    Key(
        "channels",
        MapOf(re.compile(r"[1-9]\d?|1\d\d|2[0-4]\d|25[0-5]"), "a number from 1 to 255", _CHANNEL, int),
        doc="what each parameter is; 50 is the primary gas",
    ),
)

_STX, _ETX, _EOT = 2, 3, 4
_GET, _ERROR = 1, 0
_STATUS, _CALIBRATION = 83, 85
_MODES: dict[float, tuple[Flag, ...]] = {0: (), 1: (Flag.CALIBRATION,), 2: (Flag.CALIBRATION,)}
_MOST = 32
_AROUND = 7
"""Bytes of a frame that are not its message."""
_WHY = {
    0: "bad checksum received",
    1: "invalid parameter length",
    2: "invalid parameter",
    3: "internal flash erase in progress",
    4: "unsupported command",
    5: "another process is collecting data",
}
_LASTING = {1, 2, 4}
_LIMIT = 1024
_STATUS_CHANNEL = Channel("status", "status_word", "")

_PRIMARY_GAS = 50
IDENTITY = (
    Question(
        lambda address: frame(address, _GET, bytes([_PRIMARY_GAS])),
        re.compile(rb"\x02.\x01\x03\x05\x32.{5}\x04", re.DOTALL),
        lambda _: {"channels": {_PRIMARY_GAS: unknown("primary_gas")}},
        (0, 1),
        range(256),
    ),
)


def driver(options: dict[str, Any]) -> EcotechAdvanced:
    """Build the driver from checked options. Raises ValueError for more parameters than a request holds."""
    return EcotechAdvanced(options)


class EcotechAdvanced:
    """One analyzer."""

    has_checksum = True

    def __init__(self, options: dict[str, Any]) -> None:
        chosen = options["channels"]
        if not 0 < len(chosen) <= _MOST - 2 or {_STATUS, _CALIBRATION} & set(chosen):
            raise ValueError(f"allowed: 1 to {_MOST - 2} parameters, without 83 and 85, which are always read")
        self._asked = bytes([*chosen, _STATUS, _CALIBRATION])
        self._values = [Channel(**one) for one in chosen.values()]
        self.channels = (*self._values, _STATUS_CHANNEL)

    def read(self, line: Line, address: int) -> list[Sample]:
        """Ask once for everything."""
        serial_id = address & 0xFF
        request = frame(serial_id, _GET, self._asked)
        answer = line.ask(request, _until_frame_of(serial_id), address=address)
        return self._samples(self._parameters(message_of(answer, serial_id)))

    def plan(self, framer: str) -> list[Exchange]:
        """One request; five bytes for each parameter in answer."""
        del framer
        return [Exchange("get values", _AROUND + len(self._asked), _AROUND + 5 * len(self._asked))]

    def _parameters(self, message: bytes) -> list[bytes]:
        """Give the four bytes of each parameter that was asked for."""
        if message[::5] != self._asked or len(message) != 5 * len(self._asked):
            raise BadAnswer("other parameters than were asked for")
        return [message[start + 1 : start + 5] for start in range(0, len(message), 5)]

    def _samples(self, parameters: list[bytes]) -> list[Sample]:
        *gases, status, mode = parameters
        calibration = _MODES.get(_float(mode))
        if calibration is None:
            raise BadAnswer(f"calibration mode {mode.hex()} is not known")
        values = shortest(map(_float, gases))
        samples = [
            Sample(channel.name, value, calibration if value is not None else (*calibration, Flag.FAULT))
            for channel, value in zip(self._values, values, strict=True)
        ]
        return [*samples, Sample(_STATUS_CHANNEL.name, status.hex().upper(), calibration)]


def frame(serial_id: int, command: int, message: bytes) -> bytes:
    """Build a frame."""
    covered = bytes([serial_id, command, len(message)]) + message
    return bytes([_STX, serial_id, command, _ETX]) + covered[2:] + bytes([xor8(covered), _EOT])


def message_of(answer: bytes, serial_id: int) -> bytes:
    """Give the message of a frame that may have noise before it. Raises BadAnswer or Refused."""
    found = answer[_start(answer, serial_id) :]
    command, message = found[2], found[5:-2]
    if len(found) != len(message) + _AROUND or found[4] != len(message) or found[-1] != _EOT:
        raise BadAnswer("not a frame from STX to EOT")
    if found[-2] != xor8(found[1:3] + found[4:-2]):
        raise BadAnswer("wrong checksum")
    if command == _ERROR and len(message) == 2:
        _refuse(message[1])
    if command != _GET:
        raise BadAnswer(f"answer to command {command}")
    return message


def _refuse(code: int) -> None:
    text = f"the instrument answers: {_WHY.get(code, f'error {code}')}"
    raise Refused(text, code) if code in _LASTING else BadAnswer(text)


def _start(data: bytes, serial_id: int) -> int:
    """Find the first STX that the id and an ETX follow, -1 if there is none yet."""
    place = data.find(_STX)
    while place >= 0:
        if data[place + 1 : place + 2] == bytes([serial_id]) and data[place + 3 : place + 4] == bytes([_ETX]):
            return place
        place = data.find(_STX, place + 1)
    return -1


def _until_frame_of(serial_id: int) -> Complete:
    """Build the test for an answer that ends with a frame of that instrument."""

    def complete(data: bytes) -> int:
        start = _start(data, serial_id)
        if start >= 0 and len(data) > start + 4:
            length = start + _AROUND + data[start + 4]
            return length if len(data) >= length else 0
        if len(data) > _LIMIT:
            raise BadAnswer(f"{len(data)} bytes without a frame")
        return 0

    return complete


def _float(data: bytes) -> float:
    return float(struct.unpack(">f", data)[0])
