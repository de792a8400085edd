"""The station's own channels: its clock, archived like any measurement, so that every time can be judged later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.config_instruments import OWN_NAME
from agent.record import measured
from agent.schedule import Schedule
from agent.timekeeper import asked
from drivers.clock import monotonic_s, now, wall_s
from drivers.sample import Channel, Flag, Sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.record import Record

NAME = OWN_NAME
INTERVAL_S = 60.0
CHANNELS = (
    Channel("clock_synchronised", "none", "1"),
    Channel("clock_offset", "none", "s"),
    Channel("clock_correction", "none", "s"),
)


class OwnChannels:
    """Hands a record of the station's own channels to `append` in each slot; `turn` is called every few seconds."""

    def __init__(self, append: Callable[[Record], None]) -> None:
        self._append = append
        self._schedule = Schedule(INTERVAL_S, monotonic_s(), wall_s() - monotonic_s())
        moment = now()
        self._offset_ms = moment.wall_ms - moment.elapsed_ms

    def turn(self) -> None:
        """Measure if it is time to."""
        if monotonic_s() >= self._schedule.due_s:
            self._append(self.record())
            self._schedule.advance(monotonic_s(), wall_s() - monotonic_s())

    def record(self) -> Record:
        """Measure now. The correction is what the wall clock was moved against CLOCK_BOOTTIME since the start."""
        synchronised, offset_s = asked()
        moment = now()
        correction_s = (moment.wall_ms - moment.elapsed_ms - self._offset_ms) / 1000
        samples = [
            Sample("clock_synchronised", int(bool(synchronised))),
            Sample("clock_offset", offset_s, () if offset_s is not None else (Flag.NO_COMM,)),
            Sample("clock_correction", correction_s),
        ]
        return measured(NAME, samples, moment)
