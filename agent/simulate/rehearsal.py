"""Has a driver read a recorded conversation, to learn what it asks there and what that was answered with.

The driver is the one of the configuration, with its own options and address: what it sends may differ from the record.
It reads everything twice, so that what it changes from one request to the next, a number that counts, shows.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

from drivers.errors import DriverError, LineDown
from drivers.line import Line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drivers.driver import Driver
    from drivers.sample import Sample
    from drivers.transcript import Entry, Poll, Transcript

_WORD = re.compile(rb"[0-9A-Za-z]+")


class Step(NamedTuple):
    """A request, empty if the instrument talks unasked, and what comes upon it, in its arrivals.

    `changing` are the places in the request that are another each time.
    """

    request: bytes
    answers: tuple[bytes, ...]
    changing: frozenset[int] = frozenset()

    def fits(self, data: bytes) -> bool:
        """Say whether the data begins with the request, or the request with the data."""
        pairs = enumerate(zip(self.request, data, strict=False))
        return all(one == other or place in self.changing for place, (one, other) in pairs)


class Scene(NamedTuple):
    """One read of the driver: `error` names the one it ended with, `is_as_written` says that all is as recorded.

    `patience_s` is the longest time that the driver waited for something to come.
    """

    steps: tuple[Step, ...]
    samples: tuple[Sample, ...]
    error: str
    is_as_written: bool
    patience_s: float


class Rehearsal:
    """A port that gives the recorded answers in their order, whatever is asked. Time passes at once."""

    where, is_network = "rehearsal", False

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._left = list(entries)
        self._steps: list[tuple[bytes, list[bytes]]] = []
        self.patience_s, self._time_s = 0.0, 0.0

    def now_s(self) -> float:
        """Give the seconds that were waited so far."""
        return self._time_s

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def write(self, data: bytes) -> None:
        """Take a request, and go to the next one that is recorded."""
        self._steps.append((data, []))
        while self._left and self._left.pop(0).mark != ">":
            pass

    def read(self, timeout_s: float) -> bytes:
        """Give the next arrival, or let the time pass."""
        if self._left and self._left[0].mark == "<" and (self._steps or timeout_s > 0):
            self.patience_s = max(self.patience_s, timeout_s)
            if not self._steps:
                self._steps.append((b"", []))
            self._steps[-1][1].append(self._left[0].data)
            return self._left.pop(0).data
        self._time_s += max(timeout_s, 0) + 1e-6
        return b""

    def steps(self) -> tuple[Step, ...]:
        """Give what was asked, and what came upon it."""
        return tuple(Step(request, tuple(answers)) for request, answers in self._steps)


def rehearse(driver: Driver, case: Transcript, address: int) -> list[Scene]:
    """Read every poll of a transcript, one after the other."""
    first, again = ([_scene(driver, poll, case.framer, address) for poll in case.polls] for _ in range(2))
    return [
        scene._replace(steps=_compared(scene.steps, other.steps)) for scene, other in zip(first, again, strict=True)
    ]


def _compared(steps: Sequence[Step], again: Sequence[Step]) -> tuple[Step, ...]:
    """Mark what changes in requests, where the same ones were made again."""
    if [len(step.request) for step in steps] != [len(step.request) for step in again]:
        return tuple(steps)
    pairs = zip(steps, again, strict=True)
    return tuple(step._replace(changing=_changing(step.request, other.request)) for step, other in pairs)


def _changing(request: bytes, again: bytes) -> frozenset[int]:
    """Give the places of every word or number in which two requests differ."""
    differing = {place for place, pair in enumerate(zip(request, again, strict=True)) if pair[0] != pair[1]}
    words = (set(range(*found.span())) for found in _WORD.finditer(request))
    return frozenset(differing.union(*(word for word in words if word & differing)))


def _scene(driver: Driver, poll: Poll, framer: str, address: int) -> Scene:
    port = Rehearsal(poll.entries)
    line = Line("rehearsal", port, framer=framer, now_s=port.now_s)
    try:
        samples, error = tuple(driver.read(line, address)), ""
    except (DriverError, LineDown) as failed:
        samples, error = tuple(getattr(failed, "samples", ())), type(failed).__name__
    is_as_written = error == poll.error and _are_same(samples, poll.samples)
    return Scene(port.steps(), samples, error, is_as_written, port.patience_s)


def _are_same(found: Sequence[Sample], written: Sequence[Sample]) -> bool:
    return len(found) == len(written) and all(map(_is_same, found, written))


def _is_same(one: Sample, other: Sample) -> bool:
    if one.channel != other.channel or set(one.flags) != set(other.flags):
        return False
    if isinstance(one.value, str) or isinstance(other.value, str) or one.value is None or other.value is None:
        return one.value == other.value
    return math.isclose(one.value, other.value, rel_tol=1e-6, abs_tol=1e-9)
