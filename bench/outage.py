"""Workload A while mosquitto is stopped and started again: nothing lost, the present first.

python -m bench.outage
"""

from __future__ import annotations

import sys
import time

from bench.figures import Figures, options
from bench.judge import judge_deliveries, judge_return, judge_slots, show_yardstick
from bench.process import use
from bench.workload import RECONNECT_MAX_S, Workload

RSS_GROWTH_MB = 10


def main() -> int:
    """Run, judge, print."""
    chosen = options(__doc__)
    figures = Figures(chosen.allow)
    with Workload(chosen) as workload:
        show_yardstick(figures, workload)
        begin_ns = workload.warm_up()
        before = use(workload.daemon.pid)
        workload.broker.stop()
        workload.run_for(round(chosen.seconds))
        returned_ns = workload.broker.start()
        workload.settle(begin_ns, time.time_ns(), chosen.settle)
        workload.run_for(2)
        end_ns = workload.between_slots()
        workload.settle(begin_ns, end_ns, chosen.settle)
        after = use(workload.daemon.pid)
        judge_deliveries(figures, workload, begin_ns, end_ns)
        judge_return(figures, workload, returned_ns, RECONNECT_MAX_S + 1)
        judge_slots(figures, workload, begin_ns, end_ns)
        figures.at_most("RSS after it, more than before", after.rss_mb - before.rss_mb, RSS_GROWTH_MB, "MB")
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
