"""What the daemon costs on workload A: CPU and bytes written per value, memory.

python -m bench.cost
"""

from __future__ import annotations

import sys
import time

from bench.figures import Figures, options
from bench.judge import judge_cost, judge_deliveries, show_yardstick
from bench.process import use
from bench.workload import Workload


def main() -> int:
    """Run, judge, print."""
    chosen = options(__doc__)
    figures = Figures(chosen.allow)
    with Workload(chosen) as workload:
        show_yardstick(figures, workload)
        begin_ns, before = workload.warm_up(), use(workload.daemon.pid)
        workload.run_for(round(chosen.seconds))
        after, end_ns = use(workload.daemon.pid), time.time_ns()
        workload.settle(begin_ns, end_ns, chosen.settle)
        judge_cost(figures, before, after, len(workload.requests(begin_ns, end_ns)) * chosen.channels)
        judge_deliveries(figures, workload, begin_ns, end_ns)
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
