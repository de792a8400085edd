"""Instruments at the far end of a pty for the scan: they answer at one speed alone, or talk unasked."""

from __future__ import annotations

import os
import pty
import select
import struct
import termios
import threading
import time
import tty
from typing import TYPE_CHECKING

from drivers.checksum import crc16

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUIET_S = 0.004
"""Bytes that came are a request once nothing follows them for so long."""


class Talker(threading.Thread):
    """A pty with an instrument: `respond` answers whole requests, `stream` is said every `every_s`.

    `asked` has every request. With `speed`, a constant of termios, it is deaf at any other speed.
    """

    def __init__(
        self,
        link: Path,
        respond: Callable[[bytes], bytes] = lambda request: b"",
        *,
        stream: bytes = b"",
        every_s: float = 0.1,
        speed: int | None = None,
    ) -> None:
        super().__init__(daemon=True)
        self._respond, self._stream, self._every_s, self._speed = respond, stream, every_s, speed
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        link.symlink_to(os.ttyname(self._slave))
        self.asked: list[bytes] = []
        self._stop_asked = threading.Event()
        self.start()

    def run(self) -> None:
        """Answer until stopped."""
        request, said_s = b"", 0.0
        while not self._stop_asked.is_set():
            if select.select([self._master], [], [], QUIET_S)[0]:
                request += os.read(self._master, 4096)
                continue
            if request:
                self.asked.append(request)
                if self._hears() and (answer := self._respond(request)):
                    os.write(self._master, answer)
                request = b""
            if self._stream and time.monotonic() - said_s > self._every_s:
                said_s = time.monotonic()
                os.write(self._master, self._stream)

    def stop(self) -> None:
        """Stop."""
        self._stop_asked.set()
        self.join(5)
        os.close(self._master)
        os.close(self._slave)

    def _hears(self) -> bool:
        return self._speed is None or termios.tcgetattr(self._slave)[4] == self._speed


def rtu(unit: int, tables: dict[int, dict[int, int]], last: int = 60) -> Callable[[bytes], bytes]:
    """Answer Modbus RTU reads at an address; `tables` has registers or coils by function, others 0 up to `last`."""

    def respond(request: bytes) -> bytes:
        if len(request) != 8 or request[0] != unit or crc16(request[:6]).to_bytes(2, "little") != request[6:]:
            return b""
        _, function, start, count = struct.unpack(">BBHH", request[:6])
        if function not in tables:
            pdu = bytes([function | 0x80, 1])
        elif start + count > last:
            pdu = bytes([function | 0x80, 2])
        else:
            pdu = bytes([function]) + _data(function, tables[function], range(start, start + count))
        body = bytes([unit]) + pdu
        return body + crc16(body).to_bytes(2, "little")

    return respond


def _data(function: int, held: dict[int, int], places: range) -> bytes:
    values = [held.get(place, 0) for place in places]
    if function in {1, 2}:
        bits = sum((value & 1) << place for place, value in enumerate(values))
        data = bits.to_bytes((len(values) + 7) // 8, "little")
    else:
        data = b"".join(value.to_bytes(2, "big") for value in values)
    return bytes([len(data)]) + data


def floats(values: dict[int, float], order: str = "ABCD") -> dict[int, int]:
    """Lay floats into registers."""
    held: dict[int, int] = {}
    for register, value in values.items():
        high, low = struct.unpack(">HH", struct.pack(">f", value))
        held |= {register: high, register + 1: low} if order == "ABCD" else {register: low, register + 1: high}
    return held


T400 = floats(
    {18: 41.7, 22: 0.3, 6: 1.01, 10: -0.4, 0: 3000.5, 2: 3010.25, 34: 58, 38: 35.2, 40: 702.5, 42: 28.9, 44: 31.4}
)
"""What an ozone analyzer holds in its input registers."""
