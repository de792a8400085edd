"""Where an answer of text begins and ends, what checksum it has, and the text in it.

    start  text  mark  sum  end
    <sendVal 60=1373.36;61=0.08 > 7C CR LF          mark ">", sum behind it, includes both: from "<" to ">"

Each part may be missing, if only the end can be found.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from drivers.errors import BadAnswer
from drivers.line import GLITCH
from drivers.trace import written

if TYPE_CHECKING:
    from collections.abc import Callable

    from drivers.complete import Complete

INCLUDES = {"neither": (False, False), "start": (True, False), "mark": (False, True), "both": (True, True)}
_DECIMAL = re.compile(rb"[0-9]{1,5}")
_HEX = re.compile(rb"[0-9A-Fa-f]+")


class Check(NamedTuple):
    """A checksum: `digits` of hex, 0 for a decimal number; it covers the text and of its two ends what is included.

    The start is included with its first byte, or else left out with that byte alone: what follows STX or $ counts.
    """

    compute: Callable[[bytes], int]
    digits: int
    mark: bytes
    includes_start: bool
    includes_mark: bool


class Span(NamedTuple):
    """Places in what has come: where the answer begins, where its inside begins and ends, and where it ends."""

    begin: int
    inside: int
    inside_end: int
    end: int


class Frame(NamedTuple):
    """The form of an answer; `longest` bytes at most. If it comes unasked, it is looked for from the next start."""

    end: bytes
    longest: int
    check: Check | None
    is_unasked: bool

    def complete(self, start: bytes) -> Complete:
        """Build the test for an answer with this start."""

        def complete(data: bytes) -> int:
            span = self._span(data, start)
            return span.end if span else 0

        return complete

    def text(self, start: bytes, answer: bytes) -> str:
        """Give the text between start and mark. Raises BadAnswer, also where the sum does not hold."""
        span = self._span(answer, start)
        if span is None:
            raise BadAnswer("not a whole answer")
        inside = answer[span.inside : span.inside_end]
        return (_checked(self.check, start, inside) if self.check else inside).decode("latin-1")

    def _span(self, data: bytes, start: bytes) -> Span | None:
        """Find the answer; None, if more must come. Raises BadAnswer if it can never become one."""
        begin = self._begin(data, start)
        if begin is None:
            return None
        inside = begin + len(start)
        place = self._inside_end(data, inside)
        if (len(data) if place is None else place[1]) - begin > self.longest:
            raise BadAnswer(f"longer than {self.longest} bytes, or without an end")
        return None if place is None else Span(begin, inside, *place)

    def _begin(self, data: bytes, start: bytes) -> int | None:
        if not self.is_unasked:
            return _begin_after_glitch(data, start)
        opening = start or self.end  # a line without a start is whole only if the end of the one before it was seen
        place = data.find(opening)
        if place < 0 and len(data) > self.longest + len(opening):
            raise BadAnswer(f"{len(data)} bytes without the start of a message")
        return None if place < 0 else place if start else place + len(opening)

    def _inside_end(self, data: bytes, inside: int) -> tuple[int, int] | None:
        """Give the ends of the inside and of the answer."""
        if self.end:
            place = data.find(self.end, inside)
            return None if place < 0 else (place, place + len(self.end))
        mark, digits = (self.check.mark, self.check.digits) if self.check else (b"", 0)
        place = data.find(mark, inside) + len(mark) + digits
        return None if mark not in data[inside:] or place > len(data) else (place, place)


def _begin_after_glitch(data: bytes, start: bytes) -> int | None:
    """Find the start at once, or behind the few bytes of a line driver that switches."""
    for place in range(min(GLITCH, len(data)) + 1):
        piece = data[place : place + len(start)]
        if start.startswith(piece):
            return place if piece == start else None
    raise BadAnswer(f"does not begin with {written(start)}, as start and address say: {written(data[:20])}")


def _checked(check: Check, start: bytes, inside: bytes) -> bytes:
    """Give the text without the sum behind it. Raises BadAnswer if that does not hold."""
    text, mark, digits = _parted(check, inside)
    form = _DECIMAL if check.digits == 0 else _HEX
    if mark != check.mark or not form.fullmatch(digits) or len(digits) < check.digits:
        raise BadAnswer(f"no checksum at the end of {written(inside[-20:])}")
    stated = int(digits, 16 if check.digits else 10)
    if stated != check.compute(_covered(start, text, mark, check.includes_start, check.includes_mark)):
        raise BadAnswer(f"wrong checksum {digits.decode()}{_hint(check, start, text, stated)}")
    return text


def _covered(start: bytes, text: bytes, mark: bytes, *included: bool) -> bytes:
    with_start, with_mark = included
    return (start if with_start else start[1:]) + text + (mark if with_mark else b"")


def _hint(check: Check, start: bytes, text: bytes, stated: int) -> str:
    """Say what the sum covers if it covers something else than the profile says."""
    held = [
        name for name, ends in INCLUDES.items() if check.compute(_covered(start, text, check.mark, *ends)) == stated
    ]
    return f'; it holds with includes = "{held[0]}"' if held else ""


def _parted(check: Check, inside: bytes) -> tuple[bytes, bytes, bytes]:
    """Give the text, the mark and the sum."""
    if check.digits == 0:
        return inside.rpartition(check.mark)
    rest = inside[: -check.digits]
    text = rest[: len(rest) - len(check.mark)]
    return text, rest[len(text) :], inside[len(rest) :]
