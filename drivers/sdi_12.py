r"""SDI-12 sensors behind a transparent serial adapter, measuring when told to.

    > "1MC!"                            sensor 1, measure; MC: and send with a CRC
    < "10025" CR LF                     of sensor 1, in 2 s at most, 5 values
       │└┤│
       │ │ number of values: one digit, two after C
       │ seconds
       address
    < "1" CR LF                         service request: ready before that time
    > "1D0!"
    < "1+2.7+85.2-0.2-2.7+770.5CAH" CR LF
       │                        │ CRC: 16 bits in three characters of six bits, each or'ed with 0x40; over all before it
       │ values, each with its sign
       address
    > "1D1!" … "1D9!"                   as long as values are missing

`measurement`: M, M1 to M9 as above; C, C1 to C9 (concurrent) without a service request: the driver waits the time
out; R0 to R9 (continuous) are answered by the values at once. `crc = "required"` puts the C into these commands and
holds the answers against their CRC. A sensor that announces another number of values than there are channels, more time
than `patience`, or no values when it is asked for them, gives a BadAnswer. An adapter that keeps the service request to
itself needs `ready = "time"`.

`channels` are in the sensor's order. Values in `missing` are null and a fault. A channel that is the sensor's own
status says with `good` which values are good: any other makes a fault of all.

The address is that of the sensor, 0 to 9; 10 to 35 stand for A to Z and 36 to 61 for a to z, as Vaisala counts them.
Answers of other sensors are passed over. With `identity` the sensor is asked who it is, at the start and after it was
silent or the line gone, and must answer so:

    > "0I!"
    < "013GillInst2487  B06…" CR LF     version 1.3, maker (8 characters), model (6), its version (3), more

`identify` and `query_address` do that from a Python prompt; `?!` is answered by a lone sensor only.

Line: as the adapter wants it, 9600 8N1 mostly; on the bus 1200 7E1. The adapter makes the break before a command.

Evidence: manual
Source: SDI-12 specification 1.4, sections 4.4.5 to 4.4.12, by way of its examples in the tests of open libraries; the
manuals of Gill WindSonic (section 14), Vaisala WMT700 (M211095EN, frames above) and Campbell sensors; all CRCs
recomputed. Not confirmed on hardware. Units are not named by a sensor, and addresses are never changed.
"""

from __future__ import annotations

import re
from string import ascii_lowercase, ascii_uppercase, digits
from typing import TYPE_CHECKING, Any

from drivers.checksum import crc16
from drivers.driver import Exchange
from drivers.errors import BadAnswer, LineDown, NoAnswer, Refused
from drivers.fields import NAME, Choice, Key, ListOf, Number, Table, Text, duration
from drivers.identity import Question
from drivers.line import until
from drivers.sample import Channel, Flag, Sample
from drivers.units import Unit

if TYPE_CHECKING:
    from drivers.complete import Complete
    from drivers.line import Line

_CHANNEL = Table(
    Key("name", Text(NAME, "a name"), doc="name of the channel"),
    Key("parameter", Text(), doc="the quantity measured"),
    Key("unit", Unit(), "", doc="the unit that the sensor is set to"),
    Key("missing", ListOf(Number()), [], doc="values that mean there is none"),
    Key("good", ListOf(Number()), [], doc="this is the sensor's status: its good values"),
)
_MEASUREMENT = Text(re.compile("[MC][1-9]?|R[0-9]"), "M, M1 to M9, C, C1 to C9 or R0 to R9")
OPTIONS = Table(
    Key("channels", ListOf(_CHANNEL, least=1), doc="what the sensor sends, in its order"),
    Key("measurement", _MEASUREMENT, "M", doc="the command"),
    Key("crc", Choice("none", "required"), "none", doc="required: answers with a CRC are asked for"),
    Key("ready", Choice("service_request", "time"), "service_request", doc="what ends the wait for M"),
    Key("patience", duration(), 30.0, doc="the longest that a measurement may take"),
    Key("identity", Text(), "", doc="how the answer to the identification must begin, without address"),
)

_ADDRESSES = digits + ascii_uppercase + ascii_lowercase
_START = re.compile(r"(\d{3})(\d{1,2})")
_VALUE = re.compile(r"[+-](?:\d{1,7}(?:\.\d{0,6})?|\.\d{1,7})")
_CRC_LENGTH = 3
_MARGIN_S = 1.0
"""A service request may come as late as the time that the sensor announced; then it takes its way."""
_LONGEST = 84
_LIMIT = 512

IDENTITY = (
    Question(
        lambda address: f"{_letter(address)}I!".encode(),
        re.compile(rb"(?<![!-~])[0-9A-Za-z]1[0-9](?P<who>[ -~]{17,30})\r\n"),
        lambda found: {"identity": found[0][1:].decode("latin-1").rstrip()[:16].rstrip()},
        (0, 1),
        range(len(_ADDRESSES)),
    ),
)
"""Who it is; how many values it sends, and which, is in its manual."""


def driver(options: dict[str, Any]) -> Sdi12:
    """Build the driver from checked options. Raises ValueError for a name that stands twice."""
    return Sdi12(options)


class Sdi12:
    """One sensor."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._rows: list[dict[str, Any]] = options["channels"]
        self.channels = tuple(Channel(row["name"], row["parameter"], row["unit"]) for row in self._rows)
        if len({channel.name for channel in self.channels}) < len(self.channels):
            raise ValueError("a name stands twice in channels")
        self._kind, self._number = options["measurement"][0], options["measurement"][1:]
        self.has_checksum = options["crc"] == "required"
        self._is_called = self._kind == "M" and options["ready"] == "service_request"
        self.patience_s = 0.0 if self._kind == "R" else options["patience"] + _MARGIN_S
        self._identity, self._is_known = options["identity"], not options["identity"]

    def read(self, line: Line, address: int) -> list[Sample]:
        """Let the sensor measure, wait for it, and collect the values."""
        try:
            if not self._is_known:
                self._identify(line, address)
            values = self._continuous(line, address) if self._kind == "R" else self._measured(line, address)
        except (NoAnswer, LineDown):
            self._is_known = not self._identity  # another one may be plugged in meanwhile
            raise
        return self._samples(values)

    def plan(self, framer: str) -> list[Exchange]:
        """Count four values an answer; how long the line waits for the sensor to measure, only the sensor knows."""
        del framer
        known = [Exchange("identity", 3, 38)] if self._identity else []
        if self._kind == "R":
            return [*known, Exchange("values", 5, _LONGEST)]
        return [
            *known,
            Exchange("MEASURE", 5, 12, is_order=True),
            *(Exchange(f"D{n}", 4, _LONGEST) for n in range(1 + self._most // 4)),
        ]

    @property
    def _most(self) -> int:
        return len(self.channels) - 1

    def _command(self, kind: str) -> str:
        return kind[0] + ("C" if self.has_checksum else "") + kind[1:]

    def _identify(self, line: Line, address: int) -> None:
        said = identify(line, address)
        if not said.startswith(self._identity):
            raise BadAnswer(f"the sensor is {said!r}, expected was {self._identity!r}")
        self._is_known = True

    def _continuous(self, line: Line, address: int) -> list[float]:
        values = self._values(_ask(line, address, self._command("R" + self._number)))
        if len(values) != len(self.channels):
            raise BadAnswer(f"{len(values)} values, channels are {len(self.channels)}")
        return values

    def _measured(self, line: Line, address: int) -> list[float]:
        self._start(line, address)
        values: list[float] = []
        for number in range(10):
            more = self._values(_ask(line, address, f"D{number}"))
            values += more
            if not more or len(values) >= len(self.channels):
                break
        if len(values) != len(self.channels):
            raise BadAnswer(f"{len(values)} values, announced were {len(self.channels)}")
        return values

    def _start(self, line: Line, address: int) -> None:
        """Start the measurement and wait until its values are there."""
        letter = _letter(address)
        complete = _with_call(letter) if self._is_called else _own(letter)
        answer, _, call = _ask(line, address, self._command(self._kind + self._number), complete).partition("\r\n")
        found = _START.fullmatch(answer[1:])
        if not found:
            raise BadAnswer(f"not a time and a number of values: {answer!r}")
        seconds, count = int(found[1]), int(found[2])
        if count != len(self.channels):
            raise BadAnswer(f"the sensor announces {count} values, channels are {len(self.channels)}")
        if seconds > self.patience_s - _MARGIN_S:
            raise BadAnswer(f"the sensor takes {seconds} s, more than its patience")
        if seconds and not call:
            self._wait(line, letter, seconds)

    def _wait(self, line: Line, letter: str, seconds: int) -> None:
        if self._is_called:
            line.listen(_called(letter), timeout_s=seconds + _MARGIN_S, keeps_arrived=True)
            return
        try:
            line.listen(_never, timeout_s=seconds)
        except NoAnswer:
            return

    def _values(self, answer: str) -> list[float]:
        """Take the values of one answer apart."""
        if self.has_checksum:
            answer, crc = answer[:-_CRC_LENGTH], answer[-_CRC_LENGTH:]
            if crc != crc_characters(answer.encode("latin-1")):
                raise BadAnswer("wrong checksum (CRC)")
        text = answer[1:]
        found = _VALUE.findall(text)
        if "".join(found) != text:
            raise BadAnswer(f"not values with their signs: {text!r}")
        return [float(each) for each in found]

    def _samples(self, values: list[float]) -> list[Sample]:
        is_good = all(not row["good"] or value in row["good"] for row, value in zip(self._rows, values, strict=True))
        return [
            Sample(row["name"], None, (Flag.FAULT,))
            if value in row["missing"]
            else Sample(row["name"], value, () if is_good else (Flag.FAULT,))
            for row, value in zip(self._rows, values, strict=True)
        ]


def identify(line: Line, address: int) -> str:
    """Give what a sensor says of itself: version, maker, model."""
    return _ask(line, address, "I")[1:]


def query_address(line: Line) -> int:
    """Give the address of the only sensor on the line."""
    answer = line.ask(b"?!", until(b"\r\n", limit=_LIMIT)).decode("latin-1")
    if len(answer) != 3 or answer[0] not in _ADDRESSES:
        raise BadAnswer(f"not an address: {answer!r}")
    return _ADDRESSES.index(answer[0])


def crc_characters(data: bytes) -> str:
    """Give the CRC of an answer as the three characters that follow it."""
    crc = crc16(data, start=0)
    return "".join(chr(0x40 | crc >> shift & 0x3F) for shift in (12, 6, 0))


def _letter(address: int) -> str:
    if address >= len(_ADDRESSES):
        raise Refused(f"SDI-12 has the addresses 0 to {len(_ADDRESSES) - 1}, not {address}")
    return _ADDRESSES[address]


def _ask(line: Line, address: int, command: str, complete: Complete | None = None) -> str:
    """Give the sensor's answer from its address on, without the last line end."""
    letter = _letter(address)
    answer = line.ask(f"{letter}{command}!".encode(), complete or _own(letter), address=address)
    return answer[_span(answer, letter)[0] : -2].decode("latin-1")


def _span(data: bytes, letter: str) -> tuple[int, int]:
    """Find the first whole line of that sensor: where it begins and ends; (0, 0) if it has not come."""
    start = 0
    while (end := data.find(b"\r\n", start) + 2) > 1:
        if data[start : start + 1] == letter.encode():
            return start, end
        start = end
    if len(data) > _LIMIT:
        raise BadAnswer(f"{len(data)} bytes without an answer of sensor {letter}")
    return 0, 0


def _own(letter: str) -> Complete:
    """Build the test for an answer of that sensor."""
    return lambda data: _span(data, letter)[1]


def _with_call(letter: str) -> Complete:
    """Build the test for the answer to M, with the service request if that comes in the same moment."""
    request = f"{letter}\r\n".encode()

    def complete(data: bytes) -> int:
        start, end = _span(data, letter)
        rest = data[end:]
        if not end or not rest or data[start + 1 : start + 4] == b"000":
            return end
        if rest.startswith(request):
            return end + len(request)
        return 0 if request.startswith(rest) else end

    return complete


def _called(letter: str) -> Complete:
    """Build the test for a service request."""

    def complete(data: bytes) -> int:
        start, end = _span(data, letter)
        if end and end - start != 3:
            raise BadAnswer(f"not a service request: {data[start:end]!r}")
        return end

    return complete


def _never(data: bytes) -> int:
    if len(data) > _LIMIT:
        raise BadAnswer(f"{len(data)} bytes while nobody was asked")
    return 0
