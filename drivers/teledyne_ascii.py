r"""Teledyne API analyzers over their text protocol: T100, T200, T300, T400 and others with a test value list.

    > "W LIST\rT SO2\r"                          all warnings, then a test value; further values one by one
    < "W 194:11:03 0100 SAMPLE FLOW WARNING\r\n"
    < "T 194:11:29 0100 SO2=261.4 PPB\r\n"
       │ │          │    │   │     unit
       │ │          │    │   value, or XXXX where there is none
       │ │          │    label; often not the name that was asked for: BOXTEMP is answered with BOX TEMP
       │ │          number of the instrument, 1 to 4 digits
       │ day of the year, hour, minute
       type: T test value, V variable, W warning, C calibration, D diagnostic

Lines of other types come unasked between the answers, unless quiet mode is set; whatever is not the line with the
type and label that is waited for is passed over. Nothing shows where a list of warnings ends, so it is asked together
with the first value, whose line ends it. No manual says what the answer to an unknown name is: here it is no answer.

`channels` says which names are asked for; `gas` alone asks for the concentrations of that analyzer. A name with
`ask = "V"` is a variable (`V 194:11:29 0100 ALAMP_SET=25 20 30 <0-100>`: the first number counts). A unit in the
answer that is not the configured one is a BadAnswer.

A warning is a fault of everything, but for those whose text begins with one of `harmless`; the channel `warnings` has
their texts. Calibration is not told by any of this: it is reported once, when it begins and when it ends, and that
report may be missed.

Line: 19200 8N1 or as set, or TCP. Terminal mode runs a command at CR, computer mode at LF (`ending = "crlf"`).

Evidence: manual
Source: Teledyne API 300M manual 04033 (format, `DCPS= 2500 MV`), 6200A manual (warnings), 401 manual (variables),
T101 manual, appendix A (`SO2=261.4 PPB`), T300 manual (XXXX). Checked against these examples; the names CO, O3, NO,
NO2 and NOX are built after that of SO2. Not confirmed on hardware, two commands sent at once least of all:
`warnings = "none"` does without.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from drivers.driver import Exchange
from drivers.errors import BadAnswer
from drivers.fields import NAME, Choice, Key, ListOf, MapOf, Table, Text
from drivers.identity import Question
from drivers.sample import Channel, Flag, Sample
from drivers.units import Unit, UnitOf, spelled

if TYPE_CHECKING:
    from drivers.complete import Complete
    from drivers.line import Line

GASES = {"SO2": ("SO2",), "CO": ("CO",), "O3": ("O3",), "NOx": ("NO", "NO2", "NOX")}
UNITS = {
    "PPB": ("ppb",),
    "PPM": ("ppm",),
    "UGM": ("µg/m³",),
    "MGM": ("mg/m³",),
    "C": ("°C",),
    "MV": ("mV",),
    "IN-HG-A": ("inHg",),
    "CC/M": ("mL/min", "cc/min"),
    "SEC": ("s",),
    "HZ": ("Hz",),
}
"""How the instruments write units, and how ours may be written; any other stands as it is."""
_CHANNEL = Table(
    Key("name", Text(NAME, "a name"), doc="name of the channel"),
    Key("parameter", Text(), doc="the quantity measured"),
    Key("unit", Unit(), doc="the unit that the instrument gives it in"),
    Key("label", Text(), "", doc="what stands before = in the answer, if not the name asked for"),
    Key("ask", Choice("T", "V"), "T", doc="T: a test value; V: a variable"),
)
OPTIONS = Table(
    Key("gas", Choice(*GASES), "", doc="which analyzer; its concentrations are the channels if there are no others"),
    Key("unit", UnitOf("ppb", "ppm", "µg/m³", "mg/m³"), "", doc="unit of the concentrations; ppb, for CO ppm"),
    Key("channels", MapOf(re.compile(r"[A-Z0-9_/]{1,24}"), "a name in capitals", _CHANNEL), {}, doc="what to ask for"),
    Key("warnings", Choice("list", "none"), "list", doc="none: do not ask for them"),
    Key("harmless", ListOf(Text()), ("SYSTEM RESET", "CONC ALARM"), doc="beginnings of warnings that flag nothing"),
    Key(
        "ask_id", Choice("any", "address"), "any", doc="address: send it with each command, and heed no other's answer"
    ),
    Key("ending", Choice("cr", "crlf"), "cr", doc="crlf in computer mode"),
)

_LINE = re.compile(r"([A-Z]) \d{1,3}:\d\d:\d\d +(\d{1,4}) +(\S.*?)\s*")
_VALUE = re.compile(r"([^=]+?)\s*=\s*(?:([+-]?\d{1,12}(?:\.\d{0,12})?|[+-]?\.\d{1,12})|(X+))(?:\s+(\S.*))?")
_WARNINGS = Channel("warnings", "warnings", "")
_NONE = "none"
_LIMIT = 16_384


def _options_of(found: re.Match[bytes]) -> dict[str, Any]:
    labels = {label.decode() for label in re.findall(rb" ([A-Z0-9]+) *=", found[0])}
    return next(({"gas": gas} for gas, names in GASES.items() if names[0] in labels), {})


IDENTITY = (
    Question(
        lambda _: b"T LIST\r",
        re.compile(rb"(?:T \d{1,3}:\d\d:\d\d +(?P<address>\d{1,4}) +[^\r\n]*=[^\r\n]*\r?\n)+"),
        _options_of,
    ),
)
"""All test values; the concentrations among them tell which analyzer it is."""


def driver(options: dict[str, Any]) -> TeledyneAscii:
    """Build the driver from checked options. Raises ValueError if they say nothing to ask for."""
    return TeledyneAscii(options)


class Item(NamedTuple):
    """One value: the type and name to ask for, and the label of its answer."""

    ask: str
    name: str
    label: str


class Message(NamedTuple):
    """One line of the instrument."""

    type: str
    sender: int
    text: str


class TeledyneAscii:
    """One analyzer."""

    has_checksum = False

    def __init__(self, options: dict[str, Any]) -> None:
        chosen = options["channels"] or _of_gas(options["gas"], options["unit"])
        self._items = [Item(one["ask"], name, one["label"] or name) for name, one in chosen.items()]
        self._values = [Channel(one["name"], one["parameter"], one["unit"]) for one in chosen.values()]
        self._lists = options["warnings"] == "list"
        self._harmless = tuple(options["harmless"])
        self._has_id = options["ask_id"] == "address"
        self._end = "\r" if options["ending"] == "cr" else "\r\n"
        self.channels = (*self._values, _WARNINGS) if self._lists else tuple(self._values)

    def read(self, line: Line, address: int) -> list[Sample]:
        """Ask for the warnings and each value."""
        values: list[float | None] = []
        warnings: list[str] = []
        for item, channel in zip(self._items, self._values, strict=True):
            messages = self._ask(line, address, item, lists=self._lists and not values)
            values.append(_value(item, channel, messages[-1].text))
            warnings += [message.text for message in messages if message.type == "W" and self._lists]
        return self._samples(values, list(dict.fromkeys(warnings)))

    def plan(self, framer: str) -> list[Exchange]:
        """One command for each value and an answer of 60 characters; the list of warnings with the first."""
        del framer
        return [
            Exchange(f"{item.ask} {item.name}", len(self._command(9999, item, lists=lists)), 240 if lists else 60)
            for item, lists in zip(self._items, [self._lists, *[False] * len(self._items)], strict=False)
        ]

    def _samples(self, values: list[float | None], warnings: list[str]) -> list[Sample]:
        is_doubtful = any(not text.startswith(self._harmless) for text in warnings)
        samples = [
            Sample(channel.name, value, (Flag.FAULT,) if is_doubtful or value is None else ())
            for channel, value in zip(self._values, values, strict=True)
        ]
        return [*samples, Sample(_WARNINGS.name, "; ".join(warnings) or _NONE)] if self._lists else samples

    def _command(self, address: int, item: Item, *, lists: bool) -> bytes:
        number = f"{address} " if self._has_id else ""
        warnings = f"W {number}LIST{self._end}" if lists else ""
        return f"{warnings}{item.ask} {number}{item.name}{self._end}".encode()

    def _ask(self, line: Line, address: int, item: Item, *, lists: bool) -> list[Message]:
        """Give the messages up to the one waited for, which is the last."""
        only = address if self._has_id else None
        answer = line.ask(self._command(address, item, lists=lists), _until(item, only), address=only)
        return _messages(answer, only)


def _of_gas(gas: str, unit: str) -> dict[str, dict[str, str]]:
    if not gas:
        raise ValueError("either `gas` or `channels` must say what to ask for")
    unit = unit or ("ppm" if gas == "CO" else "ppb")
    parameters = {"NOX": "NOx"}
    return {
        name: {
            "name": name.lower(),
            "parameter": parameters.get(name, name),
            "unit": unit,
            "label": name,
            "ask": "T",
        }
        for name in GASES[gas]
    }


def _until(item: Item, only: int | None) -> Complete:
    """Build the test for an answer that ends with the line of that item."""

    def complete(data: bytes) -> int:
        end = 0
        while place := data.find(b"\n", end) + 1:
            messages = _messages(data[end:place], only)
            end = place
            if messages and messages[0].type == item.ask and _is_about(messages[0].text, item.label):
                return end
        if len(data) > _LIMIT:
            raise BadAnswer(f"{len(data)} bytes without the line {item.ask} … {item.label}")
        return 0

    return complete


def _is_about(text: str, label: str) -> bool:
    return text.partition("=")[0].strip().upper() == label.upper() and "=" in text


def _messages(answer: bytes, only: int | None) -> list[Message]:
    """Give the lines that are messages of that instrument (None: of any)."""
    found = map(_LINE.fullmatch, answer.decode("latin-1").split("\n"))
    messages = [Message(each[1], int(each[2]), each[3]) for each in found if each]
    return [message for message in messages if only in {None, message.sender}]


def _value(item: Item, channel: Channel, text: str) -> float | None:
    found = _VALUE.fullmatch(text)
    if not found:
        raise BadAnswer(f"no value: {text[:40]!r}")
    said = found[4] or ""
    if said and item.ask == "T" and channel.unit not in UNITS.get(said, (spelled(said),)):
        raise BadAnswer(f"{channel.name} comes in {said[:20]}, the unit set is {channel.unit}")
    return None if found[3] else float(found[2])
