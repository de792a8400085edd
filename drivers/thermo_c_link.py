r"""Thermo analyzers over C-Link: 42i, 43i, 48i, 49i, 42c, 43c, 48c, 49c and the SHARP 5014i.

A command is an ASCII word behind one byte, 128 + instrument id; the answer repeats the word:

    > B1 "lrec" CR                      id 49
    < "lrec" LF "14:38 07-28-21  flags D800500 o3 0.367 cellai 124629.000 … pres 724.798*" LF "sum 271a" CR
       echo      time  date      status word   name value                              end    sum, hex

    > B1 "o3" CR
    < "o3 5057E-1 ppb" CR               505.7 ppb: mantissa and exponent, with or without a decimal point

    < "o3 bad cmd" CR                   the instrument does not know the word

The sum (`set format 01` on the instrument) is the 16-bit sum of all characters of the answer before the line
feed of `sum`, the `*` of Ethernet included; old firmware sends 0x80 in place of that line feed. Stray 0x80
and 0xFF before the answer of a 49C are dropped. The pressure of a 49C may read `pres 599 mm Hg actual
599.8`: the actual value is given.

A record (`lrec`, `srec`, `erec`) is one request for everything, but says no units: `unit` must be what the
instrument is set to. Single commands say it, and another unit than that is a BadAnswer. A record is the
newest that the instrument stored, so its averaging period is its age. Status bits are known for the 49i and
49c alone; the word itself is the channel `flags`. Concentration alarms (bits 30, 31) are limits the owner
set and no reason to doubt a value; the other alarms flag what they are about, and the concentration if it
depends on it. Service mode flags everything.

Line: 9600 8N1, or TCP 9880. A 49C wants 0.25 s of silence between commands (`silence` of the line) and may leave the
first one after a pause unanswered: `wake = "flags"` spends one on that.

Evidence: captured
Source: Thermo 49C-PS, 42i, 48i and SHARP manuals; records of a 49i captured by mkndaq (tests/data/tei49i,
sums recomputed); bits and quirks from forge (acquire_thermo49). Not confirmed on hardware: 42i, 43i, 48i,
5014i.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from drivers.checksum import sum16
from drivers.driver import Exchange
from drivers.errors import BadAnswer, NoAnswer, Refused
from drivers.fields import Choice, Key, Table
from drivers.line import until
from drivers.sample import Channel, Flag, Sample

if TYPE_CHECKING:
    from drivers.line import Line
    from drivers.sample import Value


class Item(NamedTuple):
    """A channel, its word in a record and its command ("" where not documented), its alarm bits."""

    name: str
    parameter: str
    unit: str
    word: str
    command: str
    alarms: int = 0


CONCENTRATION = ""
"""In place of the unit: the one that the instrument is set to."""
_O3 = (
    Item("o3", "O3", CONCENTRATION, "o3", "o3", 0xFFCF),  # all but the ozonator lamp
    Item("cell_a_intensity", "cell_a_intensity", "Hz", "cellai", "cell a int", 0x3000),
    Item("cell_b_intensity", "cell_b_intensity", "Hz", "cellbi", "cell b int", 0xC000),
    Item("bench_temperature", "bench_temperature", "degC", "bncht", "bench temp", 0x0003),
    Item("lamp_temperature", "lamp_temperature", "degC", "lmpt", "lamp temp", 0x000C),
    Item("ozonator_lamp_temperature", "ozonator_lamp_temperature", "degC", "o3lt", "", 0x0030),
    Item("flow_a", "flow_a", "L/min", "flowa", "flow a", 0x0300),
    Item("flow_b", "flow_b", "L/min", "flowb", "flow b", 0x0C00),
    Item("pressure", "pressure", "mmHg", "pres", "pres", 0x00C0),
)
_NOX = (
    Item("no", "NO", CONCENTRATION, "no", "no"),
    Item("no2", "NO2", CONCENTRATION, "no2", "no2"),
    Item("nox", "NOx", CONCENTRATION, "nox", "nox"),
)
_SO2 = (Item("so2", "SO2", CONCENTRATION, "so2", "so2"),)
_CO = (
    Item("co", "CO", CONCENTRATION, "co", "co"),
    Item("internal_temperature", "internal_temperature", "degC", "intt", ""),
    Item("chamber_temperature", "chamber_temperature", "degC", "cht", ""),
    Item("pressure", "pressure", "mmHg", "pres", "pres"),
    Item("sample_flow", "sample_flow", "L/min", "smplfl", ""),
    Item("bias_voltage", "bias_voltage", "V", "biasv", ""),
    Item("intensity", "intensity", "Hz", "intensity", ""),
)
_PM = (Item("pm", "PM", "mg/m3", "", "pm"), Item("nephelometer", "PM_nephelometer", "ug/m3", "", "neph"))
MODELS = {
    **dict.fromkeys(("42i", "42c"), _NOX),
    **dict.fromkeys(("43i", "43c"), _SO2),
    **dict.fromkeys(("48i", "48c"), _CO),
    **dict.fromkeys(("49i", "49c"), _O3),
    "5014i": _PM,
}
_DEFAULT_UNIT = {"48i": "ppm", "48c": "ppm"}
_FLAGS_CHANNEL = Channel("flags", "status_word", "")
_SERVICE_MODE = 0x2000_0000

OPTIONS = Table(
    Key("model", Choice(*MODELS), doc="the analyzer; fixes the channels"),
    Key(
        "command",
        Choice("lrec", "srec", "erec", "individual"),
        "lrec",
        doc="a record or single words",
    ),
    Key("checksum", Choice("required", "none"), "none", doc="required after `set format 01` on the instrument"),
    Key("prefix", Choice("address", "none"), "address", doc="the byte 128 + address before each command"),
    Key("wake", Choice("none", "flags"), "none", doc="flags: ask for them first, answered or not"),
    Key("unit", Choice("ppb", "ppm", "ug/m3", "mg/m3"), "", doc="the instrument's gas unit; ppb, for CO ppm"),
)

_NUMBER = r"[+-]?\d+(?:\.\d*)?(?:E[+-]?\d+)?"
_VALUE = re.compile(rf"\s+({_NUMBER})(?:\s+([A-Z][A-Z0-9/ ]*?))??,?(?:\s+actual\s+({_NUMBER}).*)?", re.IGNORECASE)
_SUM = re.compile(rb"(.*)[\n\x80]sum ([0-9A-Fa-f]{4})", re.DOTALL)
_HEAD = re.compile(r"\s*\d\d:\d\d \d\d-\d\d-\d\d\s+(.*)", re.DOTALL)
_WORD = re.compile(r"[0-9A-F]{1,8}", re.IGNORECASE)
_UNITS = {"mm hg": "mmHg", "deg c": "degC", "l/m": "L/min", "lpm": "L/min", "hz": "Hz"}


def driver(options: dict[str, Any]) -> CLink:
    """Build the driver from checked options. Raises ValueError for a record that is not documented."""
    return CLink(options)


class CLink:
    """One analyzer."""

    def __init__(self, options: dict[str, Any]) -> None:
        model, command = options["model"], options["command"]
        self._record = "" if command == "individual" else command
        self._items = [item for item in MODELS[model] if (item.word if self._record else item.command)]
        if not self._items:
            raise ValueError(f'the {command} of a {model} is not documented; allowed: command = "individual"')
        self._has_prefix = options["prefix"] == "address"
        self._wakes = options["wake"] == "flags"
        self._knows_bits = MODELS[model] is _O3
        self.has_checksum = options["checksum"] == "required"
        self._gas_unit = options["unit"] or _DEFAULT_UNIT.get(model, "ppb")
        channels = [Channel(item.name, item.parameter, item.unit or self._gas_unit) for item in self._items]
        self.channels = (*channels, _FLAGS_CHANNEL)

    def read(self, line: Line, address: int) -> list[Sample]:
        """Ask for the record, or for one value after the other and the status word last."""
        if self._wakes:
            with suppress(NoAnswer):
                self._ask(line, address, "flags")
        values = self._read_record(line, address) if self._record else self._read_each(line, address)
        return self._samples(*values)

    def plan(self, framer: str) -> list[Exchange]:
        """One record of at most 400 characters, or one command of 60 for each channel."""
        del framer
        words = ["flags"] if self._wakes else []
        if self._record:
            return [
                *(Exchange(word, len(word) + 2, 60) for word in words),
                Exchange(self._record, len(self._record) + 2, 400),
            ]
        words += [*(item.command for item in self._items), "flags"]
        return [Exchange(word, len(word) + 2, 60) for word in words]

    def _read_record(self, line: Line, address: int) -> tuple[list[Value], str]:
        found = _HEAD.fullmatch(self._ask(line, address, self._record).rstrip("*"))
        if not found:
            raise BadAnswer("the record does not begin with time and date")
        word, values = _record_of(found[1])
        missing = [item.word for item in self._items if item.word not in values]
        if missing:
            raise BadAnswer(f"the record has no {', '.join(missing)}")
        return [values[item.word] for item in self._items], word

    def _read_each(self, line: Line, address: int) -> tuple[list[Value], str]:
        values: list[Value] = [
            self._value(item, channel, self._ask(line, address, item.command))
            for item, channel in zip(self._items, self.channels, strict=False)
        ]
        word = self._ask(line, address, "flags").strip(" *")
        if not _WORD.fullmatch(word):
            raise BadAnswer(f"the status word is not hexadecimal: {word[:20]!r}")
        return values, word

    def _value(self, item: Item, channel: Channel, text: str) -> float:
        found = _VALUE.fullmatch(text.rstrip(" *"))
        if not found:
            raise BadAnswer(f"no number after {item.command!r}: {text[:30]!r}")
        said = found[2] or ""
        unit = _UNITS.get(said.lower(), said)
        known = {*_UNITS.values(), "ppb", "ppm", "ug/m3", "mg/m3"}
        if unit != channel.unit and unit and (unit in known or not item.unit):
            raise BadAnswer(f"{item.command} comes in {unit}, the unit set is {channel.unit}")
        return _finite(found[3] or found[1])

    def _ask(self, line: Line, address: int, command: str) -> str:
        """Give what follows the echo. Raises Refused if the instrument does not know the command."""
        prefix = bytes([128 + address % 128]) if self._has_prefix else b""
        answer = line.ask(prefix + command.encode() + b"\r", until(b"\r"))
        text = self._checked(answer[:-1].lstrip(b"\x80\xff")).decode("latin-1")
        echo, rest = text[: len(command)], text[len(command) :]
        if echo.lower() != command or rest[:1] not in {" ", "\n"}:
            raise BadAnswer(f"the answer does not repeat {command!r}: {text[:30]!r}")
        if rest.strip(" *") == "bad cmd":
            raise Refused(f"{command!r} is a bad command for the instrument")
        return rest

    def _checked(self, answer: bytes) -> bytes:
        found = _SUM.fullmatch(answer)
        if not found:
            if self.has_checksum:
                raise BadAnswer("no sum at the end of the answer")
            return answer
        if sum16(found[1]) != int(found[2], 16):
            raise BadAnswer("wrong checksum (sum)")
        return found[1]

    def _samples(self, values: list[Value], word: str) -> list[Sample]:
        bits = int(word, 16) if self._knows_bits else 0
        service = (Flag.MAINTENANCE,) if bits & _SERVICE_MODE else ()
        samples = [
            Sample(item.name, value, service + ((Flag.FAULT,) if bits & item.alarms else ()))
            for item, value in zip(self._items, values, strict=True)
        ]
        return [*samples, Sample(_FLAGS_CHANNEL.name, word.upper().zfill(8), service)]


def _record_of(text: str) -> tuple[str, dict[str, float]]:
    """Take `flags HEX name value …` apart; a name may have blanks, a number without a name is skipped."""
    words = text.split()
    if len(words) < 2 or words[0] != "flags" or not _WORD.fullmatch(words[1]):
        raise BadAnswer("the record has no status word")
    values: dict[str, float] = {}
    name: list[str] = []
    for word in words[2:]:
        if not re.fullmatch(_NUMBER, word, re.IGNORECASE):
            name.append(word)
        elif name:
            values[" ".join(name)] = _finite(word)
            name = []
    return words[1], values


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise BadAnswer(f"{text} is no number to measure")
    return number
