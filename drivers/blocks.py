"""Reads wanted registers in as few requests as the instrument's limits allow.

Neighbours are asked for together, with the few registers between them that nobody wants (a hole). An
instrument may refuse a request for a hole, or for one register that this model lacks; then the request is cut at
its holes, next between its values, until it is known what is answered. What was cut stays cut. A register that
never was answered is left out for `LEFT_OUT` reads and then asked for again; what once was answered is asked for
in every read, and when nothing else is left to ask for, so is everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from drivers.errors import DriverError, Refused
from drivers.modbus import Block, read_block

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drivers.line import Line

MOST_REGISTERS = 125
_BITS = 16
"""Coils that count as one register, in limits; 125 registers and 2000 coils are the bounds of Modbus."""
LEFT_OUT = 20
_NOT_THERE = frozenset({2, 3})
"""Exceptions that a request may get for one of its registers: illegal address, illegal value."""


class Limits(NamedTuple):
    """How many registers one request may ask for, and how many of them in a row may be unwanted."""

    block: int = MOST_REGISTERS
    hole: int = 10


class Part:
    """What is asked for in one request: the wanted registers, and the block around them."""

    def __init__(self, wanted: list[Block]) -> None:
        first = wanted[0]
        self.wanted = wanted
        self.block = Block(first.table, first.start, max(map(_end, wanted)) - first.start)
        self.has_answered = False
        self.left_out = 0

    def pieces(self) -> list[Part]:
        """Cut at the holes; without holes, between the values; what cannot be cut gives nothing."""
        for gap in (0, -1):
            pieces = merge(self.wanted, self.block.count, gap)
            if len(pieces) > 1:
                return pieces
        return []


def merge(wanted: Iterable[Block], most: int, gap: int) -> list[Part]:
    """Put together what is at most `gap` apart (-1: only what overlaps), up to `most` registers or coils."""
    groups: list[list[Block]] = []
    end = 0
    for block in sorted(set(wanted)):
        group = groups[-1] if groups else []
        fits = group and block.table == group[0].table and block.start - end <= gap
        if fits and max(end, _end(block)) - group[0].start <= most:
            group.append(block)
            end = max(end, _end(block))
        else:
            groups.append([block])
            end = _end(block)
    return [Part(group) for group in groups]


def requests(wanted: Iterable[Block], limits: Limits) -> list[Part]:
    """Plan the requests for all tables, in the order of their tables and addresses."""
    wanted = list(wanted)
    parts: list[Part] = []
    for table in dict.fromkeys(block.table for block in wanted):
        size = 1 if table in {"holding", "input"} else _BITS
        parts += merge((b for b in wanted if b.table == table), limits.block * size, limits.hole * size)
    return parts


class Answers(NamedTuple):
    """What one read brought: bytes by their block, and the error that ended it early or refused it all."""

    data: dict[Block, bytes]
    error: DriverError | None


class BlockReader:
    """Reads the wanted registers of one instrument and remembers how it likes to be asked."""

    def __init__(self, wanted: Iterable[Block], limits: Limits, timeout_s: float | None = None) -> None:
        self.parts = requests(wanted, limits)
        self._timeout_s = timeout_s

    def read(self, line: Line, address: int) -> Answers:
        """Ask for everything once. Raises LineDown; a DriverError is given, with what was answered before."""
        reading = _Reading(line, address, self._timeout_s)
        try:
            for part in self._due():
                left = reading.ask(part)
                if left[0] is not part:
                    place = self.parts.index(part)
                    self.parts[place : place + 1] = left
        except DriverError as error:
            return Answers(reading.data, error)
        return Answers(reading.data, None if reading.data else reading.refused)

    def _due(self) -> list[Part]:
        due = [part for part in self.parts if not part.left_out]
        if len(due) < len(self.parts):
            for part in self.parts:
                part.left_out = max(part.left_out - 1, 0)
        return due or list(self.parts)


class _Reading:
    """One read in progress."""

    def __init__(self, line: Line, address: int, timeout_s: float | None) -> None:
        self.data: dict[Block, bytes] = {}
        self.refused: Refused | None = None
        self._line, self._address, self._timeout_s = line, address, timeout_s

    def ask(self, part: Part) -> list[Part]:
        """Ask for a part, in pieces if the whole is refused; give what is to be asked for from now on."""
        try:
            data = read_block(self._line, self._address, part.block, timeout_s=self._timeout_s)
        except Refused as error:
            self.refused = error
            return self._ask_in_pieces(part, error.code)
        self.data[part.block] = data
        part.has_answered, part.left_out = True, 0
        return [part]

    def _ask_in_pieces(self, part: Part, code: int) -> list[Part]:
        pieces = part.pieces() if code in _NOT_THERE and not part.left_out else []
        left = [final for piece in pieces for final in self.ask(piece)]
        if any(final.has_answered for final in left):
            return left
        if not part.has_answered and not part.left_out:
            part.left_out = LEFT_OUT
        return [part]


def _end(block: Block) -> int:
    return block.start + block.count
