"""The driver of every instrument that a text profile describes: asks for its lines or waits for them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from drivers.driver import Exchange
from drivers.errors import BadAnswer, DriverError, LineDown
from drivers.sample import ORDER, Channel, Flag, Sample, Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from drivers.line import Line
    from drivers.text_profile_fields import FieldName, Layout, Meaning
    from drivers.text_profile_frame import Frame
    from drivers.text_profile_words import Words

    Fields = Mapping[FieldName, str]
_SHOWN = 28


class Answer(NamedTuple):
    """One answer, and the request that brings it (None: it comes unasked)."""

    name: str
    request: Words | None
    header: Words | None
    start: Words
    frame: Frame
    layout: Layout


class Place(NamedTuple):
    """A field of an answer, and how it is read."""

    answer: str
    field: FieldName
    meaning: Meaning

    def read(self, answers: Mapping[str, Fields]) -> Value:
        """Give the value. Raises BadAnswer if it is not there or of another form."""
        text = answers[self.answer].get(self.field)
        if text is None:
            raise BadAnswer(f"no field {self.field!r} in the answer")
        return self.meaning.value(text)


class Measured(NamedTuple):
    """One channel: where its value stands, and how it becomes one of the unit."""

    channel: Channel
    place: Place
    scale: float
    offset: float
    range: tuple[float, float] | None

    def sample(self, answers: Mapping[str, Fields], flags: set[Flag]) -> Sample:
        """Give the sample, with the flags that hold anyway. Raises BadAnswer."""
        value = self.place.read(answers)
        if not isinstance(value, str) and value is not None:
            value = self._scaled(value)
        if value is None:
            flags = flags | {Flag.FAULT}
        elif self.range and not isinstance(value, str) and not self.range[0] <= value <= self.range[1]:
            flags = flags | {Flag.OVER_RANGE}
        return Sample(self.channel.name, value, tuple(sorted(flags, key=ORDER.__getitem__)))

    def _scaled(self, value: float) -> float | None:
        if (self.scale, self.offset) == (1, 0):
            return value
        scaled = value * self.scale + self.offset
        return scaled if math.isfinite(scaled) else None


class Status(NamedTuple):
    """A field that says how the instrument or some of its channels (None: all) are.

    A flag holds while its bit is set or clear, or while the field reads so: what is in `values` with None is good, and
    what is not in them is a fault. Bits in `required` have this value, or the answer is not what was expected.
    """

    place: Place
    bits: Mapping[int, Flag]
    clear_bits: Mapping[int, Flag]
    required: Mapping[int, int]
    values: Mapping[Value, Flag | None]
    channels: frozenset[str] | None

    def flags(self, answers: Mapping[str, Fields]) -> set[Flag]:
        """Give the flags that hold; a missing status is a fault. Raises BadAnswer."""
        value = self.place.read(answers)
        if value is None:
            return {Flag.FAULT}
        held = {self.values.get(value, Flag.FAULT)} if self.values else set()
        if not isinstance(value, str):
            held |= self._of_bits(_whole(value))
        return {flag for flag in held if flag}

    def _of_bits(self, value: int) -> set[Flag | None]:
        for bit, expected in self.required.items():
            if value >> bit & 1 != expected:
                raise BadAnswer(f"bit {bit} of the status is not {expected}: is another unit set?")
        held = {flag for bit, flag in self.bits.items() if value >> bit & 1}
        return {*held, *(flag for bit, flag in self.clear_bits.items() if not value >> bit & 1)}


def _whole(value: float) -> int:
    if value != int(value) or value < 0:
        raise BadAnswer(f"status {value!r} is not a whole number")
    return int(value)


class TextDriver:
    """Reads one instrument by its profile. A value that is missing is null and a `fault`.

    What is not exactly of the described form is a BadAnswer for all channels. The names of columns are asked for once,
    and again after any trouble.
    """

    def __init__(self, answers: Sequence[Answer], measured: Sequence[Measured], statuses: Sequence[Status]) -> None:
        self.channels = tuple(item.channel for item in measured)
        self.has_checksum = all(answer.frame.check for answer in answers)
        self.unsolicited = not all(answer.request for answer in answers)
        self.has_address = any(
            words.has_address for answer in answers for words in (answer.request, answer.header, answer.start) if words
        )
        self._answers, self._measured, self._statuses = tuple(answers), tuple(measured), tuple(statuses)
        self._headers: dict[str, list[str]] = {}

    def read(self, line: Line, address: int) -> Sequence[Sample]:
        """Ask for each answer once, or wait for the next."""
        try:
            fields = {answer.name: self._fields(answer, line, address) for answer in self._answers}
            return self._samples(fields)
        except (DriverError, LineDown):
            self._headers.clear()
            raise

    def plan(self, framer: str) -> Sequence[Exchange]:
        """List the requests; the header's is not one of every cycle."""
        del framer
        return [_exchange(answer) for answer in self._answers]

    def _fields(self, answer: Answer, line: Line, address: int) -> Fields:
        header = self._header(answer, answer.header, line, address) if answer.header else []
        return answer.layout.named(_text(answer, answer.request, line, address), header)

    def _header(self, answer: Answer, request: Words, line: Line, address: int) -> list[str]:
        if answer.name not in self._headers:
            self._headers[answer.name] = answer.layout.header(_text(answer, request, line, address))
        return self._headers[answer.name]

    def _samples(self, fields: Mapping[str, Fields]) -> list[Sample]:
        flags = [(status.channels, status.flags(fields)) for status in self._statuses]
        return [item.sample(fields, _about(item.channel.name, flags)) for item in self._measured]


def _about(name: str, flags: Sequence[tuple[frozenset[str] | None, set[Flag]]]) -> set[Flag]:
    return {flag for channels, held in flags if channels is None or name in channels for flag in held}


def _text(answer: Answer, request: Words | None, line: Line, address: int) -> str:
    start = answer.start.written(address)
    complete = answer.frame.complete(start)
    data = line.ask(request.written(address), complete) if request else line.listen(complete)
    return answer.frame.text(start, data)


def _exchange(answer: Answer) -> Exchange:
    if answer.request is None:
        return Exchange("listen", 0, answer.frame.longest)
    shown = ascii(answer.request.written(answer.request.addresses[0]).decode("latin-1"))[1:-1]
    return Exchange(shown[:_SHOWN], answer.request.usual_length, answer.frame.longest)
