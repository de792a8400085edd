"""Modbus over one of our lines; pymodbus is the codec (its only owner), checks and deadlines are ours.

pymodbus' framers build and take apart the frames (MBAP, CRC-16, LRC). What they leave open is checked here: unit,
function, and exactly as many bytes as were asked for (Modbus Application Protocol V1.1b3, 6.1 to 6.4).

Everything is a read but `send_command`, which only the `[start]` of a profile uses: an answer to a write must repeat
the register, and the value or the number of registers (6.6 and 6.12).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pymodbus.framer import FramerAscii, FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU

from drivers.errors import BadAnswer, NoAnswer, Refused

if TYPE_CHECKING:
    from pymodbus.framer import FramerBase

    from drivers.line import Line

_FUNCTIONS = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
TABLES = tuple(_FUNCTIONS)
READ_NONE, WRITE_ONE, WRITE_SEVERAL = 3, 6, 16
FRAMERS = ("tcp", "rtu", "ascii")
_DECODER = DecodePDU(False)
_FRAMERS: dict[str, FramerBase] = {
    "tcp": FramerSocket(_DECODER),
    "rtu": FramerRTU(_DECODER),
    "ascii": FramerAscii(_DECODER),
}
EXCEPTION = "Modbus exception"
"""How the text of an error begins that an instrument answered with."""
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


class Command(NamedTuple):
    """A request that changes something: function 6 writes one holding register, 16 several.

    Function 3 reads no registers at all from an address that a probe takes as a command.
    """

    function: int
    register: int
    values: tuple[int, ...] = ()

    @property
    def request(self) -> bytes:
        """The PDU that is sent."""
        head = bytes([self.function]) + self.register.to_bytes(2, "big")
        written = b"".join(value.to_bytes(2, "big") for value in self.values)
        if self.function == WRITE_ONE:
            return head + written
        count = len(self.values).to_bytes(2, "big")
        return head + count + (bytes([len(written)]) + written if self.function == WRITE_SEVERAL else b"")

    @property
    def answer(self) -> bytes:
        """The only PDU that says it was done."""
        return b"\x03\0" if self.function == READ_NONE else self.request[:5]


class _Expected(NamedTuple):
    """The PDU of a good answer: what it begins with, the function first, and its length."""

    head: bytes
    length: int


class _Request(ModbusPDU):
    """A PDU of ours for the framers of pymodbus, which put the function before what `encode` gives."""

    def __init__(self, pdu: bytes, address: int, transaction: int) -> None:
        super().__init__(dev_id=address, transaction_id=transaction)
        self.function_code, self._data = pdu[0], pdu[1:]

    def encode(self) -> bytes:
        return self._data


def read_block(line: Line, address: int, block: Block, *, timeout_s: float | None = None) -> bytes:
    """Read a block and give its data bytes, `block.size` of them, as they were on the wire.

    Raises Refused with the exception code (1 to 3), NoAnswer, BadAnswer or LineDown.
    """
    function = _FUNCTIONS[block.table]
    expected = _Expected(bytes([function, block.size]), 2 + block.size)
    request = bytes([function]) + block.start.to_bytes(2, "big") + block.count.to_bytes(2, "big")
    return _ask(line, address, request, expected, timeout_s)[2:]


def send_command(line: Line, address: int, command: Command, *, timeout_s: float | None = None) -> None:
    """Send a command; an answer that does not repeat it exactly is a BadAnswer. Raises as `read_block` does."""
    _ask(line, address, command.request, _Expected(command.answer, len(command.answer)), timeout_s)


def frame_sizes(framer: str, asked: Block | Command) -> tuple[int, int]:
    """Give the bytes on the wire of a request and of its answer."""
    if isinstance(asked, Block):
        return _on_wire(framer, 5), _on_wire(framer, 2 + asked.size)
    return _on_wire(framer, len(asked.request)), _on_wire(framer, len(asked.answer))


def _on_wire(framer: str, pdu: int) -> int:
    return 2 * pdu + 7 if framer == "ascii" else pdu + {"tcp": _MBAP, "rtu": 3}[framer]


def _ask(line: Line, address: int, pdu: bytes, expected: _Expected, timeout_s: float | None) -> bytes:
    """Send a PDU and give that of the answer, or raise what it means."""
    line.transaction = line.transaction % 0xFFFF + 1
    request = bytes(_FRAMERS[line.framer].buildFrame(_Request(pdu, address, line.transaction)))
    answer = _ANSWERS[line.framer](request, address, expected, line.transaction)
    try:
        line.ask(request, answer.complete, address=address, timeout_s=timeout_s)
    except NoAnswer as error:
        if objection := answer.objection():
            raise BadAnswer(objection) from error
        raise
    if answer.pdu[0] & 0x80:
        raise _exception(answer.pdu[1])
    return answer.pdu


class _Answer:
    """The answer to one request while it arrives."""

    def __init__(self, request: bytes, address: int, expected: _Expected, transaction: int) -> None:
        self.request, self.address, self.expected, self.transaction = request, address, expected, transaction
        self.function = expected.head[0]
        self.wrong = ""
        self.pdu = b""

    @property
    def may_be_echo(self) -> bool:
        """Whether the request may come back before the answer.

        The answer to function 6 is the request: a first one alone may be either, and an echo is told by `echo` only.
        """
        return self.function != WRITE_ONE

    def complete(self, data: bytes) -> int:
        """Say where the frame that answers ends, 0 if it has not come yet; raise BadAnswer if it never can."""
        raise NotImplementedError

    def objection(self) -> str:
        """Say what was wrong with a whole answer that came instead; "" if none did."""
        return self.wrong

    def _fits(self, unit: int, pdu: bytes) -> bool:
        """Keep the PDU if it answers the request, else note why not."""
        head, length = self.expected
        if unit != self.address:
            self.wrong = f"answer from address {unit}, asked was {self.address}"
        elif pdu[0] & 0x7F != self.function:
            self.wrong = f"answer to function {pdu[0] & 0x7F}, asked was {self.function}"
        elif len(pdu) == 2 if pdu[0] & 0x80 else len(pdu) == length and pdu.startswith(head):
            self.pdu = pdu
        elif len(head) == 2:
            self.wrong = f"{len(pdu) - 2} bytes of data, asked were {length - 2}"
        else:
            self.wrong = f"answered {pdu[1:].hex(' ')}, expected {head[1:].hex(' ')}"
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
        start = len(self.request) if self.may_be_echo and data.startswith(self.request) else 0
        sender = bytes([self.address])
        while 0 <= (start := data.find(sender, start)) <= len(data) - _RTU_LEAST:
            length = self._length(data[start : start + 3])
            frame = data[start : start + length]
            if length == len(frame) > 0 and _is_whole(frame) and self._fits(self.address, frame[1:-2]):
                return start + length
            start += 1
        return 0

    def objection(self) -> str:
        data = self._seen
        if len(data) < _RTU_LEAST or data == self.request:
            return ""
        counted = data[: _RTU_LEAST if data[1] & 0x80 else 5 + data[2]]
        frame = data[:8] if data[1] in {WRITE_ONE, WRITE_SEVERAL} else counted
        if _is_whole(frame):
            self._fits(frame[0], frame[1:-2])
        elif data[:2] != bytes([self.address, self.function]) or len(data) >= 3 + self.expected.length:
            self.wrong = f"wrong checksum (CRC) or noise: {data[:8].hex(' ')} …"
        return self.wrong

    def _length(self, head: bytes) -> int:
        """Give the length of an answer of ours that begins so; 0 if none does."""
        if head[1] == self.function | 0x80:
            return _RTU_LEAST
        return 3 + self.expected.length if head[1:] == self.expected.head[:2] else 0


class _AsciiAnswer(_Answer):
    """A line from colon to CR LF; lines that do not answer are passed over."""

    def complete(self, data: bytes) -> int:
        end = 0
        while (found := data.find(b"\r\n", end)) >= 0:
            begin, end = end, found + 2
            start = data.rfind(b":", begin, end)
            is_echo = self.may_be_echo and data[start:end] == self.request
            if start >= 0 and not is_echo and self._is_ours(data[start:end]):
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
    text = f"{EXCEPTION} {code} ({_EXCEPTIONS.get(code, 'unknown')})"
    if code in {1, 2, 3}:
        return Refused(text, code)
    return NoAnswer(text) if code in {10, 11} else BadAnswer(text)
