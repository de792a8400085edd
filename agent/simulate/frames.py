r"""The answering side of Modbus: frames by hand, so that the daemon's codec is not held against itself.

TCP    TT TT 00 00 LL LL  UU FF …          transaction number and length before unit and function
RTU    UU FF … crc crc
ASCII  ":" UU FF … lrc, all as hex digits, CR LF
"""

from __future__ import annotations

from typing import NamedTuple

from drivers.checksum import crc16, sum8

_READS = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
_WRITES_ONE, _WRITES_SEVERAL = (5, 6), (15, 16)
_HEAD, _LONGEST = 6, 254
_LONGEST_TEXT = 2 * _LONGEST + 5
MAY_BECOME, NONE = -1, 0


class Request(NamedTuple):
    """A request without its frame; `transaction` is what an answer on TCP begins with."""

    unit: int
    pdu: bytes
    transaction: bytes = b"\0\0"

    @property
    def read(self) -> tuple[str, int, int] | None:
        """Table, start and count, if registers or bits are read."""
        if self.pdu[0] not in _READS or len(self.pdu) != 5:
            return None
        return _READS[self.pdu[0]], int.from_bytes(self.pdu[1:3], "big"), int.from_bytes(self.pdu[3:5], "big")


def request_in(framer: str, data: bytes) -> int:
    """Give the length of the whole request that the data begins with; NONE, or MAY_BECOME one."""
    return _FINDERS[framer](data)


def opened(framer: str, frame: bytes) -> Request:
    """Take a whole request out of its frame."""
    if framer == "tcp":
        return Request(frame[_HEAD], frame[_HEAD + 1 :], frame[:2])
    body = frame[:-2] if framer == "rtu" else bytes.fromhex(frame[1:-4].decode("ascii"))
    return Request(body[0], body[1:])


def framed(framer: str, request: Request, pdu: bytes) -> bytes:
    """Put the answer to a request into a frame."""
    body = bytes([request.unit]) + pdu
    if framer == "tcp":
        return request.transaction + b"\0\0" + len(body).to_bytes(2, "big") + body
    if framer == "rtu":
        return body + crc16(body).to_bytes(2, "little")
    return b":" + (body + bytes([-sum8(body) & 0xFF])).hex().upper().encode() + b"\r\n"


def _in_tcp(data: bytes) -> int:
    if len(data) < _HEAD:
        return MAY_BECOME if data[2:4] in {b"", b"\0", b"\0\0"} else NONE
    length = int.from_bytes(data[4:6], "big")
    if data[2:4] != b"\0\0" or not 2 < length <= _LONGEST:
        return NONE
    return _HEAD + length if len(data) >= _HEAD + length else MAY_BECOME


def _in_rtu(data: bytes) -> int:
    function = data[1] if len(data) > 1 else 1
    if function in _WRITES_SEVERAL:
        length = 9 + data[6] if len(data) > 6 else 256
    elif function in _READS or function in _WRITES_ONE:
        length = 8
    else:
        return NONE
    if len(data) < length:
        return MAY_BECOME
    return NONE if crc16(data[:length]) else length


def _in_ascii(data: bytes) -> int:
    end = data.find(b"\r\n")
    if data[:1] != b":" or (end < 0 and len(data) > _LONGEST_TEXT):
        return NONE
    if end < 0:
        return MAY_BECOME
    try:
        body = bytes.fromhex(data[1:end].decode("ascii"))
    except ValueError:
        return NONE
    return end + 2 if len(body) > 2 and sum8(body) == 0 else NONE


_FINDERS = {"tcp": _in_tcp, "rtu": _in_rtu, "ascii": _in_ascii}
