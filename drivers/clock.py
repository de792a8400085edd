"""The only module that reads a clock or sleeps. Nothing is ever timed with the wall clock."""

import time
from typing import NamedTuple


class Moment(NamedTuple):
    """One instant on both clocks, so that a wrong wall clock can be put right afterwards.

    `wall_ms` is UTC in milliseconds since 1970 as the system believes it; `elapsed_ms` is CLOCK_BOOTTIME,
    milliseconds since the machine started, which no one can step.
    """

    wall_ms: int
    elapsed_ms: int


def now() -> Moment:
    """Read both clocks."""
    return Moment(time.time_ns() // 1_000_000, time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000)


def between(begin: Moment, end: Moment) -> Moment:
    """Give the middle of two moments; the later wall clock counts if it was stepped in between."""
    half = (end.elapsed_ms - begin.elapsed_ms) // 2
    return Moment(end.wall_ms - half, end.elapsed_ms - half)


monotonic_s = time.monotonic
"""Seconds on a clock that only moves forward; the base of every deadline."""


def wall_s() -> float:
    """Give UTC in seconds since 1970, for alignment to the grid only."""
    return time.time()


def sleep_s(seconds: float) -> None:
    """Keep a line silent for a few milliseconds; longer waits use a queue that can be woken."""
    if seconds > 0:
        time.sleep(seconds)
