"""What the daemon writes to its card in a day, for each `commit_interval`, at a busy and at a typical station.

    python -m bench.write_budget --directory /var/tmp

Counts the bytes that a daemon sent to the block layer from its start to its end, when it folds the log of SQLite back
into the spool. A second daemon that lives `--seconds` longer has written so much more in that time; what start and end
cost is out of it. All run side by side: nothing here depends on the machine's speed. Prints a table in Markdown;
`--directory` must be on a real disk.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from bench.figures import options_parser
from bench.workload import Settings, Workload

SHORT_S = 20.0
COMMIT_INTERVALS = ("0.2s", "1s", "5s", "10s", "60s")
BLOCK_BYTES = 512
DAY_S = 86_400


class Station(NamedTuple):
    """So many instruments of so many channels, asked every `interval_s`."""

    instruments: int
    channels: int
    interval_s: int

    @property
    def values_s(self) -> float:
        """Values a second."""
        return self.instruments * self.channels / self.interval_s


BUSY, TYPICAL = Station(50, 20, 1), Station(12, 5, 5)
_starting = threading.Lock()


def written(chosen: argparse.Namespace, station: Station, commit_interval: str, seconds: float) -> int:
    """Give the bytes that a daemon writes from start to end, if it runs so long after its first delivery."""
    options = argparse.Namespace(**{**vars(chosen), "instruments": station.instruments, "channels": station.channels})
    options.lead = seconds
    with _starting:
        workload = Workload(options, Settings(f"{station.interval_s}s", commit_interval)).__enter__()
    try:
        workload.warm_up()
        assert workload.daemon is not None
        workload.daemon.send_signal(signal.SIGTERM)
        _, _, used = os.wait4(workload.daemon.pid, 0)
    finally:
        workload.__exit__(None, None, None)
    return used.ru_oublock * BLOCK_BYTES


def bytes_a_second(chosen: argparse.Namespace) -> dict[tuple[Station, str], float]:
    """Measure every station at every interval."""
    cases = [(station, interval) for station in (BUSY, TYPICAL) for interval in COMMIT_INTERVALS]
    with ThreadPoolExecutor(2 * len(cases)) as threads:
        long = [threads.submit(written, chosen, *case, SHORT_S + chosen.seconds) for case in cases]
        short = [threads.submit(written, chosen, *case, SHORT_S) for case in cases]
        spans = [(one.result() - other.result()) / chosen.seconds for one, other in zip(long, short, strict=True)]
    return dict(zip(cases, spans, strict=True))


def main() -> int:
    """Measure and print; 1 if nothing was written at all."""
    chosen = options_parser(__doc__, seconds=180).parse_args()
    found = bytes_a_second(chosen)
    print("| `commit_interval` | a pulled plug loses at most |", end="")
    print(" 1,000 values/s: MB a day | bytes a value | 12 values/s: MB a day | bytes a value |")
    print("|---|---|---|---|---|---|")
    for interval in COMMIT_INTERVALS:
        cells = [f"`{interval}`", f"the last {interval.removesuffix('s')} s and one commit"]
        for station in (BUSY, TYPICAL):
            rate = found[station, interval]
            cells += [f"{rate * DAY_S / 1e6:,.0f}", f"{rate / station.values_s:,.0f}"]
        print(f"| {' | '.join(cells)} |")
    return 0 if all(found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
