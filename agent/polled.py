"""One instrument as the poller sees it: when it is due, how it fares, and which slots it was not asked in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from agent.backoff import BackOff
from agent.lines import timing
from agent.record import outage
from agent.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.errands import Errand
    from agent.record import Record
    from agent.settings import InstrumentSettings, LineSettings
    from drivers.clock import Moment
    from drivers.sample import Flag


class Outage(NamedTuple):
    """A span in which an instrument was not asked though it was due."""

    begin: Moment
    reason: str
    slots: int


class Polled:
    """An instrument on its line."""

    def __init__(self, settings: InstrumentSettings, line: LineSettings, now_s: float, offset_s: float) -> None:
        self.name = settings.name
        self._note = f"newest result of {settings.name}, {settings.driver_name}"
        self.driver = settings.driver
        self.address = settings.address
        self.channels = tuple(c for c in settings.driver.channels if c.name in settings.channels)
        self.published = frozenset(settings.channels)
        self.publishes_all = len(self.channels) == len(settings.driver.channels)
        self.timing = timing(settings, line)
        self.schedule = Schedule(settings.interval_s, now_s, offset_s)
        self.backoff = BackOff()
        self.outage: Outage | None = None
        self.failing_since: Moment | None = None
        self.failures = 0
        self.last_error = ""
        self.cost_s = 0.0
        """How long the newest poll that was answered took."""
        self.overhearing: list[Errand] = []
        """Who wants to be told what comes of the next poll."""
        self.work: Flag | None = None
        """What its samples are flagged with while somebody works on it."""

    def recall(self, noted: Callable[[str], str]) -> None:
        """Tell the driver which result was stored last, if its results count once."""
        if hasattr(self.driver, "newest_result"):
            self.driver.newest_result = noted(self._note)

    def to_remember(self) -> dict[str, str]:
        """Give what must be noted in the commit of the result that was read now."""
        newest = getattr(self.driver, "newest_result", "")
        return {self._note: newest} if newest else {}

    def out_of_reach(self) -> tuple[Moment, str] | None:
        """Say since when and why it gives no values, or None; a single failed poll does not count."""
        failing_since, outage = self.failing_since, self.outage
        if failing_since and (self.failures > 1 or outage):
            return failing_since, self.last_error
        return (outage.begin, outage.reason) if outage else None

    def missed(self, moment: Moment, reason: str, *, dated: bool) -> Record | None:
        """Count a slot that is not asked; gives the record of the outage's begin if this is its first."""
        if self.outage:
            self.outage = self.outage._replace(slots=self.outage.slots + 1)
            return None
        self.outage = Outage(moment, reason, 1)
        return outage(reason, moment, None, at=moment, dated=dated, instrument=self.name, slots=1)

    def asked_again(self, moment: Moment, *, dated: bool) -> Record | None:
        """End an outage; gives its record."""
        if not self.outage:
            return None
        begin, reason, slots = self.outage
        self.outage = None
        return outage(reason, begin, moment, at=moment, dated=dated, instrument=self.name, slots=slots)

    def left_over(self, now_s: float, moment: Moment, *, dated: bool) -> Record | None:
        """Give the record of slots that have come and will not be asked any more, the one in progress included."""
        slots = math.floor((now_s - self.schedule.due_s) / self.schedule.interval_s) + 1
        return self.late(slots, moment, dated=dated) if slots > 0 else None

    def late(self, slots: int, moment: Moment, *, dated: bool) -> Record:
        """Give the record of slots that passed while the line was busy."""
        span_ms = int(slots * self.schedule.interval_s * 1000)
        begin = moment._replace(wall_ms=moment.wall_ms - span_ms, elapsed_ms=moment.elapsed_ms - span_ms)
        return outage("line_busy", begin, moment, at=moment, dated=dated, instrument=self.name, slots=slots)
