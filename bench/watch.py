"""What any process costs under this load, to compare other systems with stationd.

python -m bench.simulator --log requests.bin           # point the other system at its ports
python -m bench.watch --pid 1234 --log requests.bin    # measure the process 1234 meanwhile
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from bench.figures import Figures
from bench.judge import jitter_ms
from bench.process import use
from bench.truth import read_requests


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--log", type=Path, required=True, help="the simulator's")
    parser.add_argument("--channels", type=int, default=20, help="values a request")
    parser.add_argument("--seconds", type=float, default=60)
    chosen = parser.parse_args()
    begin_ns, before = time.time_ns(), use(chosen.pid)
    time.sleep(chosen.seconds)
    after, end_ns = use(chosen.pid), time.time_ns()
    requests = [one for one in read_requests(chosen.log) if begin_ns <= one.arrived_ns < end_ns]
    values = len(requests) * chosen.channels
    figures = Figures(1)
    figures.show("requests answered", len(requests))
    figures.show("CPU per value", (after.cpu_s - before.cpu_s) / max(values, 1) * 1e6, "µs")
    figures.show("RSS", after.rss_mb, "MB")
    figures.show("written to disk per value", (after.written_bytes - before.written_bytes) / max(values, 1), "bytes")
    figures.show("jitter of the poll interval (std)", jitter_ms(requests), "ms")


if __name__ == "__main__":
    main()
