"""Cuts the power of a daemon under load again and again, and counts what is gone each time.

    nice python -m bench.power_cuts --count 100 --seed 7

The spool lies on a card that forgets what was not synced (`bench.faultfs`). The daemon is killed at a random moment,
and then a random part of what was not synced is forgotten, or all of it. Half of the cuts hit the start after a cut, so
there are several in a row while the spool is being recovered. Needs root, FUSE and mfusepy.

The bound is `commit_interval` and the time of one commit, as the card saw the daemon's own: the longest time from the
first write to a file that was not synced to the end of its sync. A sync takes `--slow` seconds and some.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from bench.figures import Figures
from bench.loss import Judge
from bench.process import start, stop
from bench.trial import Trial, options

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

EARLY = 0.5
"""So many of all cuts fall into the start after a cut."""
PLAIN = 0.25
"""So many of all cuts forget everything that was not synced; the others a random part of it."""


class Card:
    """The control of a mounted card."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._control = directory / ".ctl"

    def order(self, line: str) -> None:
        """Have a fault made."""
        self._control.write_text(line)

    def slowest_s(self) -> float:
        """Give the longest time from an unsynced write to the end of its sync."""
        return float(self._control.read_text())

    def cut(self, chance: random.Random) -> None:
        """Cut the power; the programs on the card are dead."""
        self.order("cut" if chance.random() < PLAIN else f"cut-random {chance.randrange(10**9)}")


@contextlib.contextmanager
def mounted(log: Path) -> Iterator[Card]:
    """Have a card in a directory of its own while the context lasts."""
    directory = Path(tempfile.mkdtemp(prefix="stationd-card-"))
    child = None
    try:
        child, _ = start([sys.executable, "-m", "bench.faultfs", str(directory)], log, ready="ready")
        yield Card(directory)
    finally:
        subprocess.run(["umount", "-l", directory], check=False, capture_output=True)
        if child is not None:
            stop(child)  # there is nothing left to serve, so it ends by itself
        with contextlib.suppress(OSError):
            directory.rmdir()


def missing() -> str:
    """Say what a card needs and is not here; an empty text if all is."""
    needs = {
        "root that may mount": os.geteuid() == 0 and _may_mount(),
        "/dev/fuse": os.access("/dev/fuse", os.R_OK | os.W_OK),
        "fusermount3 (apt install fuse3)": shutil.which("fusermount3") is not None,
        "mfusepy (pip install mfusepy)": importlib.util.find_spec("mfusepy") is not None,
    }
    return ", ".join(name for name, is_there in needs.items() if not is_there)


def _may_mount() -> bool:
    """Look for CAP_SYS_ADMIN, which root in a container has not (source: capabilities(7), proc(5))."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return any(int(line.split()[1], 16) >> 21 & 1 for line in lines if line.startswith("CapEff:"))


def main() -> int:
    """Run, judge, print."""
    parser = options(__doc__, 100)
    parser.add_argument(
        "--slow", type=float, default=0.03, help="seconds that the card takes for a sync; default: 0.03"
    )
    chosen = parser.parse_args()
    if what := missing():
        raise SystemExit(f"needs {what}")
    print(f"{chosen.count} cuts, seed {chosen.seed}, commit_interval {chosen.commit_interval:g} s", flush=True)
    figures = Figures(1)
    with contextlib.ExitStack() as stack:
        trial = stack.enter_context(Trial(chosen))
        card = stack.enter_context(mounted(trial.directory / "card.log"))
        trial.put_spool_into(card.directory)
        card.order(f"slow {chosen.slow}")
        judge = Judge(trial.spool, trial.directory / "copy.db")
        early = [trial.chance.random() < EARLY for _ in range(chosen.count)]
        for is_early in early:
            life = trial.live(judge.newest, is_early=is_early)
            card.cut(trial.chance)
            judge.look(life)
        figures.exactly("exit status of a last life that ends politely", trial.stop_politely(), 0)
        in_a_row = max((len(list(group)) for is_early, group in groupby(early) if is_early), default=0)
        figures.show("cuts, of which in the start, most in a row", f"{len(early)} {sum(early)} {in_a_row}")
        figures.show("records stored", judge.newest)
        figures.show("slowest commit, as the card saw it", card.slowest_s() * 1000, "ms")
        judge.show(figures, chosen.commit_interval + card.slowest_s() + chosen.late)
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
