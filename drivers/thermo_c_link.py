r"""Thermo analyzers over C-Link: 42i, 43i, 48i, 49i, 42c, 43c, 48c, 49c, 49C-PS, the SHARP 5014i and 5030i.

A command is an ASCII word behind one byte, 128 + instrument id; the answer repeats the word:

    > B1 "lrec" CR                      id 49
    < "lrec" LF "14:38 07-28-21  flags D800500 o3 0.367 cellai 124629.000 … pres 724.798*" LF "sum 271a" CR
       echo      time  date      status word   name value                              end    sum, hex

    > B1 "o3" CR
    < "o3 5057E-1 ppb" CR               505.7 ppb: mantissa and exponent, with or without a decimal point

    < "o3 bad cmd" CR                   the instrument does not know the word; or "can't, wrong settings" and others

The sum (`set format 01` on the instrument) is the 16-bit sum of all characters of the answer before the line
feed of `sum`, the `*` of Ethernet included; old firmware sends 0x80 in place of that line feed. Stray 0x80
and 0xFF before the answer of a 49C are dropped. The pressure of a 49C may read `pres 599 mm Hg actual
599.8`: the actual value is given.

A record is one request for everything, but only that of a 49C says the unit of its gas: `unit` must be what the
instrument is set to. Single commands say it, and another unit than that is a BadAnswer. `lrec` and `srec` are the
newest that the instrument stored, so their averaging period is their age; `erec` is of this moment. `lr01` and
`lr11` are `lrec` with names, without and with a sum, whatever the instrument is set to. A record without names
(`lr00`) is read by the columns of `list lrec`, which is asked for at the start and after every failed read:

    < "list lrec" LF "field index variable" LF " 1  1 o3" LF " 2  5 cellai" … " 9 11 pres*" LF "sum 24e5" CR

What a record holds is the owner's choice (`srec` as delivered holds the gas alone, `lrec` of a 42i no NO2). `channels`
takes the place of the model's channels then: words of the record, or commands, and what they are. Commands that set
something, press a key or save (`set …`, `push …`, `save`) are refused.

Status bits are known for the 49i, 49c and 49C-PS alone; the word itself is the channel `flags`. The alarms of bench
and ozonator lamp change places between them: forge has the bench lowest for 49i and 49c, and the example of the
49i's manual agrees (1C00554A beside a bench of 999.9); the manual of the 49C-PS draws the ozonator lamp lowest.
Concentration alarms are limits the owner set and no reason to doubt a value; the other alarms flag what they are
about, and the concentration if it depends on it. Service mode flags everything. The manuals of the other models draw
their bits in figures that could not be had: their words give no flags.

BEFORE USE: `address` is the instrument's id, as delivered the number of its model (42, 43, 48, 49; 59 of a 49C-PS).
Over TCP there is none: prefix = "none".

Line: 9600 8N1, or TCP 9880. A 49C wants 0.25 s of silence between commands (`silence` of the
line) and may leave the first one after a pause unanswered: `wake = "flags"` spends one on that.

Evidence: captured
Source: Thermo 49C-PS, 42i, 48i, 49i and 5030i SHARP manuals, appendix B; answers of a 49i captured by mkndaq
(tests/data/tei49i, sums recomputed); bits and quirks from forge (acquire_thermo49). Not confirmed on hardware: all
others.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from drivers import thermo_record
from drivers.checksum import sum16
from drivers.driver import Exchange
from drivers.errors import BadAnswer, DriverError, LineDown, NoAnswer, Refused
from drivers.fields import NAME, Choice, Key, MapOf, Table, Text
from drivers.identity import Question
from drivers.line import until
from drivers.sample import Channel, Flag, Sample
from drivers.thermo_models import (
    CONCENTRATION,
    DEFAULT_UNIT,
    EREC,
    GAS_UNITS,
    LREC,
    MODELS,
    SERVICE_MODE,
    UNITS,
    Item,
    knows_bits,
)
from drivers.units import Unit, UnitOf, spelled

if TYPE_CHECKING:
    from drivers.line import Line
    from drivers.sample import Value
    from drivers.thermo_record import Record

_SINGLE = "individual"
_LISTS = dict.fromkeys(("lrec", "lr00", "lr01", "lr11"), "list lrec") | {"srec": "list srec"}
_FLAGS_CHANNEL = Channel("flags", "status_word", "")
_CHANNEL = Table(
    Key("name", Text(NAME, "a name"), doc="name of the channel"),
    Key("parameter", Text(), doc="the quantity measured"),
    Key("unit", Unit(), doc="the unit that the instrument gives it in"),
)

OPTIONS = Table(
    Key("model", Choice(*MODELS), doc="the analyzer; fixes the channels"),
    Key(
        "command",
        Choice("lrec", "srec", "erec", "lr00", "lr01", "lr11", _SINGLE),
        "lrec",
        doc="a record or single words",
    ),
    Key(
        "channels",
        MapOf(
            re.compile(r"(?!(?:set|push|save)\b)[a-z0-9/][a-z0-9/ ]{0,30}"),
            "a word of the record or a command, in small letters, and none that sets something (`set`, `push`, `save`)",
            _CHANNEL,
        ),
        {},
        doc="what each word is, in place of the model's channels",
    ),
    Key("checksum", Choice("required", "none"), "none", doc="required after `set format 01` on the instrument"),
    Key("prefix", Choice("address", "none"), "address", doc="the byte 128 + address before each command"),
    Key("wake", Choice("none", "flags"), "none", doc="flags: ask for them first, answered or not"),
    Key("unit", UnitOf(*GAS_UNITS), "", doc="the instrument's gas unit; ppb, for CO ppm, for PM mg/m³"),
)

_VALUE = re.compile(
    rf"\s+({thermo_record.NUMBER})(?:\s+([A-Z%\u00b5][A-Z0-9/% ]*?))??,?(?:\s+actual\s+({thermo_record.NUMBER}).*)?",
    re.IGNORECASE,
)
_SUM = re.compile(rb"(.*)(?:\nsum |\x80(?:sum )?)([0-9A-Fa-f]{4})", re.DOTALL)
_NOES = {"bad cmd", "too high", "too low", "invalid string", "data not valid", "feature not enabled"}
_STRAY = b"\x80\xff"

_MODEL_OF = {b"o3": "49i", b"so2": "43i", b"co": "48i", b"no": "42i", b"pm": "5014i"}
_IDS = (42, 43, 48, 49, 59)


def _asks(word: bytes, answer: bytes, **options: str) -> Question:
    return Question(
        lambda address: bytes([128 + address % 128]) + word + b"\r",
        re.compile(rb"(?i)" + word + rb"\s+" + answer + rb"[^\r]*\r"),
        lambda _: dict(options),
        _IDS,
        range(128),
    )


IDENTITY = (
    _asks(b"flags", rb"[0-9a-f]{1,8}\b")._replace(
        then=tuple(_asks(word, rb"-?[\d.]+(?:E[+-]?\d+)? [a-z]", model=model) for word, model in _MODEL_OF.items())
    ),
)
"""The status word, which all have, and then the gas: models of one gas are not told apart."""


_WORDS = {"flags", "erec", *_LISTS, *_LISTS.values(), *(item.command for items in MODELS.values() for item in items)}
READS = re.compile(b"[\\x80-\\xff]?(?:%s)\r" % "|".join(map(re.escape, sorted(_WORDS - {""}))).encode())
"""What reads for certain: which of the other commands `channels` may name do, no source says of all."""


def driver(options: dict[str, Any]) -> CLink:
    """Build the driver from checked options. Raises ValueError for a record that is not documented."""
    return CLink(options)


class CLink:
    """One analyzer."""

    def __init__(self, options: dict[str, Any]) -> None:
        model, command = options["model"], options["command"]
        self._record = "" if command == _SINGLE else command
        self._items = _items(model, command, options["channels"])
        self._has_prefix = options["prefix"] == "address"
        self._wakes = options["wake"] == "flags"
        self._knows_bits = knows_bits(model)
        self._columns: tuple[str, ...] = ()
        self.has_checksum = options["checksum"] == "required"
        gas_unit = options["unit"] or DEFAULT_UNIT.get(model, "ppb")
        channels = [Channel(item.name, item.parameter, item.unit or gas_unit) for item in self._items]
        self.channels = (*channels, _FLAGS_CHANNEL)

    def read(self, line: Line, address: int) -> list[Sample]:
        """Ask for the record, or for one value after the other and the status word last."""
        try:
            if self._wakes:
                with suppress(NoAnswer):
                    self._ask(line, address, "flags")
            values = self._read_record(line, address) if self._record else self._read_each(line, address)
        except (DriverError, LineDown):
            self._columns = ()  # the instrument may have been set up anew
            raise
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
        text = self._ask(line, address, self._record, may_lack_echo=True)
        found = thermo_record.HEAD.fullmatch(text.rstrip("* \n"))
        if not found:
            raise BadAnswer("the record does not begin with time and date")
        record = self._taken_apart(line, address, found[1])
        values: list[Value] = [self._of_record(record, item, channel) for item, channel in self._pairs()]
        missing = [item.words[0] for item, value in zip(self._items, values, strict=True) if value is None]
        if missing:
            raise BadAnswer(f"the record has no {', '.join(missing)}; `channels` can say what it has")
        return values, record.flags

    def _taken_apart(self, line: Line, address: int, text: str) -> Record:
        if not thermo_record.is_nameless(text):
            return thermo_record.by_names(text)
        if self._record not in _LISTS:
            raise BadAnswer(f"an {self._record} without names; set its format to text on the instrument")
        if not self._columns:
            listed = self._ask(line, address, _LISTS[self._record])
            self._columns = thermo_record.columns_of(listed)
        return thermo_record.by_columns(text, self._columns)

    def _of_record(self, record: Record, item: Item, channel: Channel) -> float | None:
        said = next((record.units[word] for word in item.words if word in record.units), channel.unit)
        if said != channel.unit:
            raise BadAnswer(f"{item.words[0]} comes in {said}, the unit set is {channel.unit}")
        return thermo_record.number(record, item.words)

    def _read_each(self, line: Line, address: int) -> tuple[list[Value], str]:
        values: list[Value] = [
            _value(item, channel, self._ask(line, address, item.command)) for item, channel in self._pairs()
        ]
        word = self._ask(line, address, "flags").strip(" *")
        if not thermo_record.WORD.fullmatch(word):
            raise BadAnswer(f"the status word is not hexadecimal: {word[:20]!r}")
        return values, word

    def _pairs(self) -> list[tuple[Item, Channel]]:
        return list(zip(self._items, self.channels[:-1], strict=True))

    def _ask(self, line: Line, address: int, command: str, *, may_lack_echo: bool = False) -> str:
        """Give what follows the echo; a record may come without. Raises Refused if the instrument says no."""
        prefix = bytes([128 + address % 128]) if self._has_prefix else b""
        answer = line.ask(prefix + command.encode() + b"\r", until(b"\r"))
        text = self._checked(answer[:-1].lstrip(_STRAY)).decode("latin-1")
        if may_lack_echo and thermo_record.HEAD.match(text):
            return text
        echo, rest = text[: len(command)], text[len(command) :]
        if echo.lower() != command or rest[:1] not in {" ", "\n"}:
            raise BadAnswer(f"the answer does not repeat {command!r}: {text[:30]!r}")
        said = rest.strip(" *\n")
        if said in _NOES or said.startswith("can't"):
            raise Refused(f"the instrument answers {command!r} with {said[:40]!r}")
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
        service = (Flag.MAINTENANCE,) if bits & SERVICE_MODE else ()
        samples = [
            Sample(item.name, value, service + ((Flag.FAULT,) if bits & item.alarms else ()))
            for item, value in zip(self._items, values, strict=True)
        ]
        return [*samples, Sample(_FLAGS_CHANNEL.name, word.upper().zfill(8), service)]


def _items(model: str, command: str, chosen: dict[str, dict[str, str]]) -> list[Item]:
    """Give the channels: those chosen, else the model's that are known for this record or have a command."""
    names = [channel["name"] for channel in chosen.values()]
    if len({*names, _FLAGS_CHANNEL.name}) <= len(names):
        raise ValueError("two channels have one name (`flags` is the status word)")
    if chosen:
        return [_chosen(model, word, channel) for word, channel in chosen.items()]
    kind = EREC if command == EREC else LREC
    items = [item for item in MODELS[model] if (item.command if command == _SINGLE else kind in item.records)]
    if not items:
        raise ValueError(
            f'the {command} of a {model} is not documented; allowed: command = "individual", or `channels`'
        )
    return items


def _chosen(model: str, word: str, channel: dict[str, str]) -> Item:
    known = (item for item in MODELS[model] if word in item.words or word == item.command)
    alarms = next((item.alarms for item in known), 0)
    return Item(channel["name"], channel["parameter"], channel["unit"], (word,), word, alarms)


def _value(item: Item, channel: Channel, text: str) -> float:
    found = _VALUE.fullmatch(text.rstrip(" *"))
    if not found:
        raise BadAnswer(f"no number after {item.command!r}: {text[:30]!r}")
    said = found[2] or ""
    unit = UNITS.get(said.lower()) or spelled(said)
    is_known = unit in {*UNITS.values(), *GAS_UNITS} or item.unit == CONCENTRATION
    if unit != channel.unit and unit and is_known:
        raise BadAnswer(f"{item.command} comes in {unit}, the unit set is {channel.unit}")
    return thermo_record.finite(found[3] or found[1])
