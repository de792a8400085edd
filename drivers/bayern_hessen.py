r"""Instruments that speak Bayern-Hessen (Gesytec): Ecotech Serinus, Met One BAM 1020, AMA and others.

One request brings every value that the instrument has, each in a record with an id:

    > STX "DA" ETX "04"                 BCC: exclusive or of STX to ETX inclusive, two hex digits
    < STX "MD02 001 +2099+01 00 00 097 000000 002 -1500-02 82 00 097 000000" ETX "06"
           cc   id  value    ss ff mmm eeeeee
                                          mmm serial number, eeeeee reserve: not looked at
                             ss status, ff errors, a byte each, as hex
                    sign, four digits, sign, two digits
           number of records

`value_rule` decides what four digits and an exponent mean, and no frame says which rule holds: `implied_decimal`
puts a point after the first digit (`-1500-02` is -1.500E-02: Met One BAM 1020), `integer` puts none (`+0123-01` is
12.3: AMA GC5000). Compare with the instrument's display before trusting a value.

Bits of ss and ff differ between makers. `status_bits` and `error_bits` are those of Serinus unless set: out of service
is maintenance; zero, span and background are calibration; any error bit is a fault. `unit_bit` is the bit of
ss that is set where the value is by volume (6 for Serinus); a value that contradicts the unit set is a BadAnswer.

Line: 9600 8N1 usual. The GC5000 variant with a length byte is not covered.

Evidence: captured
Source: Ecotech Serinus manuals (request frames and their BCC, bits); records captured from a BAM 1020 (apri-sensor);
the frame around them is built from the rule. Not confirmed on hardware here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from drivers.checksum import xor8
from drivers.driver import Exchange
from drivers.errors import BadAnswer
from drivers.fields import NAME, Choice, Integer, Key, MapOf, Table, Text
from drivers.identity import Question, unknown
from drivers.sample import Channel, Flag, Sample
from drivers.units import Unit

if TYPE_CHECKING:
    from drivers.line import Line

_FLAG = Choice(Flag.STOPPED, Flag.MAINTENANCE, Flag.CALIBRATION, Flag.FAULT, Flag.OVER_RANGE, Flag.MANUAL)
_BITS = MapOf(re.compile("[0-7]"), "a bit from 0 to 7", _FLAG, int)
_SERINUS_STATUS = {1: "maintenance", 2: "calibration", 3: "calibration", 7: "calibration"}
_SERINUS_ERRORS = dict.fromkeys(range(8), "fault")
_CHANNEL = Table(
    Key("name", Text(NAME, "a name"), doc="name of the channel"),
    Key("parameter", Text(), doc="the quantity measured"),
    Key("unit", Unit(), doc="the unit that the instrument is set to"),
)
OPTIONS = Table(
    Key("value_rule", Choice("implied_decimal", "integer"), doc="+2099+01 is 20.99, or 20990"),
    Key("framing", Choice("etx_bcc", "etx", "stx_cr", "cr"), "etx_bcc", doc="etx: the BCC is not looked at"),
    Key("ask", Choice("all", "address"), "all", doc="DA, or DA and the address in three digits"),
    Key("channels", MapOf(re.compile(r"\d{3}"), "an id of three digits", _CHANNEL), doc="what each id is"),
    Key("status_bits", _BITS, _SERINUS_STATUS, doc="flag for each bit of the status byte"),
    Key("error_bits", _BITS, _SERINUS_ERRORS, doc="flag for each bit of the error byte"),
    Key("unit_bit", Integer(0, 7), None, doc="bit of the status byte that is set for ppb and ppm"),
)

_STX, _ETX = b"\x02", b"\x03"
_LIMIT = 8192
_RECORD = re.compile(r" ?(\d{3}) ([+-]\d{4})([+-]\d\d) ([0-9A-F]{2}) ([0-9A-F]{2}) (\w{3}) (\w{6})")
_BY_VOLUME = {"ppb", "ppm", "ppt", "%"}

_ANY_RECORD = rb" ?\d{3} [+-]\d{4}[+-]\d\d [0-9A-F]{2} [0-9A-F]{2} \w{3} \w{6}"


def _asks(request: bytes, framing: str, end: bytes) -> Question:
    return Question(
        lambda _: request,
        re.compile(rb"MD\d\d(?P<records>(?:" + _ANY_RECORD + rb")+) ?" + end),
        lambda found: {
            "framing": framing,
            "channels": {
                each[1]: unknown(f"value_{each[1]}") for each in _RECORD.finditer(found["records"].decode("latin-1"))
            },
        },
    )


IDENTITY = (
    _asks(b"\x02DA\x0304", "etx_bcc", rb"\x03[0-9A-Fa-f]{2}"),
    _asks(b"\x02DA\r", "stx_cr", rb"\r"),
    _asks(b"DA\r", "cr", rb"\r"),
)
"""What every instrument answers, whatever its address; what the ids mean is in its manual."""


class Record(NamedTuple):
    """One value of the answer, with its status and error bits."""

    value: float
    status: int
    errors: int


def driver(options: dict[str, Any]) -> BayernHessen:
    """Build the driver from checked options."""
    return BayernHessen(options)


class BayernHessen:
    """One instrument."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._ids: list[str] = list(options["channels"])
        self.channels = tuple(Channel(**options["channels"][key]) for key in self._ids)
        self._point = 3 if options["value_rule"] == "implied_decimal" else 0
        self._framing = options["framing"]
        self._asks_address = options["ask"] == "address"
        self._status_bits = _flags_of(options["status_bits"])
        self._error_bits = _flags_of(options["error_bits"])
        self._unit_bit: int | None = options["unit_bit"]
        self.has_checksum = self._framing == "etx_bcc"

    def read(self, line: Line, address: int) -> list[Sample]:
        """Ask once; every id of the configuration must be in the answer, others are passed over."""
        answer = line.ask(self._request(address), self._complete)
        records = self._records(self._body(answer))
        if missing := [key for key in self._ids if key not in records]:
            raise BadAnswer(f"no value with id {', '.join(missing)} in the answer")
        return [self._sample(channel, records[key]) for channel, key in zip(self.channels, self._ids, strict=True)]

    def plan(self, framer: str) -> list[Exchange]:
        """Count one request and a record of 32 characters for each channel."""
        del framer
        return [Exchange("DA", len(self._request(0)), 10 + 32 * len(self.channels))]

    def _request(self, address: int) -> bytes:
        text = b"DA%03d" % (address % 1000) if self._asks_address else b"DA"
        if self._framing in {"stx_cr", "cr"}:
            return (_STX if self._framing == "stx_cr" else b"") + text + b"\r"
        framed = _STX + text + _ETX
        return framed + b"%02X" % xor8(framed)

    def _complete(self, data: bytes) -> int:
        """Find the end; whatever stands before STX does not count."""
        if len(data) > _LIMIT:
            raise BadAnswer(f"{len(data)} bytes without the end of the answer")
        if self._framing in {"stx_cr", "cr"}:
            return data.find(b"\r") + 1
        end = data.find(_ETX, data.find(_STX) + 1) + 1
        length = end + (2 if self.has_checksum else 0)
        return length if _STX in data and end and len(data) >= length else 0

    def _body(self, answer: bytes) -> str:
        """Give what stands between the frame's ends; with a BCC only if it holds."""
        if self._framing in {"stx_cr", "cr"}:
            return answer.rstrip(b"\r")[answer.rfind(_STX) + 1 :].decode("latin-1")
        end = answer.index(_ETX, answer.index(_STX)) + 1
        framed = answer[answer.rindex(_STX, 0, end) : end]
        if self.has_checksum and answer[end:].upper() != b"%02X" % xor8(framed):
            raise BadAnswer("wrong checksum (BCC)")
        return framed[1:-1].decode("latin-1")

    def _records(self, body: str) -> dict[str, Record]:
        head, rest = body[:4], body[4:]
        found = list(_RECORD.finditer(rest))
        if head[:2] != "MD" or "".join(each[0] for each in found) != rest.rstrip():
            raise BadAnswer(f"not a list of records: {body[:40]!r}")
        if head[2:] != f"{len(found):02d}":
            raise BadAnswer(f"{len(found)} records, announced are {head[2:]!r}")
        records = {each[1]: self._record(each) for each in found}
        if len(records) != len(found):
            raise BadAnswer("one id stands twice in the answer")
        return records

    def _record(self, found: re.Match[str]) -> Record:
        value = float(f"{found[2]}E{int(found[3]) - self._point}")
        return Record(value, int(found[4], 16), int(found[5], 16))

    def _sample(self, channel: Channel, record: Record) -> Sample:
        if self._unit_bit is not None:
            is_by_volume = bool(record.status >> self._unit_bit & 1)
            if is_by_volume != (channel.unit in _BY_VOLUME):
                raise BadAnswer(f"{channel.name} is not in {channel.unit}, says the instrument")
        held = _held(self._status_bits, record.status) + _held(self._error_bits, record.errors)
        return Sample(channel.name, record.value, tuple(dict.fromkeys(held)))


def _flags_of(bits: dict[int, str]) -> dict[int, Flag]:
    return {bit: Flag(word) for bit, word in bits.items()}


def _held(flags: dict[int, Flag], byte: int) -> list[Flag]:
    return [flag for bit, flag in flags.items() if byte >> bit & 1]
