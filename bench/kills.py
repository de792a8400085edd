"""Kills the real daemon again and again at random moments under load, and counts what is gone each time.

    nice python -m bench.kills --count 200 --seed 7

The bound is `commit_interval` and the time of one commit. That time is measured beside the daemon: in each life one
commit of as many records as a commit interval brings, into a spool of its own on the same disk; the slowest counts.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from agent.record import Record
from agent.spool.spool import Spool
from bench.figures import Figures
from bench.loss import Judge
from bench.trial import INSTRUMENTS, INTERVAL_S, Trial, options
from drivers.clock import now

if TYPE_CHECKING:
    from pathlib import Path

EARLY = 0.2
"""So many of all kills fall into the start of the daemon."""
_RECORD_BYTES = 100


class Yardstick:
    """A spool of the bench's own on the same disk. `slowest_s`: the slowest commit so far."""

    def __init__(self, path: Path, commit_interval_s: float) -> None:
        self._spool = Spool(path)
        self._records = round(INSTRUMENTS * commit_interval_s / INTERVAL_S)
        self.slowest_s = 0.0

    def commit(self) -> None:
        """Commit once."""
        records = [Record(now(), "", b'"kind":"raw"' + b" " * _RECORD_BYTES)] * self._records
        begin_s = time.monotonic()
        self._spool.commit(records)
        self.slowest_s = max(self.slowest_s, time.monotonic() - begin_s)

    def close(self) -> None:
        """Close the file."""
        self._spool.close()


def main() -> int:
    """Run, judge, print."""
    chosen = options(__doc__, 200).parse_args()
    print(f"{chosen.count} kills, seed {chosen.seed}, commit_interval {chosen.commit_interval:g} s", flush=True)
    figures = Figures(1)
    with Trial(chosen) as trial:
        judge = Judge(trial.spool, trial.directory / "copy.db")
        yardstick = Yardstick(trial.directory / "yardstick.db", chosen.commit_interval)
        early = [trial.chance.random() < EARLY for _ in range(chosen.count)]
        for is_early in early:
            judge.look(trial.live(judge.newest, yardstick.commit, is_early=is_early))
        yardstick.close()
        figures.exactly("exit status of a last life that ends politely", trial.stop_politely(), 0)
        figures.show("kills of which in the start", f"{len(early)} {sum(early)}")
        figures.show("records stored", judge.newest)
        figures.show("slowest commit beside the daemon", yardstick.slowest_s * 1000, "ms")
        judge.show(figures, chosen.commit_interval + yardstick.slowest_s + chosen.late)
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
