"""A Modbus instrument in memory: each register holds its own address, so that every wrong place shows."""

from __future__ import annotations

from drivers.line import Line

_TABLES = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}


class Instrument:
    """A port with an instrument behind it that speaks Modbus TCP.

    `refused` has the exception codes of addresses (0: it keeps silent); the lowest in a request decides. `values`
    has the registers that hold something else. `asked` lists the requests: table, start, count. A coil is on where
    its address is odd.
    """

    where = "simulated"
    is_network = False

    def __init__(self, refused: dict[int, int] | None = None) -> None:
        self.refused = refused or {}
        self.values: dict[int, int] = {}
        self.asked: list[tuple[str, int, int]] = []
        self._waiting = b""
        self._time_s = 0.0

    def line(self) -> Line:
        """Make a line to it, on which waiting takes no time."""
        return Line("simulated", self, framer="tcp", now_s=lambda: self._time_s)

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def write(self, data: bytes) -> None:
        """Answer a request."""
        head, unit, function = data[:4], data[6], data[7]
        start, count = int.from_bytes(data[8:10], "big"), int.from_bytes(data[10:12], "big")
        self.asked.append((_TABLES[function], start, count))
        codes = [code for address, code in sorted(self.refused.items()) if start <= address < start + count]
        if codes[:1] == [0]:
            return
        pdu = bytes([function | 0x80, codes[0]]) if codes else self._answer(function, start, count)
        self._waiting += head + (len(pdu) + 1).to_bytes(2, "big") + bytes([unit]) + pdu

    def read(self, timeout_s: float) -> bytes:
        """Give the answer, or let the time pass."""
        data, self._waiting = self._waiting, b""
        self._time_s += 0 if data else max(timeout_s, 0) + 1e-6
        return data

    def _answer(self, function: int, start: int, count: int) -> bytes:
        held = [self.values.get(address, address) for address in range(start, start + count)]
        if function in {1, 2}:
            bits = sum(1 << index for index, value in enumerate(held) if value & 1)
            data = bits.to_bytes((count + 7) // 8, "little")
        else:
            data = b"".join(value.to_bytes(2, "big") for value in held)
        return bytes([function, len(data)]) + data
