"""Workload A with everything well: every poll on time, delivered once, right.

python -m bench.steady
"""

from __future__ import annotations

import sys
import time

from bench.figures import Figures, options
from bench.judge import judge_deliveries, judge_slots, show_yardstick
from bench.workload import Workload


def main() -> int:
    """Run, judge, print."""
    chosen = options(__doc__)
    figures = Figures(chosen.allow)
    with Workload(chosen) as workload:
        show_yardstick(figures, workload)
        begin_ns = workload.warm_up()
        workload.run_for(round(chosen.seconds))
        end_ns = time.time_ns()
        received = workload.settle(begin_ns, end_ns, chosen.settle)
        judge_deliveries(figures, workload, begin_ns, end_ns)
        figures.exactly("records delivered twice", received.repeated, 0)
        judge_slots(figures, workload, begin_ns, end_ns)
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
