"""Workload A while the uplink is frozen without a reset, then reset, as cellular links do.

python -m bench.half_open
"""

from __future__ import annotations

import sys
import time

from agent.demo.uplink import Uplink
from bench.figures import Figures, options
from bench.judge import judge_deliveries, judge_return, judge_slots, show_yardstick
from bench.workload import RECONNECT_MAX_S, Workload


def main() -> int:
    """Run, judge, print."""
    chosen = options(__doc__)
    figures = Figures(chosen.allow)
    with Workload(chosen) as workload:
        show_yardstick(figures, workload)
        uplink = Uplink(workload.broker.port)
        uplink.open()
        workload.uplink_port = uplink.port
        begin_ns = workload.warm_up()
        uplink.freeze()
        workload.run_for(round(chosen.seconds))
        uplink.reset()
        returned_ns = time.time_ns()
        workload.settle(begin_ns, returned_ns, chosen.settle)
        workload.run_for(2)
        end_ns = workload.between_slots()
        workload.settle(begin_ns, end_ns, chosen.settle)
        judge_deliveries(figures, workload, begin_ns, end_ns)
        judge_return(figures, workload, returned_ns, RECONNECT_MAX_S + 1)
        judge_slots(figures, workload, begin_ns, end_ns)
        if chosen.seconds > chosen.ack_timeout + RECONNECT_MAX_S + 1:
            figures.at_least("silent connections given up while frozen", uplink.accepted_frozen, 1)
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
