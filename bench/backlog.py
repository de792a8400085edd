"""A week without a broker, fast-forwarded: 10 million values wait in the spool while the present goes on.

    python -m bench.backlog
    python -m bench.backlog --paced --unpacked --values 3000000

The spool is filled beforehand (`bench/week.py`), then the daemon is started over it with 50 live instruments and
without its broker, which comes back when the messages of the backlog are packed ahead. Judged is that every value
arrives as it was stored, how late the present is meanwhile, memory, bytes on the wire, and the rate of the drain,
against a bare paho that publishes the very same messages, as they were sent, right afterwards. `--paced` leaves the
pace at its default and judges that it is kept. With `--unpacked` the daemon packs nothing ahead, as in a short outage;
then the rate is shown only.
"""

from __future__ import annotations

import sys
import time
from array import array
from pathlib import Path
from typing import TYPE_CHECKING

from agent.spool.room import size_of
from bench.drain import Drain, RssLog, packet_bytes
from bench.figures import Figures, options_parser
from bench.judge import INTERVAL_NS
from bench.process import wait_until
from bench.week import fill
from bench.workload import Settings, Workload
from bench.yardstick import flood_apart

if TYPE_CHECKING:
    import argparse

QUIET_S = 5.0
"""So long without backfill means that the drain is over, or stuck."""
LATE_AT_MOST_S = 2.0
BYTES_PER_VALUE = 6.0
SHARE_OF_PAHO = 0.5
RSS_GROWTH_MB, RSS_MB = 5.0, 60.0
PACED_VALUES_S, PACED_WITHIN = 50_000, 0.1
UNPACED = 'backfill_rate = 1000000000\nbackfill_traffic = "10GB"\n'
PACED = f'backfill_rate = {PACED_VALUES_S}\nbackfill_traffic = "1MB"\n'
PACKED, UNPACKED = 'pack_after = "1s"\n', 'pack_after = "3650d"\n'


def main() -> int:
    """Run, judge, print."""
    parser = options_parser(__doc__)
    parser.add_argument("--values", type=int, default=10_000_000, help="in the backlog")
    parser.add_argument("--paced", action="store_true", help="drain at the default pace")
    parser.add_argument("--unpacked", action="store_true", help="pack nothing ahead")
    parser.add_argument("--most", type=float, default=1800, help="seconds within which the drain must be over")
    chosen = parser.parse_args()
    figures = Figures(chosen.allow)
    broker = (PACED if chosen.paced else UNPACED) + (UNPACKED if chosen.unpacked else PACKED)
    with Workload(chosen, Settings(broker=broker)) as workload:
        drain = _filled(figures, workload)
        workload.broker.stop()
        with RssLog(workload.start_daemon().pid) as rss:
            if not chosen.unpacked:
                _until_packed(figures, workload, chosen.most)
            workload.broker.start()
            _until_drained(workload, drain, chosen.most)
        _judge_records(figures, workload, drain)
        _judge_present(figures, drain)
        _judge_memory(figures, rss)
        _judge_wire(figures, drain)
        if chosen.paced:
            _judge_pace(figures, drain)
        else:
            _judge_rate(figures, workload, drain)
    return figures.finish()


def _filled(figures: Figures, workload: Workload) -> Drain:
    chosen: argparse.Namespace = workload.options
    sums = array("I")
    begin = time.monotonic()
    fill(workload.spool, chosen.instruments, chosen.channels, chosen.values // chosen.channels, sums)
    figures.show("values in the backlog", len(sums) * chosen.channels)
    figures.show("filling the spool took", time.monotonic() - begin, "s")
    figures.show("spool", workload.spool.stat().st_size / 1e6, "MB")
    return Drain(workload.directory / "received.bin", "BENCH", sums, chosen.channels)


def _until_packed(figures: Figures, workload: Workload, most_s: float) -> None:
    """Wait until the file of the messages that are packed ahead has grown and grows no more."""
    begin, packed = time.monotonic(), Path(f"{workload.spool}.packed")
    sizes = [0]
    while (not sizes[-1] or sizes[-1] != sizes[0]) and time.monotonic() - begin < most_s:
        workload.run_for(0.5)
        sizes = [*sizes[-4:], size_of(packed)]
    figures.show("packing ahead took", time.monotonic() - begin, "s")
    figures.at_least("packed ahead", sizes[-1] / 1e6, 0.01, "MB")


def _until_drained(workload: Workload, drain: Drain, most_s: float) -> None:
    """Wait for silence before looking into the messages: reading them takes the time of a processor."""
    deadline = time.monotonic() + most_s
    while drain.missing and time.monotonic() < deadline:
        wait_until(lambda: drain.is_quiet(QUIET_S), deadline - time.monotonic(), every_s=0.5)
        workload.run_for(0)
        drain.update()


def _judge_records(figures: Figures, workload: Workload, drain: Drain) -> None:
    figures.exactly("records of the backlog not delivered", drain.missing, 0)
    figures.exactly("records delivered that are not as they were stored", drain.wrong, 0)
    figures.show("records that came again (at least once, allowed)", drain.repeated)
    begin_ns, end_ns = drain.begin_ns + INTERVAL_NS, drain.end_ns
    asked = {(one.instrument, one.number) for one in workload.requests(begin_ns, end_ns)}
    figures.exactly("live polls answered meanwhile and not delivered", len(asked - drain.answers), 0)


def _judge_present(figures: Figures, drain: Drain) -> None:
    late = drain.lateness_s()
    figures.show("live records during the drain", len(late))
    figures.show("live latency: half below", late[len(late) // 2], "s")
    figures.at_most("live latency: 99 of 100 below", late[len(late) * 99 // 100], LATE_AT_MOST_S, "s", speed=True)
    worst = max(found[len(found) * 99 // 100] for found in drain.lateness_each_10_s())
    figures.at_most("live latency: 99 of 100, worst 10 s", worst, LATE_AT_MOST_S, "s", speed=True)
    figures.show("live latency: most", late[-1], "s")


def _judge_memory(figures: Figures, rss: RssLog) -> None:
    first, last = rss.ends_mb()
    figures.show("RSS: first minute (or third), last, most", f"{first:.1f}, {last:.1f}, {max(rss.mb):.1f}", "MB")
    figures.at_most("RSS grows by", last - first, RSS_GROWTH_MB, "MB")
    figures.at_most("RSS at most", max(rss.mb), RSS_MB, "MB")


def _judge_wire(figures: Figures, drain: Drain) -> None:
    packets = drain.payload_bytes + sum(packet_bytes(size) for size in drain.sizes)
    figures.show("messages of backfill", len(drain.sizes))
    figures.show("bytes a message", drain.payload_bytes / len(drain.sizes))
    figures.at_most("bytes on the wire per value of backfill", packets / drain.values, BYTES_PER_VALUE)


def _judge_pace(figures: Figures, drain: Drain) -> None:
    """Judge the rate after the burst that is allowed at the beginning."""
    rate = drain.rate_after(2.0)
    figures.show("rate", rate, "values/s")
    figures.at_most(
        "rate off its setting by", 100 * abs(rate / PACED_VALUES_S - 1), 100 * PACED_WITHIN, "%", speed=True
    )


def _judge_rate(figures: Figures, workload: Workload, drain: Drain) -> None:
    rate = drain.values / drain.took_s
    figures.show("drain took", drain.took_s, "s")
    figures.show("drained at", rate, "values/s")
    file, port = workload.directory / "received.bin", workload.broker.port
    took_s = flood_apart(port, file, workload.directory)
    figures.show("bare paho, the same messages", drain.values / took_s, "values/s")
    ratio = rate * took_s / drain.values
    if workload.options.unpacked:
        figures.show("ratio to paho", ratio)
    else:
        figures.at_least("ratio to paho", ratio, SHARE_OF_PAHO, speed=True)


if __name__ == "__main__":
    sys.exit(main())
