"""Errands: conversations on a line that somebody asked for, done by its thread between the slots."""

from __future__ import annotations

from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from agent.backoff import SHARE
from agent.conversation import converse
from drivers.clock import monotonic_s

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.conversation import Outcome, Talk
    from drivers.line import Line, Timing

PATIENCE_S = 2.0
"""An errand that finds no gap between two slots waits so long before it takes one that is too short."""
GAPLESS_S = 8.0
"""Only after so much more does it begin while a slot is overdue: then the line has no gaps at all."""


class Errand:
    """One conversation; `check` is as in `converse`.

    `expected_s` is how long it will probably take, and `late_s` what the next slots lose if it fails, since they wait
    until no late answer can come. `longest_s` is what it may take: that counts once the line's gaps were overdrawn.
    With `overhears`, those who wait for what an instrument says in its slot, it asks nothing and is told with them.
    """

    def __init__(self, talk: Talk, timing: Timing, check: Callable[[bytes], None] | None = None) -> None:
        self.expected_s = timing.timeout_s
        self.late_s = 0.0
        self.longest_s = 0.0
        self.overhears: list[Errand] | None = None
        self.since_s = monotonic_s()
        self.is_dropped = self.has_begun = False
        self.timing, self._talk, self._check = timing, talk, check
        self._outcome: SimpleQueue[Outcome] = SimpleQueue()

    def do(self, line: Line) -> None:
        """Hold the conversation, on the thread of the line."""
        self.has_begun = True
        outcome = converse(line, self.timing, self._talk, self._check)
        self.late_s = self.late_s if outcome.error else 0.0
        self.tell(outcome)

    def tell(self, outcome: Outcome) -> None:
        """Hand over what came of it."""
        self._outcome.put(outcome)

    def outcome(self, room_s: float, most_s: float) -> Outcome | None:
        """Wait for what came of it, on any other thread; None if it found no room on the line in `room_s`."""
        try:
            return self._outcome.get(timeout=room_s)
        except Empty:
            self.is_dropped = True
        try:
            return self._outcome.get(timeout=most_s) if self.has_begun else None
        except Empty:
            return None


class Errands:
    """The errands that wait for one line; used by its thread alone.

    One that fits into the time before the next slot is done at once. Others, the instrument that does not answer say,
    take from the slots no more than the share of the line's time that a failing instrument may have.
    """

    def __init__(self) -> None:
        self.waiting: deque[Errand] = deque()
        self._again_s = 0.0

    def take(self, errand: Errand) -> None:
        """Take one over: to be done, or to be told."""
        (self.waiting if errand.overhears is None else errand.overhears).append(errand)

    def turn(self, line: Line, free_s: float) -> bool:
        """Do an errand if the line has room for it; `free_s` is the time until the next slot. Says whether it did."""
        errand = self.waiting[0]
        if errand.is_dropped:
            self.waiting.popleft()
            return True
        begin_s = monotonic_s()
        if not self._has_room(errand, free_s, begin_s):
            return False
        self.waiting.popleft()
        errand.do(line)
        end_s = monotonic_s()
        over_s = max(end_s - begin_s + errand.late_s - max(free_s, 0.0), 0.0)
        if over_s:
            self._again_s = end_s + over_s / SHARE
        return True

    def _has_room(self, errand: Errand, free_s: float, now_s: float) -> bool:
        waits_until_s = max(self._again_s, errand.since_s + PATIENCE_S)
        expected_s = max(errand.expected_s, errand.longest_s if now_s < self._again_s else 0.0)
        return expected_s <= free_s or now_s >= waits_until_s + (0.0 if free_s > 0 else GAPLESS_S)
