r"""Analyzers that speak HJ 212, the Chinese data-transmission standard: they push their results, or are asked.

    < "##0076ST=32;CN=2011;PW=;MN=;CP=&&DataTime=20080731155849;011-Rtd=40.6,011-Flag=N&&C241" CR LF
       │ │   │     │                  └ time of the result         │   │        │ mark      └ CRC of the data segment
       │ │   │     command                                         │   attribute
       │ │   system                                                factor
       │ bytes of the data segment, from here to the CRC
       always ##

    > "##0087QN=20000101000000000;ST=32;CN=2011;PW=123456;MN=…;Flag=5;CP=&&&&…." CR LF      asked only
    < "##….QN=20000101000000000;ST=91;CN=9011;…;CP=&&QnRtn=1&&…." CR LF                     ready; may be missing
    < "##….QN=…;ST=32;CN=2011;…;CP=&&DataTime=…&&…." CR LF
    < "##….QN=20000101000000000;ST=91;CN=9012;…;CP=&&ExeRtn=1&&…." CR LF                    done; not waited for

    > "##0087QN=…;ST=91;CN=9014;PW=…;MN=…;Flag=4;CP=&&&&…." CR LF        to a frame whose Flag has bit 0: received

`channels` are factor and attribute: "011-Rtd" (COD by HJ/T 212-2005), "w01018-Rtd" (since 2017). Marks N ok, F
stopped, M maintenance, C calibration, D fault, P (power) fault, T and L outside of the range, S entered by hand, B no
communication; any other is a fault, for nobody knows what it means; `marks` changes that. A value without a mark is
ok. The time of the result is the text channel `result_time`, as the analyzer has it, local; a result counts once, so a
frame with the same time brings nothing new. Frames of another command or MN, and those sent again (RF=1), are passed
over; where the Flag of a frame asks for a receipt, it is sent.

The CRC is the standard's; it is never ignored, and a factor that is missing is a BadAnswer. It is weak: it finds one
damaged character, but 40.6 and 71.6 have the same sum. Encrypted frames (2025) and results split into packets are not
read.
QN counts the requests, for a driver has no clock. A pushed frame is waited for as long as `patience`: longer than the
time between two, and on a line of its own. Nothing is ever set, started or calibrated.
`stationd scan` knows analyzers that push. It asks none: a request needs the MN and the password of the analyzer, and no
source shows what one does with those of another.

Line: 9600 8N1.

Evidence: captured
Source: HJ 212-2017 (frame, CRC, marks: sections 6, 7, appendix A) and HJ 212-2025 (appendix A), their examples
recomputed; a frame captured in the field in 2019; the BOQU frame above from the maker's protocol page, where its CRC is
misprinted as 8487. That an analyzer answers requests in this way is by the standard. Not confirmed on hardware here.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from drivers.checksum import crc_hj212
from drivers.driver import Exchange
from drivers.errors import BadAnswer, Refused
from drivers.fields import NAME, Choice, Integer, Key, MapOf, Table, Text, duration
from drivers.identity import unknown
from drivers.sample import Channel, Flag, Sample
from drivers.units import Unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drivers.line import Line

_MARKS = {
    "N": Flag.OK,
    "F": Flag.STOPPED,
    "M": Flag.MAINTENANCE,
    "C": Flag.CALIBRATION,
    "D": Flag.FAULT,
    "P": Flag.FAULT,
    "T": Flag.OVER_RANGE,
    "L": Flag.OVER_RANGE,
    "S": Flag.MANUAL,
    "B": Flag.NO_COMM,
}
_FACTOR = re.compile(r"[A-Za-z0-9]{1,12}-(?!Flag$|EFlag$)[A-Za-z]{2,10}")
_CHANNEL = Table(
    Key("name", Text(NAME, "a name"), doc="name of the channel"),
    Key("parameter", Text(), doc="the quantity measured"),
    Key("unit", Unit(), "", doc="the unit that the analyzer is set to"),
)
_MARK = MapOf(re.compile("[A-Za-z0-9]{1,4}"), "a mark", Choice(*(flag for flag in Flag if flag is not Flag.SUSPECT)))
OPTIONS = Table(
    Key("channels", MapOf(_FACTOR, 'factor and attribute, like "011-Rtd"', _CHANNEL), doc="what each factor is"),
    Key("mode", Choice("pushed", "asked"), "pushed", doc="who begins"),
    Key("command", Choice("2011", "2051", "2061", "2031"), "2011", doc="values of now, of a minute, an hour, a day"),
    Key("patience", duration(), 65.0, doc="a frame is pushed at least this often"),
    Key("mn", Text(re.compile("[A-Za-z0-9]{0,24}"), "up to 24 letters and digits"), "", doc="the analyzer's MN"),
    Key("pw", Text(re.compile("[A-Za-z0-9]{0,24}"), "letters and digits"), "123456", doc="password of a request"),
    Key(
        "st", Text(re.compile("[0-9A-Z]{2}"), "two characters"), "32", doc="system of a request: 32 effluent, 31 stack"
    ),
    Key("flag", Integer(0, 255), 5, doc="Flag of a request: 5 for 2017, 9 for 2025"),
    Key("marks", _MARK, {}, doc="flags of marks that mean something else here"),
)

_TIME = "result_time"
_SHELL = 12
_RESULTS = ("2011", "2051", "2061", "2031")
_LONGEST, _LIMIT = 1024, 8192
_PAIR = re.compile(r"([A-Za-z0-9-]+)=([^=,;&]*)")
_VALUE = re.compile(r"[+-]?\d{1,14}(?:\.\d{0,10})?")
_ANSWERS_TO_REQUESTS = {"9011": "QnRtn", "9012": "ExeRtn"}


def options_for(heard: bytes) -> dict[str, Any] | None:
    """Give the factors of the first result that was heard."""
    with suppress(BadAnswer):
        for frame in _frames(heard):
            factors = [name for name in frame.content if _FACTOR.fullmatch(name)]
            if factors and frame.head.get("CN") in _RESULTS:
                command = {} if frame.head["CN"] == _RESULTS[0] else {"command": frame.head["CN"]}
                return command | {"channels": {factor: unknown(factor.partition("-")[0]) for factor in factors}}
    return None


class Frame(NamedTuple):
    """A frame that is whole and has the right sum: the fields before CP, those in it, and where it ends."""

    head: dict[str, str]
    content: dict[str, str]
    end: int


def driver(options: dict[str, Any]) -> Hj212:
    """Build the driver from checked options. Raises ValueError for a name that stands twice."""
    return Hj212(options)


class Hj212:
    """One analyzer."""

    has_checksum = True

    def __init__(self, options: dict[str, Any]) -> None:
        self._factors: list[str] = list(options["channels"])
        self.channels = (
            *(Channel(**row) for row in options["channels"].values()),
            Channel(_TIME, _TIME, ""),
        )
        if len({channel.name for channel in self.channels}) < len(self.channels):
            raise ValueError(f"a name stands twice in channels, or is {_TIME}")
        self._is_asked = options["mode"] == "asked"
        self.unsolicited = not self._is_asked
        self.patience_s = 0.0 if self._is_asked else options["patience"]
        self._options = options
        self._marks = {**_MARKS, **{mark: Flag(word) for mark, word in options["marks"].items()}}
        self._requests = 0
        self.newest_result = ""

    def read(self, line: Line, address: int) -> list[Sample]:
        """Wait for a frame, or ask for one; nothing if its result is the one of the last read."""
        del address  # frames name the analyzer by its MN
        frame = self._asked(line) if self._is_asked else self._pushed(line)
        time = _time(frame)
        samples = [self._sample(factor, channel.name, frame.content) for factor, channel in self._pairs()]
        if (receipt := _receipt(frame.head)) and not line.only_listens:
            line.tell(receipt)
        if time == self.newest_result:
            return []
        self.newest_result = time
        return [*samples, Sample(_TIME, time)]

    def plan(self, framer: str) -> list[Exchange]:
        """Count 40 characters for each factor, and the receipt; the wait is not the line's time."""
        del framer
        longest = min(_LONGEST, 130 + 40 * len(self._factors)) + _SHELL
        asked = [Exchange("request", len(self._request("0" * 17)), longest)]
        receipt = Exchange("receipt", 140, 0)
        return [*asked, receipt] if self._is_asked else [Exchange("listen", 0, longest), receipt]

    def _pairs(self) -> Iterator[tuple[str, Channel]]:
        return zip(self._factors, self.channels, strict=False)

    def _pushed(self, line: Line) -> Frame:
        data = line.listen(lambda data: self._end(data, ""), timeout_s=self.patience_s)
        return [*_frames(data)][-1]

    def _asked(self, line: Line) -> Frame:
        number = _number(self._requests)
        self._requests += 1
        frame = [*_frames(line.ask(self._request(number), lambda data: self._end(data, number)))][-1]
        command = frame.head["CN"]
        if command in _ANSWERS_TO_REQUESTS:
            name = _ANSWERS_TO_REQUESTS[command]
            text = frame.content.get(name, "")
            raise Refused(f"the analyzer says {name}={text}", int(text) if text.isdecimal() else 0)
        return frame

    def _request(self, number: str) -> bytes:
        head = {name.upper(): self._options[name] for name in ("st", "pw", "mn")}
        return framed(
            f"QN={number};ST={head['ST']};CN={self._options['command']};PW={head['PW']};MN={head['MN']};"
            f"Flag={self._options['flag']};CP=&&&&"
        )

    def _end(self, data: bytes, number: str) -> int:
        """Find the end of the first frame that is meant; `number` is the QN of the request, if there was one."""
        for frame in _frames(data):
            if self._is_result(frame) or (number and _is_refusal(frame, number)):
                return frame.end
        if len(data) > _LIMIT:
            raise BadAnswer(f"{len(data)} bytes without a result")
        return 0

    def _is_result(self, frame: Frame) -> bool:
        is_ours = not self._options["mn"] or frame.head.get("MN") == self._options["mn"]
        return is_ours and frame.head.get("CN") == self._options["command"] and frame.head.get("RF") != "1"

    def _sample(self, factor: str, name: str, content: dict[str, str]) -> Sample:
        text = content.get(factor)
        if text is None:
            raise BadAnswer(f"the frame has no {factor}")
        if text and not _VALUE.fullmatch(text):
            raise BadAnswer(f"{factor} is no number: {text[:20]!r}")
        mark = content.get(f"{factor.partition('-')[0]}-Flag")
        flag = Flag.OK if mark is None else self._marks.get(mark, Flag.FAULT)
        if not text and flag is Flag.OK:
            flag = Flag.FAULT
        return Sample(name, float(text) if text else None, () if flag is Flag.OK else (flag,))


def framed(segment: str) -> bytes:
    """Build the frame around a data segment."""
    data = segment.encode()
    return b"##%04d%b%04X\r\n" % (len(data), data, crc_hj212(data))


def _number(count: int) -> str:
    """Give the QN of a request: in form a time to the millisecond, in truth a number."""
    moment = datetime(2000, 1, 1) + timedelta(milliseconds=count)  # noqa: DTZ001 (QN is local time without a zone)
    return moment.strftime("%Y%m%d%H%M%S") + f"{moment.microsecond // 1000:03d}"


def _frames(data: bytes) -> Iterator[Frame]:
    """Give each whole frame, whatever stands between them. Raises BadAnswer for a damaged one."""
    start = data.find(b"##")
    while start >= 0:
        length = data[start + 2 : start + 6]
        if len(length) < 4:
            return
        if not length.isdigit() or int(length) > _LONGEST:
            start = data.find(b"##", start + 1)
            continue
        end = start + int(length) + _SHELL
        if len(data) < end:
            return
        yield _frame(data[start:end], end)
        start = data.find(b"##", end)


def _frame(data: bytes, end: int) -> Frame:
    segment, crc, tail = data[6:-6], data[-6:-2], data[-2:]
    if tail != b"\r\n" or not re.fullmatch(rb"[0-9A-Fa-f]{4}", crc):
        raise BadAnswer(f"the frame does not end where its length says: {data[-8:]!r}")
    if int(crc, 16) != crc_hj212(segment):
        raise BadAnswer(f"wrong checksum (CRC) {crc.decode()}")
    head, begin, content = segment.decode("utf-8", "replace").partition("CP=&&")
    if not begin or not content.endswith("&&"):
        raise BadAnswer(f"no CP in {segment[:60]!r}")
    return Frame(_fields(head), _fields(content[:-2]), end)


def _fields(text: str) -> dict[str, str]:
    """Take `name=value` apart, with `;` and `,` between."""
    fields: dict[str, str] = {}
    for part in re.split("[;,]", text.removesuffix(";")) if text else ():
        found = _PAIR.fullmatch(part)
        if not found or found[1] in fields:
            raise BadAnswer(f"not a field, or one that stands twice: {part[:40]!r}")
        fields[found[1]] = found[2]
    return fields


def _is_refusal(frame: Frame, number: str) -> bool:
    name = _ANSWERS_TO_REQUESTS.get(frame.head.get("CN", ""))
    answered = frame.head.get("QN", frame.content.get("QN"))  # in the edition of 2005 it stands in CP
    return name is not None and answered == number and frame.content.get(name) != "1"


def _time(frame: Frame) -> str:
    text = frame.content.get("DataTime", "")
    if re.fullmatch(r"\d{14}", text):
        with suppress(ValueError):  # no such day or hour
            return datetime.strptime(text, "%Y%m%d%H%M%S").isoformat()  # noqa: DTZ007 (the frame names no zone)
    raise BadAnswer(f"no time of the result: DataTime={text[:20]}")


def _receipt(head: dict[str, str]) -> bytes | None:
    """Build the answer to a frame that wants one; its Flag names the edition, and no more."""
    flag = head.get("Flag", "")
    if not flag.isdecimal() or not int(flag) & 1 or "QN" not in head:
        return None
    return framed(
        f"QN={head['QN']};ST=91;CN=9014;PW={head.get('PW', '')};MN={head.get('MN', '')};Flag={int(flag) & 0xFC};CP=&&&&"
    )
