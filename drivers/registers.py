"""The driver of every instrument that a profile describes: reads its registers, gives values and flags."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

from drivers.beside import UNREAD, Beside
from drivers.blocks import BlockReader, Limits, requests
from drivers.driver import Exchange
from drivers.errors import BadAnswer, LineDown, NoAnswer, Refused
from drivers.modbus import Block, frame_sizes
from drivers.number import Decoder
from drivers.places import BIT_TABLES
from drivers.sample import ORDER, Flag, Sample
from drivers.start import Start, Starter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from drivers.line import Line
    from drivers.places import Place, Profile


class ProfileDriver:
    """Reads one instrument by its profile. A value that is no number (NaN, a sentinel) is null and a `fault`.

    A channel whose registers were refused is null and `no_comm`; one whose status could not be read keeps its
    value and is `no_comm` as well, for nobody knows whether it may be used. One beside which something else stands
    than its identity makes the read a BadAnswer, which carries the other channels.
    """

    def __init__(self, profile: Profile, limits: Limits | None = None) -> None:
        self.channels = tuple(item.channel for item in profile.measured)
        self._names = [channel.name for channel in self.channels]
        self._ranges = [item.range for item in profile.measured]
        self._has_ranges = any(self._ranges)
        self._statuses = profile.statuses
        self._beside = Beside(profile)
        self._places = self._beside.places
        self._limits = limits or Limits()
        self._reader = BlockReader((place.block for place in self._places), self._limits)
        self._decoders: dict[Block, tuple[list[int], Callable[[bytes], list[Any]]]] = {}
        self._start, self._starter = profile.start, Starter(profile.start)
        self._time = self._names.index(profile.result_time) if profile.result_time else None
        self.newest_result = ""

    def read(self, line: Line, address: int) -> Sequence[Sample]:
        """Ask once; Refused is raised only if every request was refused."""
        try:
            return self._read(line, address)
        except (NoAnswer, LineDown):
            self._starter.again()
            raise

    def leave_started(self) -> None:
        """Never send the commands of the start: another driver of this instrument does."""
        self._starter = Starter(Start())

    def plan(self, framer: str) -> Sequence[Exchange]:
        """List the requests as they are before an instrument has refused any."""
        blocks = [part.block for part in requests((place.block for place in self._places), self._limits)]
        return self._start.plan(framer) + [
            Exchange(f"{block.table} {block.start} to {block.start + block.count - 1}", *frame_sizes(framer, block))
            for block in blocks
        ]

    def _read(self, line: Line, address: int) -> Sequence[Sample]:
        if not self._starter.run(line, address):
            return []
        data, error = self._reader.read(line, address)
        row, settles = self._row(data), self._starter.is_settling()
        doubtful = self._beside.doubtful(row)
        if error is None and doubtful:
            self._starter.again()
            error = BadAnswer(self._beside.complaint(row))
        if error is None:
            samples = self._samples(row)
            return [] if settles or not self._is_new(row) else samples
        error.samples = () if settles else self._kept(row, doubtful)
        raise error

    def _kept(self, row: list[Any], doubtful: set[int]) -> tuple[Sample, ...]:
        """Give what may be used of a read that failed; nothing of a result that will be read again as a whole."""
        if self._time is not None:
            return ()
        samples = enumerate(self._samples(row))
        return tuple(one for index, one in samples if row[index] is not UNREAD and index not in doubtful)

    def _is_new(self, row: list[Any]) -> bool:
        """Say whether the result is another than that of the last read."""
        if self._time is None:
            return True
        if row[self._time] is UNREAD:
            raise Refused("the time of the result was refused")
        last, self.newest_result = self.newest_result, repr(row[self._time])
        return self.newest_result != last

    def _row(self, answers: Mapping[Block, bytes]) -> list[Any]:
        """Give what stands in each place, those of the channels first."""
        row = [UNREAD] * len(self._places)
        for block, data in answers.items():
            if block not in self._decoders:
                self._decoders[block] = _decoder(block, self._places)
            indices, decode = self._decoders[block]
            for index, value in zip(indices, decode(data), strict=True):
                row[index] = value
        self._beside.put_together(row)
        return row

    def _samples(self, row: list[Any]) -> list[Sample]:
        values = row[: len(self._names)]
        states = row[len(self._names) : len(self._names) + len(self._statuses)]
        flags = [
            [Flag.NO_COMM] if raw is UNREAD else status.flags(raw)
            for status, raw in zip(self._statuses, states, strict=True)
        ]
        if not any(flags) and not self._has_ranges and None not in values and UNREAD not in values:
            return list(map(Sample, self._names, values, repeat(())))
        return [self._sample(index, value, flags, states) for index, value in enumerate(values)]

    def _sample(self, index: int, value: Any, flags: list[list[Flag]], states: list[Any]) -> Sample:
        name = self._names[index]
        if value is UNREAD:
            return Sample(name, None, (Flag.NO_COMM,))
        held: set[Flag] = set()
        for status, of_status, state in zip(self._statuses, flags, states, strict=True):
            if status.channels is None or name in status.channels:
                held.update(of_status)
                value = None if state in status.absent else value
        limits = self._ranges[index]
        if value is None and not held:
            held = {Flag.FAULT}
        elif limits and value is not None and not limits[0] <= value <= limits[1]:
            held.add(Flag.OVER_RANGE)
        return Sample(name, value, tuple(sorted(held, key=ORDER.__getitem__)))


def _decoder(block: Block, places: Sequence[Place]) -> tuple[list[int], Callable[[bytes], list[Any]]]:
    """Give the places that lie within a block, and what decodes them."""
    inside = {index: place for index, place in enumerate(places) if _is_within(place.block, block)}
    if block.table not in BIT_TABLES:
        return list(inside), Decoder([(place.block.start - block.start, place.number) for place in inside.values()])
    spans = [(place.block.start - block.start, (1 << place.block.count) - 1) for place in inside.values()]

    def bits(data: bytes) -> list[int]:
        whole = int.from_bytes(data, "little")
        return [whole >> start & mask for start, mask in spans]

    return list(inside), bits


def _is_within(inner: Block, outer: Block) -> bool:
    return (
        inner.table == outer.table
        and outer.start <= inner.start
        and inner.start + inner.count <= outer.start + outer.count
    )
