"""Half an hour at 20 times the normal rate with constant faults: memory, descriptors and threads stay where they are.

    python -m bench.soak

Normal is a station of 50 values a second (10 instruments of 5 channels); the soak has 50 instruments of 20 channels
once a second, 1000 values a second. Every 10 s something fails: the broker is stopped or killed, the connection is
cut, frozen or refused, instruments drop their connections or say nothing. The daemon itself is left alone.
"""

from __future__ import annotations

import random
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agent.demo.uplink import Uplink
from bench.figures import Figures, options_parser
from bench.judge import judge_records
from bench.process import use
from bench.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.truth import Request

EVERY_S = 10.0
SETTLE_MOST_S = 120.0
CALM_S = 20.0
"""Seconds without a fault before each measurement, so that two like moments are compared."""
RSS_TOLERANCE_MB, TOLERANCE = 5.0, 2
LOST_A_FAULT = 3
"""Answers of an instrument that its own fault can cost: those on the way, and late ones that nobody waits for."""


class Size(NamedTuple):
    """What the daemon holds at one moment."""

    rss_mb: float
    descriptors: int
    threads: int


def size(pid: int) -> Size:
    """Read it from /proc."""
    process = Path("/proc", str(pid))
    return Size(use(pid).rss_mb, len(list(process.glob("fd/*"))), len(list(process.glob("task/*"))))


class Soak:
    """A workload whose surroundings fail all the time; its files and ports are those of `bench.workload`."""

    def __init__(self, workload: Workload, uplink: Uplink, seed: int) -> None:
        self._workload, self._uplink, self._chance = workload, uplink, random.Random(seed)
        self._faults: list[Callable[[float], None]] = [
            self._broker_stops,
            self._uplink_is_cut,
            self._uplink_freezes,
            self._instruments_drop,
            self._instruments_say_nothing,
        ]
        self.times = dict.fromkeys([fault.__name__ for fault in self._faults], 0)
        self.sizes: list[Size] = []

    def run(self, seconds: float, *, is_calm: bool = False) -> None:
        """Let one fault follow the other, or none, and measure."""
        end_s = time.monotonic() + seconds
        while (begin_s := time.monotonic()) < end_s:
            if not is_calm:
                fault = self._chance.choice(self._faults)
                self.times[fault.__name__] += 1
                fault(self._chance.uniform(1, 5))
            self._rest(min(end_s, begin_s + EVERY_S))
            assert self._workload.daemon is not None
            self.sizes.append(size(self._workload.daemon.pid))

    def settle(self) -> None:
        """Wait until every instrument is asked again (back-off may take a minute), so that two like moments compare."""
        deadline = time.monotonic() + SETTLE_MOST_S
        many = self._workload.options.instruments
        while time.monotonic() < deadline:
            self._workload.run_for(3.0)
            now_ns = time.time_ns()
            if len({one.instrument for one in self._workload.requests(now_ns - 3 * 10**9, now_ns)}) == many:
                return

    def median(self, since: int) -> Size:
        """Give the median of each figure of the samples from that one on."""
        columns = zip(*self.sizes[since:], strict=True)
        return Size(*(sorted(column)[len(column) // 2] for column in columns))

    def _rest(self, until_s: float) -> None:
        self._workload.run_for(max(0.1, until_s - time.monotonic()))

    def _broker_stops(self, lasts_s: float) -> None:
        self._workload.broker.stop()
        self._workload.run_for(lasts_s)
        self._workload.broker.start()

    def _uplink_is_cut(self, lasts_s: float) -> None:
        self._uplink.shut()
        self._workload.run_for(lasts_s)
        self._uplink.open()

    def _uplink_freezes(self, lasts_s: float) -> None:
        self._uplink.freeze()
        self._workload.run_for(lasts_s)
        self._uplink.reset()

    def _instruments_drop(self, lasts_s: float) -> None:
        self._workload.simulator.send_signal(signal.SIGUSR1)
        self._workload.run_for(lasts_s)

    def _instruments_say_nothing(self, lasts_s: float) -> None:
        self._workload.simulator.send_signal(signal.SIGSTOP)
        try:
            self._workload.run_for(lasts_s)
        finally:
            self._workload.simulator.send_signal(signal.SIGCONT)


def judge(figures: Figures, soak: Soak, first: Size, last: Size) -> None:
    """Compare the end with the first minute."""
    for name, times in soak.times.items():
        figures.show(f"fault: {name.strip('_').replace('_', ' ')}", times, "times")
    figures.show("RSS after the first minute, at the end", f"{first.rss_mb:.1f}, {last.rss_mb:.1f}", "MB")
    figures.show("most in between", max(one.rss_mb for one in soak.sizes), "MB")
    figures.at_most("RSS grown by", last.rss_mb - first.rss_mb, RSS_TOLERANCE_MB, "MB")
    figures.show("descriptors: first minute, end", f"{first.descriptors}, {last.descriptors}")
    figures.at_most("descriptors grown by", last.descriptors - first.descriptors, TOLERANCE)
    figures.show("threads: first minute, end", f"{first.threads}, {last.threads}")
    figures.at_most("threads grown by", last.threads - first.threads, TOLERANCE)


def judge_answers(figures: Figures, soak: Soak, asked: list[Request], arrived: set[tuple[int, int]]) -> None:
    """Judge what was answered and did not arrive: only what a dropped or silenced instrument could not get through."""
    answered = {(one.instrument, one.number) for one in asked}
    figures.show("polls answered by the instruments", len(answered))
    cut_off = soak.times["_instruments_drop"] + soak.times["_instruments_say_nothing"]
    most = LOST_A_FAULT * len({one.instrument for one in asked}) * cut_off
    figures.at_most("of these not delivered (instruments cut off)", len(answered - arrived), most)


def main() -> int:
    """Run, judge, print."""
    parser = options_parser(__doc__, seconds=1800)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    chosen = parser.parse_args()
    figures = Figures(chosen.allow)
    figures.show("seed", str(chosen.seed))
    with Workload(chosen) as workload:
        uplink = Uplink(workload.broker.port)
        uplink.open()
        workload.uplink_port = uplink.port
        begin_ns = workload.warm_up()
        soak = Soak(workload, uplink, chosen.seed)
        soak.run(min(60.0, chosen.seconds / 3))
        soak.settle()
        soak.run(CALM_S, is_calm=True)
        first, before = soak.median(-2), len(soak.sizes)
        soak.run(chosen.seconds - 60.0 if chosen.seconds > 180 else chosen.seconds / 2)
        soak.settle()
        soak.run(CALM_S, is_calm=True)
        last = soak.median(-2)
        figures.show("samples of the daemon's size in between", len(soak.sizes) - before)
        end_ns = workload.between_slots()
        received = workload.settle(begin_ns, end_ns - 2 * 10**9, chosen.settle)
        judge_answers(figures, soak, workload.requests(begin_ns, end_ns - 2 * 10**9), received.requests)
        judge_records(figures, received)
        judge(figures, soak, first, last)
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
