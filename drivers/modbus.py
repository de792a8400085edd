"""Modbus reads over one of our lines; pymodbus is the codec (its only owner), checks and deadlines are ours.

pymodbus' framers build and take apart the frames (MBAP, CRC-16, LRC). What they leave open is checked here: unit, function,
and exactly as many bytes as were asked for (Modbus Application Protocol V1.1b3, 6.1 to 6.4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pymodbus.framer import FramerAscii, FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from drivers.errors import BadAnswer, NoAnswer, Refused

if TYPE_CHECKING:
    from pymodbus.framer import FramerBase

    from drivers.line import Line

_REQUESTS = {
    "coil": ReadCoilsRequest,
    "discrete": ReadDiscreteInputsRequest,
    "holding": ReadHoldingRegistersRequest,
    "input": ReadInputRegistersRequest,
}
TABLES = tuple(_REQUESTS)
FRAMERS = ("tcp", "rtu", "ascii")
_DECODER = DecodePDU(False)
_FRAMERS: dict[str, FramerBase] = {
    "tcp": FramerSocket(_DECODER),
    "rtu": FramerRTU(_DECODER),
    "ascii": FramerAscii(_DECODER),
}
_EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge, still working",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target did not answer",
}
_MBAP = 7


class Block(NamedTuple):
    """Neighbouring registers (or coils) of one table, asked for in one request. `start` is the address on the wire."""

    table: str
    start: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here

    @property
    def size(self) -> int:
        """Bytes of data in the answer: two a register, one for eight coils."""
        return 2 * self.count if self.table in {"holding", "input"} else (self.count + 7) // 8


def read_block(line: Line, address: int, block: Block, *, timeout_s: float | None = None) -> bytes:
    """Read a block and give its data bytes, `block.size` of them, as they were on the wire.

    Raises Refused with the exception code (1 to 3), NoAnswer, BadAnswer or LineDown.
    """
    line.transaction = line.transaction % 0xFFFF + 1
    request = _request(line.framer, address, block, line.transaction)
    answer = _Answer(line.framer, address, block, line.transaction)
    line.ask(request, answer.complete, address=address, timeout_s=timeout_s)
    return answer.data()


def frame_sizes(framer: str, block: Block) -> tuple[int, int]:
    """Give the bytes on the wire of a request and of its answer."""
    around = {"tcp": _MBAP, "rtu": 3, "ascii": 0}
    if framer == "ascii":
        return 2 * 6 + 5, 2 * (3 + block.size) + 5
    return 5 + around[framer], 2 + block.size + around[framer]


def _request(framer: str, address: int, block: Block, transaction: int) -> bytes:
    pdu = _REQUESTS[block.table](address=block.start, count=block.count)
    pdu.dev_id, pdu.transaction_id = address, transaction
    return bytes(_FRAMERS[framer].buildFrame(pdu))


class _Answer:
    """The answer to one request while it arrives."""

    def __init__(self, framer: str, address: int, block: Block, transaction: int) -> None:
        self.framer, self.address, self.block, self.transaction = framer, address, block, transaction
        self.function = _REQUESTS[block.table].function_code
        self.pdu = b""

    def complete(self, data: bytes) -> int:
        """Say how long the frame at the start of `data` is, once it is whole; raise BadAnswer if it is not ours."""
        end = getattr(self, f"_end_{self.framer}")(data)
        return int(end)

    def data(self) -> bytes:
        """Check the answer and give its data bytes."""
        pdu, block = self.pdu, self.block
        if pdu[0] == self.function | 0x80 and len(pdu) == 2:
            raise _exception(pdu[1])
        if pdu[0] != self.function:
            raise BadAnswer(f"answer to function {pdu[0]}, asked was {self.function}")
        if pdu[1] != block.size or len(pdu) != 2 + block.size:
            raise BadAnswer(f"{len(pdu) - 2} bytes of data, asked were {block.size}")
        return pdu[2:]

    def _end_tcp(self, data: bytes) -> int:
        used = 0
        while len(data) - used >= _MBAP + 1:
            head = data[used : used + _MBAP]
            length = int.from_bytes(head[4:6], "big")
            if head[2:4] != b"\0\0" or not 3 <= length <= 254:
                raise BadAnswer(f"not a Modbus TCP frame: {head.hex(' ')}")
            size, unit, transaction, pdu = _FRAMERS["tcp"].decode(data[used : used + 6 + length])
            if not size:
                return 0
            used += size
            if transaction == self.transaction:
                self._take(unit, pdu)
                return used
        return 0  # a late answer to an earlier question is skipped by its transaction number

    def _end_rtu(self, data: bytes) -> int:
        if len(data) < 5:
            return 0
        self._expect(data[0], data[1])
        length = 5 if data[1] & 0x80 else 5 + data[2]
        if data[2] != self.block.size and not data[1] & 0x80:
            raise BadAnswer(f"{data[2]} bytes of data announced, asked were {self.block.size}")
        if len(data) < length:
            return 0
        used, unit, _, pdu = _FRAMERS["rtu"].decode(data[:length])
        if not pdu or used != length:
            raise BadAnswer("wrong checksum (CRC)")
        self._take(unit, pdu)
        return length

    def _end_ascii(self, data: bytes) -> int:
        if not data.startswith(b":"):
            raise BadAnswer("does not begin with ':'")
        end = data.find(b"\r\n") + 2
        if end < 2:
            return 0
        try:
            _, unit, _, pdu = _FRAMERS["ascii"].decode(data[:end])
        except ValueError:
            pdu = b""
        if not pdu:
            raise BadAnswer("wrong checksum (LRC) or not hexadecimal")
        self._take(unit, pdu)
        return end

    def _take(self, unit: int, pdu: bytes) -> None:
        if len(pdu) < 2:
            raise BadAnswer("too short")
        self._expect(unit, pdu[0])
        self.pdu = pdu

    def _expect(self, unit: int, function: int) -> None:
        if unit != self.address:
            raise BadAnswer(f"answer from address {unit}, asked was {self.address}")
        if function & 0x7F != self.function:
            raise BadAnswer(f"answer to function {function & 0x7F}, asked was {self.function}")


def _exception(code: int) -> Exception:
    text = f"Modbus exception {code} ({_EXCEPTIONS.get(code, 'unknown')})"
    if code in {1, 2, 3}:
        return Refused(text, code)
    return NoAnswer(text) if code in {10, 11} else BadAnswer(text)
