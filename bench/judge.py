"""What can be said of a run from outside, from the simulator's log and the counter's file."""

from __future__ import annotations

from itertools import pairwise
from statistics import fmean, pstdev
from typing import TYPE_CHECKING

from bench.workload import INTERVAL_S
from bench.yardstick import flood, measure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.figures import Figures
    from bench.process import Use
    from bench.received import Arrival, Received
    from bench.truth import Request
    from bench.workload import Workload

ON_TIME_MS = 20
INTERVAL_NS = INTERVAL_S * 1_000_000_000


def lateness_ms(request: Request) -> float:
    """Give how far from the nearest slot a request arrived, in either direction."""
    return abs((request.arrived_ns + INTERVAL_NS // 2) % INTERVAL_NS - INTERVAL_NS // 2) / 1e6


def on_time_percent(requests: Iterable[Request], instruments: int, begin_ns: int, end_ns: int) -> float:
    """Give how many of the slots that were due in a span were asked within 20 ms."""
    due = instruments * round((end_ns - begin_ns) / INTERVAL_NS)
    return 100 * sum(lateness_ms(request) <= ON_TIME_MS for request in requests) / due


def jitter_ms(requests: Iterable[Request]) -> float:
    """Give the standard deviation of the time between two polls of one instrument; 0 if there were none."""
    arrivals: dict[int, list[int]] = {}
    for request in requests:
        arrivals.setdefault(request.instrument, []).append(request.arrived_ns)
    spans = [later - earlier for times in arrivals.values() for earlier, later in pairwise(times)]
    return pstdev(spans) / 1e6 if spans else 0.0


def judge_slots(figures: Figures, workload: Workload, begin_ns: int, end_ns: int) -> None:
    """Judge when the instruments were asked."""
    requests = workload.requests(begin_ns, end_ns)
    instruments = workload.options.instruments
    within = on_time_percent(requests, instruments, begin_ns, end_ns)
    figures.at_least(f"slots asked within {ON_TIME_MS} ms", within, 99, "%", speed=True)
    late = sorted(map(lateness_ms, requests))
    figures.show(
        "lateness: mean, 99 of 100, most",
        f"{fmean(late):.2f}, {late[len(late) * 99 // 100]:.2f}, {late[-1]:.2f}",
        "ms",
    )
    figures.show("jitter of the poll interval (std)", jitter_ms(requests), "ms")


def judge_deliveries(figures: Figures, workload: Workload, begin_ns: int, end_ns: int) -> None:
    """Judge that what the instruments answered is what arrived, once and right."""
    received = workload.received.update()
    answered = {(one.instrument, one.number) for one in workload.requests(begin_ns, end_ns)}
    figures.show("polls answered by the instruments", len(answered))
    figures.exactly("of these not delivered", len(answered - received.requests), 0)
    judge_records(figures, received)
    figures.exactly("polls delivered without values", received.failed, 0)


def judge_records(figures: Figures, received: Received) -> None:
    """Judge the records for themselves."""
    figures.exactly("records with a wrong value", len(received.wrong), 0)
    answers = [(poll.instrument, poll.number) for poll in received.polls if poll.number]
    figures.exactly("answers delivered under two seqs", len(answers) - len(set(answers)), 0)
    figures.exactly("repeated records that differ", received.contradicting, 0)
    figures.exactly("seqs missing between 1 and the newest", received.missing_seqs, 0)
    figures.exactly("spools", len(received.seqs), 1)


def judge_cost(figures: Figures, before: Use, after: Use, values: int) -> None:
    """Judge CPU, memory and writing of the daemon's process."""
    figures.at_most("CPU per value", (after.cpu_s - before.cpu_s) / values * 1e6, 15, "µs", speed=True)
    figures.at_most("RSS", after.rss_mb, 45, "MB")
    written = (after.written_bytes - before.written_bytes) / values
    figures.at_most("written to disk per value", written, 60, "bytes")
    if not written:
        figures.show("nothing was written", "is --directory on a real disk?")


def show_yardstick(figures: Figures, workload: Workload) -> None:
    """Measure what a bare loop makes of the same instruments on this machine, now."""
    if not workload.options.yardstick:
        return
    begin_ns, end_ns, before, after = measure(workload, workload.options.yardstick)
    requests = workload.requests(begin_ns, end_ns)
    within = on_time_percent(requests, workload.options.instruments, begin_ns, end_ns)
    values = len(requests) * workload.options.channels
    figures.show("yardstick, bare threads: slots within 20 ms", within, "%")
    figures.show("yardstick: jitter of the poll interval (std)", jitter_ms(requests), "ms")
    figures.show("yardstick: CPU per value, nothing stored", (after.cpu_s - before.cpu_s) / values * 1e6, "µs")


def judge_return(figures: Figures, workload: Workload, returned_ns: int, within_s: float) -> None:
    """Judge how soon the present was seen again and how fast the backlog came."""
    polls = [poll for poll in workload.received.update().polls if poll.arrived_ns >= returned_ns]
    live = min((poll.arrived_ns for poll in polls if poll.lane == "data"), default=None)
    waited_s = (live - returned_ns) / 1e9 if live else float("inf")
    figures.at_most("first live record after the return", waited_s, within_s, "s", speed=True)
    figures.show("records that came again (at least once, allowed)", workload.received.repeated)
    judge_drain(figures, workload, polls)


def judge_drain(figures: Figures, workload: Workload, polls: list[Arrival]) -> None:
    """Judge how fast the backlog came, from the first sign of life to its last record."""
    backlog = [poll for poll in polls if poll.lane == "backfill"]
    figures.show("records that came as backfill", len(backlog))
    if not backlog:
        return
    begin_ns, end_ns = min(poll.arrived_ns for poll in polls), max(poll.arrived_ns for poll in backlog)
    values, took_s = sum(poll.values for poll in backlog), max(end_ns - begin_ns, 1_000_000) / 1e9
    figures.at_least("backlog drained at", values / took_s, 20_000, "values/s", speed=True)
    sizes = [size for at_ns, lane, size in workload.received.messages if lane == "backfill" and at_ns >= begin_ns]
    bare_s = flood(workload.broker.port, [bytes(size) for size in sizes])
    figures.show("yardstick, bare paho with messages of these sizes", values / bare_s, "values/s")
