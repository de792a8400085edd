"""The driver of every instrument that a profile describes: reads its registers, gives values and flags."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from drivers.blocks import BlockReader, Limits, requests
from drivers.driver import Exchange
from drivers.modbus import Block, frame_sizes
from drivers.number import Decoder, Number
from drivers.sample import ORDER, Channel, Flag, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from drivers.line import Line

BIT_TABLES = frozenset({"coil", "discrete"})
_UNREAD: Any = object()


class Place(NamedTuple):
    """A number and the registers it fills; coils and inputs make one whole number, the first its bit 0."""

    block: Block
    number: Number


class Measured(NamedTuple):
    """One channel: where its value stands, and the measuring range outside of which it is `over_range`."""

    channel: Channel
    place: Place
    range: tuple[float, float] | None = None


class Status(NamedTuple):
    """Registers or inputs that say how an instrument or some of its channels (None: all) are.

    A flag holds while its bit is set, while its bit is clear, or while the whole number has its value.
    """

    place: Place
    bits: Mapping[int, Flag]
    clear_bits: Mapping[int, Flag]
    values: Mapping[int, Flag]
    channels: frozenset[str] | None = None

    def flags(self, raw: int | None) -> list[Flag]:
        """Give the flags that hold; a status that is no number (NaN) is a fault."""
        if raw is None:
            return [Flag.FAULT]
        held = [flag for bit, flag in self.bits.items() if raw >> bit & 1]
        held += [flag for bit, flag in self.clear_bits.items() if not raw >> bit & 1]
        return [*held, self.values[raw]] if raw in self.values else held


class ProfileDriver:
    """Reads one instrument by its profile. A value that is no number (NaN, a sentinel) is null and a `fault`.

    A channel whose registers were refused is null and `no_comm`; one whose status could not be read keeps its
    value and is `no_comm` as well, for nobody knows whether it may be used.
    """

    def __init__(
        self,
        measured: Sequence[Measured],
        statuses: Sequence[Status] = (),
        limits: Limits | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self.channels = tuple(item.channel for item in measured)
        self._names = [channel.name for channel in self.channels]
        self._ranges = [item.range for item in measured]
        self._has_ranges = any(self._ranges)
        self._statuses = tuple(statuses)
        self._places = [*(item.place for item in measured), *(item.place for item in statuses)]
        self._limits = limits or Limits()
        self._reader = BlockReader((place.block for place in self._places), self._limits, timeout_s)
        self._decoders: dict[Block, tuple[list[int], Callable[[bytes], list[Any]]]] = {}

    def read(self, line: Line, address: int) -> Sequence[Sample]:
        """Ask once; Refused is raised only if every request was refused."""
        data, error = self._reader.read(line, address)
        row = self._row(data)
        if error is None:
            return self._samples(row)
        error.samples = tuple(
            sample for sample, value in zip(self._samples(row), row, strict=False) if value is not _UNREAD
        )
        raise error

    def plan(self, framer: str) -> Sequence[Exchange]:
        """List the requests as they are before an instrument has refused any."""
        blocks = [part.block for part in requests((place.block for place in self._places), self._limits)]
        return [
            Exchange(f"{block.table} {block.start} to {block.start + block.count - 1}", *frame_sizes(framer, block))
            for block in blocks
        ]

    def _row(self, answers: Mapping[Block, bytes]) -> list[Any]:
        """Give what stands in each place, those of the channels first."""
        row = [_UNREAD] * len(self._places)
        for block, data in answers.items():
            if block not in self._decoders:
                self._decoders[block] = _decoder(block, self._places)
            indices, decode = self._decoders[block]
            for index, value in zip(indices, decode(data), strict=True):
                row[index] = value
        return row

    def _samples(self, row: list[Any]) -> list[Sample]:
        values = row[: len(self._names)]
        states = row[len(self._names) :]
        flags = [
            [Flag.NO_COMM] if raw is _UNREAD else status.flags(raw)
            for status, raw in zip(self._statuses, states, strict=True)
        ]
        if not any(flags) and not self._has_ranges and None not in values and _UNREAD not in values:
            return list(map(Sample, self._names, values, repeat(())))
        return [self._sample(index, value, flags) for index, value in enumerate(values)]

    def _sample(self, index: int, value: Any, flags: list[list[Flag]]) -> Sample:
        name = self._names[index]
        if value is _UNREAD:
            return Sample(name, None, (Flag.NO_COMM,))
        held = {
            flag
            for status, of_status in zip(self._statuses, flags, strict=True)
            if status.channels is None or name in status.channels
            for flag in of_status
        }
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
