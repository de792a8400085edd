"""The answering side of Modbus, as simulated instruments speak it: frames by hand, reads only.

    TCP  TT TT 00 00 LL LL | UU FF SS SS CC CC
    RTU  UU FF SS SS CC CC | crc crc

UU unit, FF function, SS first address, CC count.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from drivers.checksum import crc16

if TYPE_CHECKING:
    from collections.abc import Callable

    Answer = Callable[[int, str, int, int], bytes | None]
    """Unit, table, start, count: the data bytes; b"" where the address does not exist, None for silence."""

_TABLES = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
_ILLEGAL_FUNCTION, _ILLEGAL_ADDRESS = 1, 2
_HEAD, _TCP_REQUEST, _RTU_REQUEST = 6, 12, 8


def serve_tcp(data: bytes, answer: Answer) -> tuple[bytes, bytes]:
    """Answer every whole request in `data`; gives the answers and what is left over."""
    answers = b""
    while len(data) >= _TCP_REQUEST:
        reply = _reply(data[_HEAD:_TCP_REQUEST], answer)
        if reply:
            answers += data[:4] + struct.pack(">H", len(reply)) + reply
        data = data[_TCP_REQUEST:]
    return answers, data


def serve_rtu(data: bytes, answer: Answer) -> tuple[bytes, bytes]:
    """Answer every whole request in `data`, passing over bytes that begin none."""
    answers = b""
    while len(data) >= _RTU_REQUEST:
        if crc16(data[:_RTU_REQUEST]):
            data = data[1:]
            continue
        if reply := _reply(data[: _RTU_REQUEST - 2], answer):
            answers += reply + struct.pack("<H", crc16(reply))
        data = data[_RTU_REQUEST:]
    return answers, data


def _reply(request: bytes, answer: Answer) -> bytes:
    unit, function, start, count = struct.unpack(">BBHH", request)
    if function not in _TABLES:
        return bytes([unit, function | 0x80, _ILLEGAL_FUNCTION])
    data = answer(unit, _TABLES[function], start, count)
    if data is None:
        return b""
    if not data:
        return bytes([unit, function | 0x80, _ILLEGAL_ADDRESS])
    return bytes([unit, function, len(data)]) + data
