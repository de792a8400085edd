"""When an instrument is due: on a grid of wall-clock multiples of its interval, kept by the monotonic clock."""

from __future__ import annotations

import math


class Schedule:
    """The slots of one instrument, in seconds on the monotonic clock.

    `offset_s` is always wall clock minus monotonic clock at this moment. A step of the wall clock moves the slots by
    half an interval at most and never repeats or delays one by more.
    """

    def __init__(self, interval_s: float, monotonic_s: float, offset_s: float) -> None:
        self.interval_s = interval_s
        wall_s = monotonic_s + offset_s
        self.due_s = math.ceil(wall_s / interval_s) * interval_s - offset_s

    def advance(self, monotonic_s: float, offset_s: float) -> int:
        """Go on to the next slot, or to the newest one that passed, to be asked late; gives how many are skipped."""
        aim_s = self.due_s + self.interval_s
        skipped = max(0, math.floor((monotonic_s - aim_s) / self.interval_s))
        aim_s += skipped * self.interval_s
        self.due_s = round((aim_s + offset_s) / self.interval_s) * self.interval_s - offset_s
        return skipped
