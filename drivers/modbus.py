"""Modbus reads over one of our lines; pymodbus is the codec (its only owner), checks and deadlines are ours.

pymodbus' framers build and take apart the frames (MBAP, CRC-16, LRC). What they leave open is checked here: unit,
function, and exactly as many bytes as were asked for (Modbus Application Protocol V1.1b3, 6.1 to 6.4).
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
_RTU_LEAST = 5
_NOISE_LIMIT = 2048
"""More bytes than this without our answer among them: the line is given up for this time."""


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
    answer = _ANSWERS[line.framer](request, address, block, line.transaction)
    try:
        line.ask(request, answer.complete, address=address, timeout_s=timeout_s)
    except NoAnswer as error:
        if objection := answer.objection():
            raise BadAnswer(objection) from error
        raise
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

    def __init__(self, request: bytes, address: int, block: Block, transaction: int) -> None:
        self.request, self.address, self.block, self.transaction = request, address, block, transaction
        self.function = _REQUESTS[block.table].function_code
        self.wrong = ""
        self.pdu = b""

    def complete(self, data: bytes) -> int:
        """Say where the frame that answers ends, 0 if it has not come yet; raise BadAnswer if it never can."""
        raise NotImplementedError

    def objection(self) -> str:
        """Say what was wrong with a whole answer that came instead; "" if none did."""
        return self.wrong

    def data(self) -> bytes:
        """Give the data bytes, or raise what an exception code means."""
        if self.pdu[0] & 0x80:
            raise _exception(self.pdu[1])
        return self.pdu[2:]

    def _fits(self, unit: int, pdu: bytes) -> bool:
        """Keep the PDU if it answers the request, else note why not."""
        size = self.block.size
        if unit != self.address:
            self.wrong = f"answer from address {unit}, asked was {self.address}"
        elif pdu[0] & 0x7F != self.function:
            self.wrong = f"answer to function {pdu[0] & 0x7F}, asked was {self.function}"
        elif len(pdu) != 2 + (0 if pdu[0] & 0x80 else size) or (len(pdu) > 2 and pdu[1] != size):
            self.wrong = f"{len(pdu) - 2} bytes of data, asked were {size}"
        else:
            self.pdu = pdu
        return bool(self.pdu)


class _TcpAnswer(_Answer):
    """Behind an MBAP header; a late answer to an earlier question is passed over by its transaction number."""

    def complete(self, data: bytes) -> int:
        used = 0
        while len(data) - used >= _MBAP + 2:
            length = int.from_bytes(data[used + 4 : used + 6], "big")
            if data[used + 2 : used + 4] != b"\0\0" or not 3 <= length <= 254:
                raise BadAnswer(f"not a Modbus TCP frame: {data[used : used + _MBAP].hex(' ')}")
            size, unit, transaction, pdu = _FRAMERS["tcp"].decode(data[used : used + 6 + length])
            if not size:
                return 0
            used += size
            if transaction == self.transaction:
                if not self._fits(unit, pdu):
                    raise BadAnswer(self.wrong)
                return used
        return 0


class _RtuAnswer(_Answer):
    """Between other bytes (noise, an echo, an answer of another instrument) it is found by its head and its CRC."""

    _seen = b""

    def complete(self, data: bytes) -> int:
        self._seen = data
        if len(data) > _NOISE_LIMIT:
            raise BadAnswer(f"{len(data)} bytes without an answer among them")
        start = len(self.request) if data.startswith(self.request) else 0
        sender = bytes([self.address])
        while 0 <= (start := data.find(sender, start)) <= len(data) - _RTU_LEAST:
            length = self._length(data[start : start + 3])
            frame = data[start : start + length]
            if length == len(frame) > 0 and _is_whole(frame):
                self._fits(self.address, frame[1:-2])
                return start + length
            start += 1
        return 0

    def objection(self) -> str:
        data = self._seen
        if len(data) < _RTU_LEAST or data == self.request:
            return ""
        frame = data[: _RTU_LEAST if data[1] & 0x80 else 5 + data[2]]
        if _is_whole(frame):
            self._fits(frame[0], frame[1:-2])
        elif data[:2] != bytes([self.address, self.function]) or len(data) >= 5 + self.block.size:
            self.wrong = f"wrong checksum (CRC) or noise: {data[:8].hex(' ')} …"
        return self.wrong

    def _length(self, head: bytes) -> int:
        """Give the length of an answer of ours that begins so; 0 if none does."""
        if head[1] == self.function | 0x80:
            return _RTU_LEAST
        return 5 + head[2] if head[1] == self.function and head[2] == self.block.size else 0


class _AsciiAnswer(_Answer):
    """A line from colon to CR LF; lines that do not answer are passed over."""

    def complete(self, data: bytes) -> int:
        end = 0
        while (found := data.find(b"\r\n", end)) >= 0:
            begin, end = end, found + 2
            start = data.rfind(b":", begin, end)
            if start >= 0 and data[start:end] != self.request and self._is_ours(data[start:end]):
                return end
        if len(data) > _NOISE_LIMIT:
            raise BadAnswer(f"{len(data)} bytes without an answer among them")
        return 0

    def _is_ours(self, frame: bytes) -> bool:
        try:
            _, unit, _, pdu = _FRAMERS["ascii"].decode(frame)
        except ValueError:
            pdu = b""
        if len(pdu) < 2:
            self.wrong = "wrong checksum (LRC) or not hexadecimal"
            return False
        return self._fits(unit, pdu)


_ANSWERS = {"tcp": _TcpAnswer, "rtu": _RtuAnswer, "ascii": _AsciiAnswer}


def _is_whole(frame: bytes) -> bool:
    return len(frame) >= _RTU_LEAST and FramerRTU.check_CRC(frame[:-2], int.from_bytes(frame[-2:], "big"))


def _exception(code: int) -> Exception:
    text = f"Modbus exception {code} ({_EXCEPTIONS.get(code, 'unknown')})"
    if code in {1, 2, 3}:
        return Refused(text, code)
    return NoAnswer(text) if code in {10, 11} else BadAnswer(text)
