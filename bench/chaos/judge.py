"""The verdict: what was committed against what arrived, and what arrived against what instruments said."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from agent.spool.ranges import Ranges
from agent.times import milliseconds
from bench.chaos.instruments import TIMEOUT_S
from bench.chaos.platform import digest

if TYPE_CHECKING:
    from bench.chaos.instruments import Said
    from bench.chaos.platform import Arrived, Key
    from bench.chaos.world import World

AT_TOLERANCE_S = 1.0
"""An exchange may take half a second and begins after a connection was made; while the machine or the daemon stood
still, that long more."""
STEP_SEEN_S = 5.0
"""A daemon that lives for so long before and after a step must tell of it; two steps within that may look like one."""


class Judge:
    """Looks at a world once, at what was due: the newest seq of each spool.

    Every list holds what is wrong, in words.
    """

    def __init__(self, world: World, due: dict[str, int]) -> None:
        self._world, self._due = world, due
        self._arrived: dict[Key, Arrived] = dict(world.platform.records)
        self._committed = dict(world.observer.committed)
        self.salvaged: dict[Key, Key] = {}
        self.lost: dict[str, Ranges] = {}
        self.answers = 0
        for key, one in self._arrived.items():
            if "was" in one.body:
                self.salvaged.setdefault((one.body["was"]["spool"], one.body["was"]["seq"]), key)
            self._explain(key, one.body)

    def figures(self) -> dict[str, list[str]]:
        """Give each question with what is wrong about it."""
        return {
            "committed records that did not arrive": self.not_arrived(),
            "seqs that nothing explains": self.unexplained(),
            "records whose bytes are not those committed": self.changed(),
            "records that came again with other bytes": self._world.platform.contradictions,
            "records that no instrument said": self.made_up(),
            "steps of the clock untold or made up": self.steps(),
            "defects of stationd in its log": self._world.station.defects(),
        }

    def not_arrived(self) -> list[str]:
        """Give what is committed, but neither there, nor salvaged, nor explained."""
        bodies = self._world.observer.bodies
        due = [key for key in self._committed if key[1] <= self._due.get(key[0], 0)]
        missing = [key for key in due if not self._is_accounted(key)]
        return [f"{key[0]} {key[1]}: {bodies[key].decode()}" for key in missing]

    def unexplained(self) -> list[str]:
        """Numbers between 1 and the newest of each spool of which nobody knows."""
        spools = {spool for spool, _ in self._arrived} | set(self._due)
        asked = [(spool, seq) for spool in spools for seq in range(1, self._due.get(spool, 0) + 1)]
        return [f"{spool} {seq}" for spool, seq in asked if not self._is_accounted((spool, seq))]

    def changed(self) -> list[str]:
        """Arrived, but with other bytes than the disk had."""
        found = []
        for key, known in self._committed.items():
            one = self._arrived.get(key)
            if one is not None and one.digest != known:
                found.append(f"{key}: {json.dumps(one.body)}; committed: {self._world.observer.bodies[key].decode()}")
            elif one is None and key in self.salvaged and not self._is_same_salvaged(key):
                found.append(f"{key}: salvaged as {self.salvaged[key]} with other content")
        return found

    def made_up(self) -> list[str]:
        """Values that nobody said, lies that were believed, one answer twice, wrong times."""
        found: list[str] = []
        owners: dict[tuple[str, int], Key] = {}
        for key, one in self._arrived.items():
            instrument = self._world.instruments.get(one.body.get("instrument", ""))
            if one.body["kind"] != "raw" or instrument is None:
                continue
            if all(value is None for value in one.body["values"].values()):
                continue
            number = instrument.found(one.body["values"])
            what = f"{key}: {json.dumps(one.body)}"
            if number is None:
                found.append(f"never said: {what}")
                continue
            self.answers += 1
            said = instrument.said[number]
            if said.is_lie and not self._is_own_answer(one.body, said):
                found.append(f"a lie: {what}")
            if owners.setdefault((instrument.name, number), self._origin(key, one)) != self._origin(key, one):
                found.append(f"a second time: {what}; first {owners[instrument.name, number]}")
            if not self._is_timely(one.body, said.at_s, said.moment_s):
                found.append(f"said at {said.at_s:.3f}: {what}")
        return found

    def steps(self) -> list[str]:
        """Compare the events of clock steps with the steps of a daemon that lived on both sides of them."""
        events = [one.body for one in self._arrived.values() if one.body.get("event") == "clock_step"]
        told = [event["step_ms"] / 1000 for event in events]
        clock, lives = self._world.station.clock, self._world.station.lives
        made = clock.steps()
        lone = [
            (at_s, by_s)
            for at_s, by_s in made
            if any(begin_s + STEP_SEEN_S < at_s < end_s - STEP_SEEN_S for begin_s, end_s in lives)
            and not any(0 < abs(at_s - other_s) < STEP_SEEN_S for other_s, _ in made)
        ]
        untold = [f"untold: {by_s:+.0f} s" for _, by_s in lone if not any(abs(by_s - one) < 1 for one in told)]
        sums = {by_s for _, by_s in made} | {first[1] + then[1] for first, then in pairwise(made)}
        return untold + [f"never made: {one:+.3f} s" for one in told if not any(abs(one - by_s) < 1 for by_s in sums)]

    def _is_timely(self, body: dict[str, Any], said_s: float, moment_s: float) -> bool:
        at_s = milliseconds(body["at"]) / 1000
        tolerance_s = AT_TOLERANCE_S + self._world.stalls.near_s(moment_s)
        offsets = self._world.station.clock.possible(moment_s, tolerance_s)
        return any(abs(at_s - said_s - offset_s) <= tolerance_s for offset_s in offsets)

    def _is_own_answer(self, body: dict[str, Any], said: Said) -> bool:
        """Say whether a late answer was taken by the very exchange that asked for it, while things stood still.

        Then `at` lies in the middle between the question and the answer; the next question would be put a timeout later
        at the earliest.
        """
        stalled_s = self._world.stalls.near_s(said.moment_s)
        at_s = milliseconds(body["at"]) / 1000
        offsets = self._world.station.clock.possible(said.moment_s, AT_TOLERANCE_S)
        return said.is_late and stalled_s > 0 and any(-0.1 < at_s - said.at_s - one < TIMEOUT_S for one in offsets)

    def _origin(self, key: Key, one: Arrived) -> Key:
        was = one.body.get("was")
        return (was["spool"], was["seq"]) if was else key

    def _explain(self, key: Key, body: dict[str, Any]) -> None:
        """Take what a record says of records that will not come."""
        home = body["was"]["spool"] if "was" in body else key[0]
        what = body.get("ledger") or body.get("event")
        if what in {"dropped", "damaged"}:
            self._lose(home, body["first"], body["last"])
            for copy in body.get("copies", ()):
                for first, last in copy["seqs"]:
                    self._lose(copy["spool"], first, last)
        elif what == "spool_salvaged":
            for first, last in [*body["lost"], *body["moved"]]:
                self._lose(body["spool"] or self._world.observer.before(home), first, last)

    def _lose(self, spool: str, first: int, last: int) -> None:
        self.lost.setdefault(spool, Ranges()).add(first, last)

    def is_lost(self, key: Key) -> bool:
        """Say whether the station told that it has a record no longer: who missed it cannot ask for it."""
        return key[1] in self.lost.get(key[0], Ranges())

    def _is_accounted(self, key: Key) -> bool:
        """Say whether a record arrived or something says what became of it."""
        return key in self._arrived or key in self.salvaged or self.is_lost(key)

    def _is_same_salvaged(self, key: Key) -> bool:
        """Compare all but the number and the origin. The clock is trusted, so nothing may have become unsure."""
        one = self._arrived[self.salvaged[key]]
        body = {name: value for name, value in one.body.items() if name != "was"} | {"seq": key[1]}
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        return digest(text) == self._committed[key]
