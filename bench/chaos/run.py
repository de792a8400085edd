"""One run: each fault alone, then pairs at random, then the drain."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from agent.spool.ranges import Ranges
from bench.chaos import broker_faults, daemon_faults, disk_faults, instrument_faults, network_faults, platform_faults
from bench.chaos.faults import ALL
from bench.process import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.chaos.faults import Fault
    from bench.chaos.world import World

MODULES = (broker_faults, network_faults, platform_faults, instrument_faults, daemon_faults, disk_faults)
"""In this order their faults come alone."""
ASK_EVERY_S = 20.0


class Watch(NamedTuple):
    """A fault that has ended and whose instruments are not all heard of again yet."""

    fault: str
    ended_s: float
    names: list[str]


class Choice(NamedTuple):
    """Parts of names of faults: none of `without`, and with one of `only` if there are any."""

    only: list[str]
    without: list[str]

    def takes(self, name: str) -> bool:
        """Say whether a fault is wanted."""
        return not any(word in name for word in self.without) and any(word in name for word in self.only or [""])


class Run:
    """Injects faults into a world. `times` and `recoveries` say how often and how long it took afterwards."""

    def __init__(self, world: World, seconds: float, every_s: float, choice: Choice) -> None:
        self._world, self._every_s = world, every_s
        self._end_s = time.monotonic() + seconds
        self._asked_s = time.monotonic()
        self._watches: list[Watch] = []
        self.times: dict[str, int] = defaultdict(int)
        self.recoveries: dict[str, list[float]] = defaultdict(list)
        self.due: dict[str, int] = {}
        found = [fault for module in MODULES for fault in ALL if fault.module == module.__name__]
        named = [fault for fault in found if choice.takes(fault.name)]
        self.possible = [fault for fault in named if fault.needs(world)]
        self.impossible = [fault.name for fault in named if fault not in self.possible]

    def go(self, *, is_shuffled: bool) -> None:
        """Run all of it, for the time there is."""
        alone = self._world.chance.sample(self.possible, len(self.possible)) if is_shuffled else self.possible
        for fault in alone:
            if time.monotonic() < self._end_s:
                self._turn([fault])
        while time.monotonic() < self._end_s:
            self._turn(self._pair())

    def settle(self, within_s: float) -> bool:
        """Wait until all that was committed has arrived, asking for what is missing; says if it has.

        `due` becomes what is waited for: the newest seq of each spool.
        """
        deadline = time.monotonic() + within_s
        self._wait(lambda: bool(self._world.station.pid), 5)
        self._wait(lambda: False, 1)
        self.due = self._world.observer.seen()
        while time.monotonic() < deadline:
            if self._wait(self._is_drained, 5):
                return True
            self._world.platform.ask_missing()
            if self._world.platform.state.get("delivery", {}).get("set_aside"):
                self._world.station.restart()  # what a broker refused is tried again each hour, or after a start
                self._wait(lambda: False, 5)
        return False

    def _turn(self, faults: list[Fault]) -> None:
        """Begin the faults, let them last, end them, and wait for the recovery as far as there is time."""
        begun_s = time.monotonic()
        chance = self._world.chance
        print(f"{time.strftime('%H:%M:%S')} {' + '.join(fault.name for fault in faults)}", flush=True)
        with contextlib.ExitStack() as stack:
            concerned = []
            for fault in faults:
                concerned.append((fault, stack.enter_context(fault.begin(self._world))))
                self.times[fault.name] += 1
                self._wait(lambda: False, chance.uniform(0, 1))
            self._wait(lambda: False, chance.uniform(0.2, 0.5) * self._every_s)
        ended_s = time.monotonic()
        self._watches += [Watch(fault.name, ended_s, names) for fault, names in concerned]
        left_s = begun_s + self._every_s - time.monotonic()
        self._wait(lambda: not self._watches, left_s)
        if time.monotonic() > self._asked_s + ASK_EVERY_S:
            self._asked_s = time.monotonic()
            self._world.platform.ask_missing()

    def _pair(self) -> list[Fault]:
        first = self._any(self.possible)
        others = [one for one in self.possible if one.part != first.part]
        return [first, self._any(others)] if others else [first]

    def _any(self, faults: list[Fault]) -> Fault:
        return self._world.chance.choices(faults, [one.weight for one in faults])[0]

    def _wait(self, condition: Callable[[], object], within_s: float) -> bool:
        def look() -> bool:
            self._note_recoveries()
            return bool(condition())

        return wait_until(look, max(within_s, 0.0), every_s=0.05)

    def _note_recoveries(self) -> None:
        now_s = time.monotonic()
        done = [one for one in self._watches if self._world.has_recovered(one.ended_s, one.names)]
        for one in done:
            self.recoveries[one.fault].append(now_s - one.ended_s)
            self._watches.remove(one)

    @property
    def unrecovered(self) -> list[str]:
        """Faults after which something was never heard of again."""
        return [f"{one.fault}: {', '.join(one.names) or 'nothing arrived'}" for one in self._watches]

    def _is_drained(self) -> bool:
        """Say whether what was committed when the faults ended has arrived, and nothing else is owed."""
        return not self.owed()

    def owed(self) -> list[str]:
        """Give what has not arrived, was not answered, not recovered or not salvaged yet, in words."""
        present = self._world.observer.spool_id
        given_up = self._given_up(present)
        gaps = self._world.platform.missing(present, self.due.get(present, 0))
        delivery = self._world.platform.state.get("delivery", {})
        return [
            *(f"record {first} to {last} of {present}" for first, last in gaps if given_up.missing(first, last)),
            *(f"an answer to a request: {one}" for one in delivery.get("requests") or []),
            *(f"recovery from {text}" for text in self.unrecovered),
            *(f"salvage of {name}" for name in self._unsalvaged()),
        ]

    def _given_up(self, spool: str) -> Ranges:
        """Give what the station says it had to give up of a spool."""
        told = [one.body for key, one in list(self._world.platform.records.items()) if key[0] == spool]
        given_up = [body for body in told if body.get("ledger") in {"dropped", "damaged"} and "was" not in body]
        return Ranges((body["first"], body["last"]) for body in given_up)

    def _unsalvaged(self) -> list[str]:
        kept = [file for file in self._world.disk.glob("*.damaged-*") if file.suffix[-1].isdigit()]
        return [file.name for file in kept if not file.with_name(f"{file.name}.salvaged").exists()]
