"""Workload A with `kill -9` of the daemon in mid-outage and a start 5 s later.

    python -m bench.killed

Everything that was committed must arrive; what is missing must lie between the last commit and the first poll
afterwards, and the records themselves must say so.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

from agent.spool.spool import Reader
from agent.times import milliseconds
from bench.figures import Figures, options
from bench.judge import INTERVAL_NS, judge_records, judge_return, show_yardstick
from bench.truth import instrument_number
from bench.workload import COMMIT_INTERVAL_S, INTERVAL_S, RECONNECT_MAX_S, Workload

if TYPE_CHECKING:
    from bench.received import Received

Answer = tuple[int, int]


def committed(workload: Workload) -> tuple[int, set[Answer]]:
    """Read from the dead daemon's spool what it had stored: the newest seq, and the answers."""
    reader = Reader(workload.spool)
    newest, found, after = reader.newest(), set(), 0
    while after < newest:
        stored = reader.records(after + 1, newest, 1_000_000)
        bodies = [json.loads(b"{" + one.body + b"}") for one in stored]
        polls = [body for body in bodies if body["kind"] == "raw" and body["values"].get("c00") is not None]
        found |= {(instrument_number(body["instrument"]), int(body["values"]["c00"])) for body in polls}
        after = stored[-1].seq
    reader.close()
    return newest, found


def missing_slots(received: Received, instruments: int, begin_ns: int, end_ns: int) -> list[int]:
    """Give the slots, in ns and once per instrument, of which no record of a poll arrived."""
    slots = range(-(-begin_ns // INTERVAL_NS), end_ns // INTERVAL_NS)
    known = {(poll.instrument, round(milliseconds(poll.at) / 1000 / INTERVAL_S)) for poll in received.polls}
    return [slot * INTERVAL_NS for number in range(instruments) for slot in slots if (number, slot) not in known]


def is_told(received: Received, slot_ns: int) -> bool:
    """Say whether a record of the whole station's absence covers a slot."""
    away = [one for one in received.outages if "instrument" not in one and one["to"]]
    return any(milliseconds(one["from"]) <= slot_ns / 1e6 <= milliseconds(one["to"]) for one in away)


def kill(workload: Workload) -> tuple[int, int, set[Answer]]:
    """Kill the daemon, wait, start it; gives when it died (ns), and what was committed by then."""
    workload.daemon.kill()
    died_ns = time.time_ns()
    workload.daemon.wait()
    newest, answers = committed(workload)
    time.sleep(workload.options.dead - (time.time_ns() - died_ns) / 1e9)
    workload.start_daemon()
    return died_ns, newest, answers


def judge_loss(figures: Figures, workload: Workload, begin_ns: int, died_ns: int, end_ns: int) -> None:
    """Judge what is missing: how much, between which moments, and whether the data say so."""
    received, number = workload.received, workload.options.instruments
    back_ns = min(one.arrived_ns for one in workload.requests(died_ns + INTERVAL_NS // 2))
    allowed_s = COMMIT_INTERVAL_S + (back_ns - died_ns) / 1e9
    missing = missing_slots(received, number, begin_ns, end_ns)
    figures.show("dead, from the kill to the first poll", (back_ns - died_ns) / 1e9, "s")
    figures.at_most("polls missing", len(missing), number * allowed_s / INTERVAL_S)
    outside = [slot for slot in missing if not died_ns - COMMIT_INTERVAL_S * 1e9 <= slot < back_ns]
    figures.exactly("of these outside commit_interval and dead time", len(outside), 0)
    figures.exactly("of these not covered by an outage record", sum(not is_told(received, slot) for slot in missing), 0)


def main() -> int:
    """Run, judge, print."""
    chosen = options(__doc__)
    figures = Figures(chosen.allow)
    with Workload(chosen) as workload:
        show_yardstick(figures, workload)
        begin_ns = workload.warm_up()
        workload.broker.stop()
        workload.run_for(chosen.seconds / 2 + 0.37)
        died_ns, newest, stored = kill(workload)
        workload.run_for(max(1.0, chosen.seconds / 2 - chosen.dead))
        returned_ns = workload.broker.start()
        workload.settle(died_ns + INTERVAL_NS, time.time_ns(), chosen.settle)
        workload.run_for(2)
        end_ns = workload.between_slots()
        received = workload.settle(died_ns + INTERVAL_NS, end_ns, chosen.settle)
        figures.show("answers committed before the kill", len(stored))
        figures.exactly("of these not delivered", len(stored - received.requests), 0)
        arrived = next(iter(received.seqs.values()), set())
        figures.exactly("committed seqs not delivered", len(set(range(1, newest + 1)) - arrived), 0)
        judge_loss(figures, workload, begin_ns, died_ns, end_ns)
        judge_records(figures, received)
        judge_return(figures, workload, returned_ns, RECONNECT_MAX_S + 1)
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
