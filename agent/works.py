"""Works: somebody maintains or calibrates an instrument, and until that is over its samples are flagged so.

A work ends by itself. Its time is counted by CLOCK_BOOTTIME, which no one can step. How long the machine was off only
the wall clock knows: after a reboot what was left counts on, less the time that passed meanwhile as soon as the clock
is trusted. What is left is noted each minute; where the clock is never trusted a reboot thus lengthens a work by the
time without power and a minute, and by no more.
"""

from __future__ import annotations

import json
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.boot import boot_id
from agent.record import event
from agent.timekeeper import STEP_MS
from agent.times import iso
from drivers.clock import now
from drivers.sample import Flag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from agent.polled import Polled
    from agent.record import Record
    from agent.timekeeper import Timekeeper

    Note = Callable[[str, str, Callable[[], None], Sequence[Record]], None]

NOTE = "works"
"""The spool keeps them under this name."""
KINDS = (Flag.MAINTENANCE, Flag.CALIBRATION)
MOST_S = 30 * 86_400.0
NOTE_EVERY_MS = 60_000


class Work(NamedTuple):
    """What somebody does to an instrument: `flag` is one of KINDS, and `who` a user of this machine.

    `ends_ms` is on CLOCK_BOOTTIME; `until_ms` the same on the wall clock, None as long as that is not trusted.
    """

    instrument: str
    flag: Flag
    why: str
    who: str
    ends_ms: int
    until_ms: int | None

    def portrait(self) -> dict[str, Any]:
        """Give what the state and the commands say of it."""
        until = None if self.until_ms is None else iso(self.until_ms)
        return {
            "instrument": self.instrument,
            "flag": self.flag.value,
            "until": until,
            "why": self.why,
            "who": self.who,
        }


def read(noted: str) -> list[Work]:
    """Read works as they were noted; `ends_ms` counts only in the boot that noted them."""
    works = json.loads(noted)["works"] if noted else []
    return [Work(**{key: one[key] for key in Work._fields} | {"flag": Flag(one["flag"])}) for one in works]


def described(work: dict[str, Any]) -> str:
    """Write the portrait of a work in one line."""
    until = f"until {work['until']}" if work["until"] else "until a time that is not known yet"
    return f"{work['instrument']}: {work['flag']} {until} ({work['who']}: {work['why']})"


class Works:
    """The works of a station, one an instrument at most. `note` is the committer's; `noted` what it stored last."""

    def __init__(self, note: Note, noted: str, timekeeper: Timekeeper) -> None:
        self._note, self._timekeeper = note, timekeeper
        self._lock = Lock()
        self._boot = boot_id()
        self._polled: dict[str, Polled] = {}
        self._noted_ms = now().elapsed_ms
        self._awaits_clock: set[str] = set()
        self._works: dict[str, Work] = {}
        if noted:
            self._restore(noted)

    def watch(self, instruments: Iterable[Polled]) -> None:
        """Flag these instruments from now on."""
        with self._lock:
            self._polled = {polled.name: polled for polled in instruments}
            self._flag()

    def begin(self, work: Work, for_s: float, then: Callable[[], None]) -> Work:
        """Begin a work that lasts so long; one of the same instrument ends. `then` is called when it is on disk."""
        with self._lock:
            moment = now()
            for_ms = int(for_s * 1000)
            until_ms = moment.wall_ms + for_ms if self._timekeeper.is_trusted else None
            work = work._replace(ends_ms=moment.elapsed_ms + for_ms, until_ms=until_ms)
            told = [self._ended(self._works[work.instrument], "replaced", work.who)] if self.of(work.instrument) else []
            self._works[work.instrument] = work
            self._awaits_clock.discard(work.instrument)
            until = {} if until_ms is None else {"until": iso(until_ms)}
            about = {"instrument": work.instrument, "flag": work.flag.value, "why": work.why, "who": work.who}
            told.append(event("maintenance_begin", moment, **about, for_s=for_s, **until))
            self._flag()
            self._keep(told, then)
            return work

    def end(self, instrument: str, who: str, then: Callable[[], None]) -> Work | None:
        """End a work by hand; gives it, or None if there is none."""
        with self._lock:
            if work := self._works.pop(instrument, None):
                self._flag()
                self._keep([self._ended(work, "by_hand", who)], then)
            return work

    def of(self, instrument: str) -> Work | None:
        """Give the work on an instrument."""
        return self._works.get(instrument)

    def turn(self) -> None:
        """End what is over; called every few seconds."""
        if not self._works:
            return
        with self._lock:
            was_moved = self._settle()
            elapsed_ms = now().elapsed_ms
            over = [work for work in self._works.values() if work.ends_ms <= elapsed_ms]
            for work in over:
                del self._works[work.instrument]
            if over or was_moved or elapsed_ms - self._noted_ms >= NOTE_EVERY_MS:
                self._flag()
                self._keep([self._ended(work, "time") for work in over], lambda: None)

    def portrait(self) -> list[dict[str, Any]]:
        """Give what the state says of them, by name."""
        return [work.portrait() for _, work in sorted(self._works.copy().items())]

    def _settle(self) -> bool:
        """Let the wall clock say what it knows as soon as it is trusted; says whether it was set since.

        Where it was set, the end on it is another one: with the old one a reboot would end a work too early, or late.
        """
        if not self._timekeeper.is_trusted:
            return False
        moment, was_moved = now(), False
        for name, work in self._works.items():
            until_ms = moment.wall_ms + work.ends_ms - moment.elapsed_ms
            if work.until_ms is not None and name in self._awaits_clock:
                by_wall_ms = moment.elapsed_ms + work.until_ms - moment.wall_ms
                self._works[name] = work._replace(ends_ms=min(work.ends_ms, by_wall_ms))
            elif work.until_ms is None or abs(until_ms - work.until_ms) >= STEP_MS:
                self._works[name], was_moved = work._replace(until_ms=until_ms), True
        self._awaits_clock.clear()
        return was_moved

    def _ended(self, work: Work, ended: str, who: str | None = None) -> Record:
        about = {"instrument": work.instrument, "flag": work.flag.value, "why": work.why, "who": who or work.who}
        return event("maintenance_end", now(), **about, ended=ended)

    def _flag(self) -> None:
        for name, polled in self._polled.items():
            work = self._works.get(name)
            polled.work = work.flag if work else None

    def _keep(self, told: list[Record], then: Callable[[], None]) -> None:
        self._noted_ms = elapsed_ms = now().elapsed_ms
        works = [work._asdict() | {"left_ms": work.ends_ms - elapsed_ms} for work in self._works.values()]
        self._note(NOTE, json.dumps({"boot": self._boot, "works": works}) if works else "", then, told)

    def _restore(self, noted: str) -> None:
        about = json.loads(noted)
        is_same_boot = about["boot"] == self._boot != "unknown"
        elapsed_ms = now().elapsed_ms
        for work, words in zip(read(noted), about["works"], strict=True):
            if is_same_boot:
                self._works[work.instrument] = work
                continue
            self._works[work.instrument] = work._replace(ends_ms=elapsed_ms + words["left_ms"])
            if work.until_ms is not None:
                self._awaits_clock.add(work.instrument)
