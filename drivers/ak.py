r"""Instruments that speak the AK protocol: CAI 600 and 700, others with AKON and ASTZ; Gasera ONE.

    > STX " AKON K0" ETX                        any character, command of four letters, channel K0
    < STX "_AKON 0 12.3 45.6 3600" ETX
           │     │ values by their position
           │     error counter: 0 none, 1 to 9 some; it changes when the set of errors does
           any character

`protocol = "akon"` asks AKON for the values, ASTZ for the state, and ASTF for the numbers of the errors only if the
counter is not 0. Keys of `channels` are positions, the first is 1. A value with # before it is not valid.

    > STX " ACON K0 " ETX
    < STX " ACON 0 1511865967 74-82-8 0.919439 1511865967 124-38-9 435.765" ETX      time, CAS number, ppm
    > STX " ASTS K0 " ETX
    < STX " ASTS 0 5" ETX                       0 initializing, 2 idle, 4 malfunction, 5 measuring, 6 calibration …
    > STX " AERR K0 " ETX
    < STX " AERR 0 8001" ETX                    all active errors

`protocol = "gasera"`: here the digit only says whether the question could be answered (0) or not (1), so AERR is
always asked. Keys of `channels` are CAS numbers. A result counts once: if none of its times has changed, nothing is
given, or nulls with the reason if the device is not measuring or reports errors. What it holds at the start counts
only if it is measuring then.

Any error is a fault of everything; their numbers are the channel `errors`. The words of ASTZ become flags by `states`:
STBY and SPAU are stopped, SNGA (zero gas) calibration, SLEC (leak test) maintenance; others, as SREM and SMAN, which
say who is in control, flag nothing. A no at the end of an answer: BS (busy) is a bad answer; OF, SE, DF and NA
(offline, syntax, data format, no such channel) are refusals, and so is ???? in place of the command.

Line: 9600 8N1, or TCP 7700 (CAI), 8888 (Gasera). Control commands (S...) are never sent.

Evidence: captured
Source: Gasera's description of its AK protocol, whose examples are captured (msuzer/GaseraUnified,
docs/gasera_protocol.md); CAI 600 CLD, 700 NDIR and 700M HFID manuals (format, noes, #), testo CU-2 manual, chapter 7.5
(words of ASTZ), an open driver for the CAI 600 (the underscore). Not confirmed on hardware here.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from drivers.driver import Exchange
from drivers.errors import BadAnswer, Refused
from drivers.fields import NAME, Choice, Integer, Key, MapOf, Table, Text
from drivers.identity import Question, unknown
from drivers.line import until
from drivers.sample import Channel, Flag, Sample
from drivers.units import Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drivers.line import Line

_FLAG = Choice(Flag.STOPPED, Flag.MAINTENANCE, Flag.CALIBRATION, Flag.FAULT, Flag.OVER_RANGE, Flag.MANUAL)
_STATES = {"STBY": "stopped", "SPAU": "stopped", "SNGA": "calibration", "SLEC": "maintenance"}
_CHANNEL = Table(
    Key("name", Text(NAME, "a name"), doc="name of the channel"),
    Key("parameter", Text(), doc="the quantity measured"),
    Key("unit", Unit(), doc="the unit that the instrument gives it in; for Gasera ppm"),
)
OPTIONS = Table(
    Key("protocol", Choice("akon", "gasera"), doc="gasera for a Gasera ONE"),
    Key(
        "channels",
        MapOf(re.compile(r"[1-9]\d?|\d{2,7}-\d\d-\d"), "a position, for Gasera a CAS number like 74-82-8", _CHANNEL),
        doc="what each value is",
    ),
    Key("k", Integer(0, 99), 0, doc="the channel of the instrument, behind K"),
    Key("states", MapOf(re.compile("[A-Z]{4}"), "a word of ASTZ", _FLAG), _STATES, doc="flag for each state"),
)

_STX, _ETX = b"\x02", b"\x03"
_ANSWER = re.compile(r".([A-Z]{4}|\?{4})(?: (\d)(?: +(.*?))?)? *", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:E[+-]?\d+)?", re.IGNORECASE)
_PASSING = {"BS": "busy"}
_LASTING = {"OF": "offline", "SE": "syntax error", "DF": "data format error", "NA": "no such channel"}
_ERRORS = Channel("errors", "errors", "")
_NONE = "none"
_MEASURING = "5"
_GASERA: dict[str, Flag | None] = {
    "0": Flag.STOPPED,  # initializing
    "1": Flag.FAULT,  # initialization error
    "2": Flag.STOPPED,  # idle
    "3": Flag.MAINTENANCE,  # self-test
    "4": Flag.FAULT,  # malfunction
    _MEASURING: None,
    "6": Flag.CALIBRATION,
    "7": Flag.STOPPED,  # cancelling
    "8": Flag.MAINTENANCE,  # laser scan
}


def _akon_of(found: re.Match[bytes]) -> dict[str, Any]:
    places = range(1, len(found["values"].split()) + 1)
    return {"protocol": "akon", "channels": {str(place): unknown(f"value_{place}") for place in places}}


def _gasera_of(found: re.Match[bytes]) -> dict[str, Any]:
    numbers = re.findall(rb" (\d{2,7}-\d\d-\d) ", found[0])
    return {"channels": {cas.decode(): unknown(f"cas_{cas.decode()}", "ppm") for cas in numbers}}


IDENTITY = (
    Question(
        lambda _: b"\x02 AKON K0\x03", re.compile(rb"\x02.AKON \d(?P<values>(?: +#?[+\d.Ee-]+)+) *\x03"), _akon_of
    ),
    Question(
        lambda _: b"\x02 ASTS K0 \x03",
        re.compile(rb"\x02.ASTS \d \d+ *\x03"),
        lambda _: {"protocol": "gasera"},
        then=(Question(lambda _: b"\x02 ACON K0 \x03", re.compile(rb"\x02.ACON 0 [^\x03]*\x03"), _gasera_of),),
    ),
)


def driver(options: dict[str, Any]) -> Akon | Gasera:
    """Build the driver from checked options. Raises ValueError for keys that do not fit the protocol."""
    keys = list(options["channels"])
    is_gasera = options["protocol"] == "gasera"
    if not keys or any(("-" in key) != is_gasera for key in keys):
        raise ValueError("the keys of `channels` must be " + ("CAS numbers" if is_gasera else "positions"))
    if is_gasera and any(one["unit"] != "ppm" for one in options["channels"].values()):
        raise ValueError("the unit of all `channels` of a Gasera is ppm")
    return Gasera(options) if is_gasera else Akon(options)


class Reply(NamedTuple):
    """An answer taken apart: the digit behind the command, and the words behind that."""

    digit: int
    words: tuple[str, ...]


class Akon:
    """An instrument with AKON, ASTZ and ASTF."""

    has_checksum = False

    def __init__(self, options: dict[str, Any]) -> None:
        self._tail = f" K{options['k']}"
        self._positions = [int(key) for key in options["channels"]]
        self._values = [Channel(**one) for one in options["channels"].values()]
        self._states = {word: Flag(flag) for word, flag in options["states"].items()}
        self.channels = (*self._values, _ERRORS)

    def read(self, line: Line, address: int) -> list[Sample]:
        """Ask for the values, the state, and for the errors if there are any."""
        del address  # a point-to-point protocol; K is a channel of the instrument
        values = _ask(line, "AKON", self._tail)
        state = _ask(line, "ASTZ", self._tail)
        errors = _ask(line, "ASTF", self._tail).words if values.digit or state.digit else ()
        if len(values.words) < max(self._positions):
            raise BadAnswer(f"{len(values.words)} values, one is at position {max(self._positions)}")
        flags = [self._states[word] for word in state.words if word in self._states]
        flags += [Flag.FAULT] if values.digit or state.digit else []
        found = [_number(values.words[position - 1]) for position in self._positions]
        return _samples(self._values, found, flags, errors)

    def plan(self, framer: str) -> list[Exchange]:
        """Two requests; the third is only for errors."""
        del framer
        return [Exchange("AKON", 10, 12 + 12 * max(self._positions)), Exchange("ASTZ", 10, 40)]


class Gasera:
    """A Gasera ONE."""

    has_checksum = False

    def __init__(self, options: dict[str, Any]) -> None:
        self._tail = f" K{options['k']} "
        self._numbers = list(options["channels"])
        self._values = [Channel(**one) for one in options["channels"].values()]
        self.newest_result = ""
        self.channels = (*self._values, _ERRORS)

    def read(self, line: Line, address: int) -> list[Sample]:
        """Ask for the state, the errors and the last result; nothing is given if that is not new."""
        del address
        state = self._answered(line, "ASTS")
        if len(state) != 1 or state[0] not in _GASERA:
            raise BadAnswer(f"device status {' '.join(state)[:20]!r} is not known")
        errors = self._answered(line, "AERR")
        flags = [flag for flag in (_GASERA[state[0]], Flag.FAULT if errors else None) if flag]
        result = _triples(self._answered(line, "ACON"))
        if missing := [number for number in self._numbers if number not in result]:
            raise BadAnswer(f"no result for {', '.join(missing)}")
        times = " ".join(result[number][0] for number in self._numbers)
        is_new, is_first = times != self.newest_result, not self.newest_result
        if not is_new and not flags:
            return []
        is_given = is_new and (state[0] == _MEASURING or not is_first)
        values = [_number(result[number][1]) if is_given else None for number in self._numbers]
        self.newest_result = times  # not before: a damaged value is asked for again
        return _samples(self._values, values, flags, errors)

    def plan(self, framer: str) -> list[Exchange]:
        """Three requests; a result has about 40 characters for each gas."""
        del framer
        return [Exchange("ASTS", 11, 12), Exchange("AERR", 11, 40), Exchange("ACON", 11, 12 + 40 * len(self._values))]

    def _answered(self, line: Line, command: str) -> tuple[str, ...]:
        reply = _ask(line, command, self._tail)
        if reply.digit:
            raise Refused(f"the instrument cannot answer {command}", reply.digit)
        return reply.words


def _ask(line: Line, command: str, tail: str) -> Reply:
    """Ask, and check that the answer is one to this command. Raises Refused if it is a no."""
    answer = line.ask(_STX + f" {command}{tail}".encode() + _ETX, until(_ETX))
    found = _ANSWER.fullmatch(answer[answer.rfind(_STX) + 1 : -1].decode("latin-1"))
    if not found or _STX not in answer:
        raise BadAnswer(f"not an AK answer: {answer[:40]!r}")
    if found[1] == "????":
        raise Refused(f"the instrument does not know {command}")
    if found[1] != command or not found[2]:
        raise BadAnswer(f"not an answer to {command}: {answer[:40]!r}")
    words = tuple((found[3] or "").split())
    last = words[-1] if words else ""
    if last in _PASSING:
        raise BadAnswer(f"{command}: {_PASSING[last]}")
    if last in _LASTING:
        raise Refused(f"{command}: {_LASTING[last]}")
    return Reply(int(found[2]), words)


def _triples(words: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Give time and value of each CAS number."""
    rows = list(zip(words[0::3], words[1::3], words[2::3], strict=False))
    if len(words) % 3 or not all(time.isdecimal() for time, _, _ in rows):
        raise BadAnswer("the result is not made of time, CAS number and value")
    result = {number: (time, value) for time, number, value in rows}
    if len(result) != len(rows):
        raise BadAnswer("one CAS number stands twice in the result")
    return result


def _number(word: str) -> float | None:
    """Read a value; None if the instrument marks it as invalid. Raises BadAnswer."""
    if word.startswith("#") or word.lower() in {"nan", "inf", "-inf"}:
        return None
    if not _NUMBER.fullmatch(word) or not math.isfinite(float(word)):
        raise BadAnswer(f"{word[:20]!r} is no number")
    return float(word)


def _samples(
    channels: Sequence[Channel], values: Sequence[float | None], flags: Sequence[Flag], errors: Sequence[str]
) -> list[Sample]:
    held = tuple(dict.fromkeys(flags))
    samples = [
        Sample(channel.name, value, held if value is not None else held or (Flag.FAULT,))
        for channel, value in zip(channels, values, strict=True)
    ]
    return [*samples, Sample(_ERRORS.name, " ".join(errors) or _NONE, held)]
