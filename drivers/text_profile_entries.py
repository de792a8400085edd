"""Turns the entries of a text profile into what its driver reads, and finds what its keys get wrong together.

An entry is a table as `fields` read it: every key is present, None where its value was wrong (and reported).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drivers.fields import did_you_mean
from drivers.report import dotted
from drivers.sample import Channel, Flag
from drivers.text_profile_answers import Answers
from drivers.text_profile_driver import Measured, Place, Status
from drivers.text_profile_fields import Meaning, numbers_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drivers.fields import Path_, Report
    from drivers.sample import Value
    from drivers.text_profile_driver import Answer

Entry = dict[str, Any]
_BASES = {"hex": 16, "decimal": 10}


class Entries:
    """The entries of one profile; mistakes go to the report, and what they spoil is left out."""

    def __init__(self, profile: Entry, report: Report) -> None:
        self._profile, self._report = profile, report
        self._channels: Entry = profile.get("channels") or {}
        self._answers = Answers(profile.get("answer") or {}, report)
        marks = [mark for mark in profile.get("missing") or () if mark is not None]
        self._missing, self._missing_numbers = frozenset(marks), numbers_of(marks)
        self._used: set[str] = set()

    def answers(self) -> tuple[Answer, ...]:
        """Give the answers in the order of the file, in which they are asked for."""
        return self._answers.read()

    def addresses(self) -> range:
        """Give the addresses that every request and start can carry."""
        return self._answers.addresses()

    def measured(self) -> tuple[Measured, ...]:
        """Give the channels in the order of the file."""
        if self._profile.get("channels") == {}:
            self._report.add(("channels",), "", "is empty; expected at least one channel")
        found = [self._channel(("channels", name), name, entry) for name, entry in self._channels.items() if entry]
        return tuple(item for item in found if item)

    def statuses(self) -> tuple[Status, ...]:
        """Give the statuses."""
        entries = (self._profile.get("status") or {}).items()
        found = [self._status(path, entry) for path, entry in entries if entry]
        return tuple(item for item in found if item)

    def check_use(self) -> None:
        """Report answers that nothing is taken from: asking for them costs time."""
        for path, name in self._answers.names.items():
            if name not in self._used:
                self._report.add(path, "", "no channel and no status takes a field of it")

    def _channel(self, path: Path_, name: str, entry: Entry) -> Measured | None:
        limits = self._range(path, entry["range"])
        self._check_number_keys(path, entry)
        place = self._place(path, entry, entry["format"], entry["suffix"])
        if place is None or None in (entry["parameter"], entry["unit"], entry["scale"], entry["offset"]):
            return None
        channel = Channel(name, entry["parameter"], entry["unit"])
        return Measured(channel, place, entry["scale"], entry["offset"], limits)

    def _range(self, path: Path_, limits: list[float] | None) -> tuple[float, float] | None:
        if limits is None or None in limits:
            return None
        if len(limits) == 2 and limits[0] < limits[1]:
            return limits[0], limits[1]
        self._report.add((*path, "range"), limits, "allowed: [lowest, highest]")
        return None

    def _check_number_keys(self, path: Path_, entry: Entry) -> None:
        """Find keys that only numbers have at a field of another format."""
        defaults = {"suffix": "", "scale": 1, "offset": 0, "range": None}
        without = {"text": list(defaults), "hex": ["suffix"]}.get(entry["format"], [])
        for key in without:
            if entry[key] not in (defaults[key], None):
                self._report.add((*path, key), entry[key], f"has no meaning for the format {entry['format']}")
        if entry["scale"] == 0:
            self._report.add((*path, "scale"), 0, "allowed: any number but 0")

    def _place(self, path: Path_, entry: Entry, form: str | None, suffix: str | None) -> Place | None:
        answer = self._answer(path, entry["answer"])
        if answer is None or entry["field"] is None or form is None or suffix is None:
            return None
        self._used.add(answer)
        if not self._answers.has_field(answer, entry["field"], (*path, "field")):
            return None
        missing = self._missing - (entry.get("values") or {}).keys()
        meaning = Meaning(form, suffix, missing, self._missing_numbers)
        return Place(answer, entry["field"], meaning)

    def _answer(self, path: Path_, name: str | None) -> str | None:
        """Check the name of an answer; it is given where there are several, and only there."""
        known = list(self._answers.names.values())
        if name is None or not known:
            return None
        if known == [""] and name:
            self._report.add((*path, "answer"), name, "has no meaning where there is one [answer] without a name")
        elif name not in known:
            allowed = f"expected the name of an answer: {', '.join(known)}{did_you_mean(name, known)}"
            self._report.add((*path, "answer"), name, allowed if name else f"is missing; {allowed}")
        return name if name in known else None

    def _status(self, path: Path_, entry: Entry) -> Status | None:
        for index, name in enumerate(entry["channels"] or []):
            if name is not None and name not in self._channels:
                near = did_you_mean(name, self._channels)
                self._report.add((*path, "channels", str(index)), name, f"expected a channel of this file{near}")
        self._check_bits(path, entry)
        place = self._place(path, entry, "word" if entry["format"] == "text" else entry["format"], "")
        values = self._values(path, entry)
        bits = [entry[key] for key in ("bits", "clear_bits", "required_bits")]
        if place is None or values is None or None in bits:
            return None
        channels = None if entry["channels"] is None else frozenset(entry["channels"])
        return Status(place, _flags(bits[0]), _flags(bits[1]), bits[2], values, channels)

    def _check_bits(self, path: Path_, entry: Entry) -> None:
        maps = {key: entry[key] or {} for key in ("bits", "clear_bits", "required_bits")}
        if not any(maps.values()) and entry["values"] == {} and not self._is_wrong_in(path):
            self._report.add(path, "", "says nothing; expected values, bits, clear_bits or required_bits")
        for key, bits in maps.items():
            if bits and entry["format"] == "text":
                self._report.add(
                    (*path, key), "", 'has no meaning for the format text; add format = "hex" or "decimal"'
                )
        for bit in maps["bits"].keys() & maps["clear_bits"].keys():
            self._report.add((*path, "clear_bits", str(bit)), bit, "stands in bits as well")

    def _is_wrong_in(self, path: Path_) -> bool:
        return any(problem.key.startswith(f"{dotted(path)}.") for problem in self._report.problems)

    def _values(self, path: Path_, entry: Entry) -> dict[Value, Flag | None] | None:
        """Give the flags by value; in hex and decimal the value is a number, however it is written."""
        if entry["values"] is None or entry["format"] is None:
            return None
        base = _BASES.get(entry["format"])
        values: dict[Value, Flag | None] = {}
        for text, word in entry["values"].items():
            value = text if base is None else _number(text, base)
            if value is None:
                self._report.add((*path, "values", text), text, f"expected a whole number in {entry['format']}")
            elif value in values:
                self._report.add((*path, "values", text), text, "means the same as a value before it")
            else:
                values[value] = Flag(word) if word and word != "ok" else None
        return values


def _number(text: str, base: int) -> int | None:
    try:
        return int(text, base) if text.isalnum() and text.isascii() else None
    except ValueError:
        return None


def _flags(named: Mapping[int, str | None]) -> dict[int, Flag]:
    return {bit: Flag(flag) for bit, flag in named.items() if flag}
