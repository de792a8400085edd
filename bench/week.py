"""A backlog as an outage of a week leaves it: invented values that vary slowly, in a spool that nothing was sent from.

Each instrument is asked once in 60 s. Each channel has a level of 1 to 400 (ppb, µg/m³, °C, hPa, mV) and walks around
it. Every fifth is a concentration: its steps are drawn from a normal distribution of 1 % of the level, at least 0.02.
The others are what an analyzer says of itself (temperatures, pressures, flows, voltages): 0.05 %. Every step also goes
back by a hundredth of the distance from the level. The value is rounded to float32, all of whose 24 bits are in use,
and written as the drivers write it, with 7 to 9 digits and no channel constant, which is hard to compress. The
same `seed` makes the same values.
"""

from __future__ import annotations

import random
import time
from itertools import islice
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from agent.record import measured
from agent.spool.spool import Spool
from agent.times import iso
from bench.truth import channel_names, instrument_name
from drivers.clock import Moment
from drivers.number import shortest
from drivers.sample import Sample

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterator
    from pathlib import Path

    from agent.record import Record

POLL_EVERY_MS = 60_000
_COMMIT = 2_000
_BACK_TO_LEVEL = 0.01
_CONCENTRATION_EVERY = 5


class Poll(NamedTuple):
    """What one instrument answered at one time."""

    at_ms: int
    instrument: str
    values: list[float | None]


def polls(instruments: int, channels: int, begin_ms: int, seed: int = 1) -> Iterator[Poll]:
    """Give polls in order of time, for ever."""
    chance = random.Random(seed)
    levels = [[chance.uniform(1, 400) for _ in range(channels)] for _ in range(instruments)]
    walks = [level[:] for level in levels]
    steps = [[_step(place, middle) for place, middle in enumerate(level)] for level in levels]
    floats = Struct(f"{channels}f")
    while True:
        for number, (walk, level, step) in enumerate(zip(walks, levels, steps, strict=True)):
            walk[:] = [
                value + (middle - value) * _BACK_TO_LEVEL + chance.gauss(0, size)
                for value, middle, size in zip(walk, level, step, strict=True)
            ]
            at_ms = begin_ms + 12 * number + chance.randrange(8)
            yield Poll(at_ms, instrument_name(number), shortest(floats.unpack(floats.pack(*walk))))
        begin_ms += POLL_EVERY_MS


def _step(channel: int, level: float) -> float:
    return level * 0.0005 if channel % _CONCENTRATION_EVERY else max(0.02, level * 0.01)


def fill(spool_file: Path, instruments: int, channels: int, records: int, sums: array[int]) -> None:
    """Store so many records, the last of them just now; notes in `sums` what each must arrive as."""
    names = channel_names(channels)
    begin_ms = round(time.time() * 1000) - -(-records // instruments) * POLL_EVERY_MS
    left = islice(polls(instruments, channels, begin_ms - begin_ms % POLL_EVERY_MS), records)
    with Spool(spool_file) as spool:
        while batch := list(islice(left, _COMMIT)):
            sums.extend(checksum(iso(poll.at_ms), poll.instrument, poll.values) for poll in batch)
            spool.commit([_record(poll, names) for poll in batch])


def checksum(at: str, instrument: str, values: list[float | None]) -> int:
    """Sum up what a record says."""
    return crc32(repr((at, instrument, values)).encode())


def _record(poll: Poll, names: list[str]) -> Record:
    samples = [Sample(name, value) for name, value in zip(names, poll.values, strict=True)]
    return measured(poll.instrument, samples, Moment(poll.at_ms, 0))
