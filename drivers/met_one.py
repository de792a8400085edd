r"""Met One BAM 1020, BAM 1022, E-BAM and E-BAM PLUS: the last record of their log, as comma-separated text.

`protocol` says how it is asked for. `menu`, BAM 1020, whose menu must not be open on another port:

    > CR CR CR                   < "*"                        the prompt
    > "6"                        < "6 … CSV Type Reports … >" the menu of reports
    > "4"                        < "4 - Display CSV Data" CR LF "Station, 5" CR LF header CR LF record CR LF
        header "Time,Conc(mg/m3),Qtot(m3),WS(MPS),WD(DEG),BP(mm),RH(%),Delta(C),AT(C),E,U,M,I,L,R,N,F,P,D,C,T"
        record "01/30/08 16:00, 0.084, 0.834, 0.0,0,0,30,57.0,27.1,1,0,0,0,0,0,0,0,0,0,0,1,"

    query           BAM 1020 without a prompt:   > ESC "Q" CR  < record     > ESC "QH" CR  < header
    terminal        BAM 1022:                    > CR CR CR  < "*"          > "4" CR  < some lines, header, record
    automet         E-BAM:                       > CR CR CR  < "*"          > "4"     < the same, "03-DEC-2008 18:00:00"
    computer_mode   E-BAM PLUS, BAM 1022 ("7500"):
                    > ESC "4*52" CR                      < record "*00000" CR LF      > ESC "QH*153" CR  < header
                           behind the star the sum of all characters of the command, or of the line, 16 bits, decimal

A record is taken once: as long as its time stays the same, a read gives nothing. `result_time` is that time as
the instrument writes it (its own clock; the BAM 1020 puts the end of the hour). So poll each few minutes, not at
the full hour, when a BAM 1020 is busy.

Columns are found by their names. The concentration and the sampled volume or flow are always given; `columns` adds
others by the name in the header. A unit in the header that is not the one set is a BadAnswer. `+99999.0` and nothing
at all are no value. Error letters of a BAM 1020 (`errors`, as "F P"): M is maintenance, each other one a fault of the
whole record; with critical errors it writes full scale as concentration. A status or alarm that is not 0 is a fault.

Line: BAM 1020 9600 8N1 (a switch turns RX and TX over), BAM 1022 USB 115200 8N1. Answers may need `timeout = "3s"`.

Evidence: built
Source: BAM 1020 manual Rev W, 9.4 and 9.9 (menu, ESC commands), 7.2 (letters); its record as SadraAQMS shows it;
SJVAir/BAM1022 (terminal, missing value); patricktokeeffe/rpi-ebam-plus (computer mode, header, which ran on a unit);
ES-405 manual, 9.5.4 (sum). Not confirmed on hardware. Not found, so not covered: the codes of status and alarm,
`RQ` (values of now), the custom query (QC), a BAM 1020 of the second generation. `stationd scan` asks for the header
(`query`, `computer_mode`) and opens no menu, since that would stay open; so it finds no unit that has only a menu.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from drivers.checksum import sum16
from drivers.driver import Exchange
from drivers.errors import BadAnswer
from drivers.fields import NAME, Choice, Key, MapOf, Table, Text
from drivers.identity import Question
from drivers.sample import Channel, Flag, Sample
from drivers.units import Unit, UnitOf, spelled

if TYPE_CHECKING:
    from collections.abc import Callable

    from drivers.line import Line


class Protocol(NamedTuple):
    """How the last record is come by: what goes before, with its answers; the question; that for the header, if any."""

    wake: tuple[tuple[bytes, re.Pattern[bytes]], ...]
    last: bytes
    header: bytes = b""
    has_sum: bool = False


_ESC = b"\x1b"
_PROMPT = (b"\r\r\r", re.compile(rb"(?:\A|[\r\n]) *\*"))
_MENU = (b"6", re.compile(rb"[\r\n] *>"))
PROTOCOLS = {
    "menu": Protocol((_PROMPT, _MENU), b"4"),
    "query": Protocol((), _ESC + b"Q\r", _ESC + b"QH\r"),
    "terminal": Protocol((_PROMPT,), b"4\r"),
    "automet": Protocol((_PROMPT,), b"4"),
    "computer_mode": Protocol((), _ESC + b"4*52\r", _ESC + b"QH*153\r", has_sum=True),
}
_BAM_1020 = {"menu", "query"}
_MILLIGRAMS = {"menu", "query", "automet"}
_NAMES = {"PM10": "pm10", "PM2.5": "pm25", "PM1": "pm1", "TSP": "tsp"}
_LETTERS = tuple("EUMILRNFPDCT")
_MAINTENANCE = "M"
_STATUS = ("status", "alarm")

_COLUMN = Table(
    Key("name", Text(NAME, "a name"), doc="name of the channel"),
    Key("parameter", Text(), doc="the quantity measured"),
    Key("unit", Unit(), doc="its unit; must be that of the header"),
)
OPTIONS = Table(
    Key("protocol", Choice(*PROTOCOLS), doc="how the record is asked for"),
    Key("parameter", Choice(*_NAMES), doc="what the inlet lets in"),
    Key("unit", UnitOf("mg/m³", "µg/m³"), None, doc="of the concentration; default: µg/m³ for terminal, computer_mode"),
    Key("columns", MapOf(re.compile(r"[^,()\s][^,()]{0,30}"), "a column's name", _COLUMN), {}, doc="further columns"),
)

_TIME = rb"\d\d/\d\d/\d\d \d\d:\d\d(?::\d\d)?|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|\d\d-[A-Z]{3}-\d{4} \d\d:\d\d:\d\d"
_HEADER = re.compile(rb"(?:\A|[\r\n])( *Time,[^\r\n]*)[\r\n]")
_RECORD = re.compile(rb"(?:\A|[\r\n])( *(?:%s) *,[^\r\n]*)[\r\n]" % _TIME)
_BOTH = re.compile(rb"(?:\A|[\r\n])( *Time,[^\r\n]*)[\r\n][\r\n ]*?( *(?:%s) *,[^\r\n]*)[\r\n]" % _TIME)
_TIMES = ("%m/%d/%y %H:%M", "%m/%d/%y %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%d-%b-%Y %H:%M:%S")
_PRINTABLE = re.compile(rb"[ -~\r\n]*")
_SUMMED = re.compile(rb"(.*)\*(\d{1,5})")
_TITLE = re.compile(r"([^()]*?) *(?:\(([^()]*)\)|$)")
_NUMBER = re.compile(r"[+-]?\d{0,6}(?:\.\d{1,6})?")
_MISSING = 99999.0
_UNITS = {
    "c": "°C", "mm": "mmHg", "mmhg": "mmHg", "mps": "m/s", "kts": "kn", "lpm": "L/min", "l/m": "L/min", "v": "V",
    "deg": "deg",
}  # fmt: skip
_LIMIT = 16_384


class Column(NamedTuple):
    """One column of the record: the unit that the header says, "" for none, and what stands there."""

    unit: str
    text: str


def _asks(protocol: str) -> Question:
    """Ask for the header, whose first column is the time."""
    return Question(
        lambda _: PROTOCOLS[protocol].header, re.compile(rb"Time, ?Conc[^\r\n]*\r"), lambda _: {"protocol": protocol}
    )


IDENTITY = (_asks("computer_mode"), _asks("query"))
"""The others have a menu, which whoever opens it must leave again; how is not in the sources at hand."""


def driver(options: dict[str, Any]) -> MetOne:
    """Build the driver from checked options."""
    return MetOne(options)


class MetOne:
    """One monitor; remembers the time of the newest record, which is given once."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._protocol = PROTOCOLS[options["protocol"]]
        self._has_letters = options["protocol"] in _BAM_1020
        self.has_checksum = self._protocol.has_sum
        self._measured = _measured(options)
        own = (Channel("errors", "status_word", ""), Channel("result_time", "result_time", ""))
        self.channels = (*self._measured.values(), *own)
        if len({channel.name for channel in self.channels}) != len(self.channels):
            raise ValueError("two channels have the same name; the names of columns must differ")
        self.newest_result = ""

    def read(self, line: Line, address: int) -> list[Sample]:
        """Ask for the last record; nothing, if it was given already."""
        del address  # there is one monitor at the other end
        for request, form in self._protocol.wake:
            if not _PRINTABLE.fullmatch(line.ask(request, _complete(form))):
                raise BadAnswer("noise before the prompt")
        header, record = self._asked(line)
        time = self._fields(record)[0]
        if time == self.newest_result:
            return []
        header = header or _found(_HEADER, line.ask(self._protocol.header, _complete(_HEADER)))[0]
        samples = self._samples(self._columns(header, record), _checked(time))
        self.newest_result = time
        return samples

    def plan(self, framer: str) -> list[Exchange]:
        """Count the questions and some 600 characters in answer."""
        del framer
        asked = [Exchange("wake", len(request), 250) for request, _ in self._protocol.wake]
        asked.append(Exchange("last record", len(self._protocol.last), 400))
        return [*asked, *([Exchange("header", len(self._protocol.header), 200)] if self._protocol.header else [])]

    def _asked(self, line: Line) -> tuple[bytes, bytes]:
        """Give header (empty, if it must be asked for) and record as they came."""
        form = _RECORD if self._protocol.header else _BOTH
        *header, record = _found(form, line.ask(self._protocol.last, _complete(form)))
        return (header[0] if header else b""), record

    def _fields(self, row: bytes) -> list[str]:
        if self._protocol.has_sum:
            summed = _SUMMED.fullmatch(row)
            if not summed or sum16(summed[1]) != int(summed[2]):
                raise BadAnswer(f"wrong checksum, or none: {row[-20:]!r}")
            row = summed[1]
        return [field.strip() for field in row.decode("latin-1").split(",")]

    def _columns(self, header: bytes, record: bytes) -> dict[str, Column]:
        """Give the columns by their names in small letters, without those that share a name."""
        titles, fields = self._fields(header), self._fields(record)
        while titles and not titles[-1]:
            del titles[-1]
        if len(fields) < len(titles) or any(fields[len(titles) :]):
            raise BadAnswer(f"{len(fields)} fields do not fit the header {', '.join(titles)!r}")
        found = [(_TITLE.match(title), text) for title, text in zip(titles, fields, strict=False)]
        named = [(title[1].lower(), Column(_unit(title[2] or ""), text)) for title, text in found if title]
        names = [name for name, _ in named]
        return {name: column for name, column in named if names.count(name) == 1}

    def _samples(self, columns: dict[str, Column], time: str) -> list[Sample]:
        errors, flags = _letters(columns) if self._has_letters else _code(columns)
        measured = [self._sample(columns, name, channel, flags) for name, channel in self._measured.items()]
        return [*measured, Sample("errors", errors), Sample("result_time", time)]

    def _sample(self, columns: dict[str, Column], name: str, channel: Channel, flags: tuple[Flag, ...]) -> Sample:
        column = columns.get(name)
        if column is None:
            raise BadAnswer(f"the header has not one column {name!r}; there are: {', '.join(columns)}")
        if column.unit and column.unit != channel.unit:
            raise BadAnswer(f"{name} comes in {column.unit}, the unit set is {channel.unit}")
        value = _value(column.text)
        return Sample(channel.name, value, flags if value is not None else tuple({Flag.FAULT, *flags}))


def _measured(options: dict[str, Any]) -> dict[str, Channel]:
    """Give the channels by the names of their columns in small letters."""
    protocol, parameter = options["protocol"], options["parameter"]
    name = _NAMES[parameter]
    unit = options["unit"] or ("mg/m³" if protocol in _MILLIGRAMS else "µg/m³")
    concentration = Channel(name, parameter, unit)
    if protocol in _BAM_1020:
        known = {"conc": concentration, "qtot": Channel("sample_volume", "sample_volume", "m³")}
    else:
        known = {
            "conchr": concentration,
            "concrt": Channel(f"{name}_real_time", f"{parameter}_real_time", unit),
            "flow": Channel("sample_flow", "sample_flow", "L/min"),
            "at": Channel("air_temperature", "air_temperature", "°C"),
        }
    return known | {column.strip().lower(): Channel(**said) for column, said in options["columns"].items()}


def _complete(form: re.Pattern[bytes]) -> Callable[[bytes], int]:
    """Build the test for an answer that holds such lines."""

    def complete(data: bytes) -> int:
        if found := form.search(data):
            return found.end()
        if len(data) > _LIMIT:
            raise BadAnswer(f"{len(data)} bytes without a record or prompt")
        return 0

    return complete


def _found(form: re.Pattern[bytes], answer: bytes) -> tuple[bytes, ...]:
    found = form.search(answer)
    return found.groups() if found else (b"", b"")


def _checked(time: str) -> str:
    for form in _TIMES:
        try:
            datetime.strptime(time, form).replace(tzinfo=UTC)
        except ValueError:
            continue
        return time
    raise BadAnswer(f"no such time: {time[:30]!r}")


def _unit(text: str) -> str:
    return _UNITS.get(text.strip().lower()) or spelled(text.strip())


def _letters(columns: dict[str, Column]) -> tuple[str, tuple[Flag, ...]]:
    """Give the letters that are set, and what they mean for the record."""
    said = [columns[letter.lower()].text if letter.lower() in columns else "" for letter in _LETTERS]
    if not set(said) <= {"0", "1"}:
        raise BadAnswer(f"error columns {' '.join(_LETTERS)} are not all 0 or 1: {' '.join(said)}")
    held = [letter for letter, text in zip(_LETTERS, said, strict=True) if text == "1"]
    flags = {Flag.MAINTENANCE if letter == _MAINTENANCE else Flag.FAULT for letter in held}
    return " ".join(held), tuple(flags)


def _code(columns: dict[str, Column]) -> tuple[int, tuple[Flag, ...]]:
    """Give the status or alarm; 0 is good."""
    text = next((columns[name].text for name in _STATUS if name in columns), "")
    if not re.fullmatch(r"\d{1,6}", text):
        raise BadAnswer(f"the status is no number: {text[:20]!r}")
    return int(text), ((Flag.FAULT,) if int(text) else ())


def _value(text: str) -> float | None:
    if not text:
        return None
    if not _NUMBER.fullmatch(text) or not text.strip("+-."):
        raise BadAnswer(f"not a number: {text[:20]!r}")
    value = float(text)
    return None if value == _MISSING else value
