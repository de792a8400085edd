"""A station under every fault at once, and a verdict.

    python -m bench.chaos --seconds 600 --seed 7

Each fault alone once, in the order of `bench/chaos/faults.py`, then pairs of them at random; one at least every 10 s.
Exits with 0 if everything that was committed arrived, unchanged, and nothing else did. On failure the files stay.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.chaos import network
from bench.chaos.judge import Judge
from bench.chaos.reference import Reference
from bench.chaos.run import Choice, Run
from bench.chaos.world import World

if TYPE_CHECKING:
    from types import FrameType

SHOWN = 8
DAMAGE = ("the spool flipped", "the spool zeroed", "the spool overwritten", "spool truncated")


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--every", type=float, default=9.5, help="seconds from fault to fault")
    parser.add_argument("--settle", type=float, default=240, help="most seconds that the drain may take")
    parser.add_argument("--directory", type=Path, default=None, help="where files go")
    parser.add_argument("--delivered-by", choices=("receipt", "acknowledgement"), default="receipt")
    parser.add_argument("--without-namespaces", action="store_true", help="as if this was not root")
    parser.add_argument("--only", action="append", default=[], help="faults with this in their name; may be repeated")
    parser.add_argument("--without", action="append", default=[], help="no faults with this in their name")
    parser.add_argument("--order", choices=("fixed", "random"), default="fixed", help="of the faults that come alone")
    parser.add_argument("--receiver", action="store_true", help="docs/receiver.py listens, asks and is compared too")
    parser.add_argument("--keep", action="store_true", help="keep the files of a good run too")
    return parser.parse_args()


def main() -> int:
    """Run, judge, print."""
    chosen = options()
    signal.signal(signal.SIGTERM, _interrupt)
    is_apart = not chosen.without_namespaces and network.is_permitted()
    folder = Path(tempfile.mkdtemp(prefix="stationd-chaos-", dir=chosen.directory))
    print(f"seed {chosen.seed}, files in {folder}", flush=True)
    if not is_apart:
        print("no right to make namespaces: no network faults, no full disk; the gate does what it can")
    is_good = False
    world = World(folder, chosen.seed, receipts=chosen.delivered_by == "receipt", is_apart=is_apart)
    reference = Reference(folder, world.broker.port) if chosen.receiver else None
    if reference is not None:
        world.platform.also_stored = reference.ranges
    try:
        is_good = _run(world, chosen, reference)
    finally:
        if reference is not None:
            reference.close()
        world.close()
        if is_good and not chosen.keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            sockets = shutil.ignore_patterns("*.sock")  # of a daemon that was killed; it cannot be copied
            shutil.copytree(world.disk, folder / "spool", ignore=sockets, dirs_exist_ok=True)  # this disk is in memory
            print(f"files kept in {folder}")
    return 0 if is_good else 1


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _run(world: World, chosen: argparse.Namespace, reference: Reference | None) -> bool:
    without = chosen.without
    if chosen.delivered_by == "acknowledgement":
        print("left out: damage of the spool; what a broker acknowledged and forgot is gone with it")
        without = [*without, *DAMAGE]
    run = Run(world, chosen.seconds, chosen.every, Choice(chosen.only, without))
    for name in run.impossible:
        print(f"cannot be done here: {name}")
    run.go(is_shuffled=chosen.order == "random")
    begin_s = time.monotonic()
    is_drained = run.settle(chosen.settle)
    print(f"drained in {time.monotonic() - begin_s:.1f} s" if is_drained else "NOT DRAINED", flush=True)
    for text in run.owed()[:SHOWN]:
        print(f"          still owed: {text}")
    is_alive = bool(world.station.pid)
    judge = Judge(world, run.due)
    there = {key for key in world.platform.records if key[1] <= run.due.get(key[0], 0) and not judge.is_lost(key)}
    lacking = reference.missing(there) if reference is not None else []
    world.station.close()
    figures = judge.figures() | {
        "faults that were never recovered from": run.unrecovered,
        "records that the reference receiver lacks": lacking,
    }
    _show_faults(run)
    _show_totals(world, judge)
    is_good = is_drained and is_alive and not any(figures.values())
    for name, found in figures.items():
        print(f"{len(found):8}  {name}")
        for text in found[:SHOWN]:
            print(f"          {text[:600]}")
    print(f"seed {chosen.seed}: {'nothing lost, nothing made up' if is_good else 'FAILED'}", flush=True)
    return is_good


def _show_faults(run: Run) -> None:
    print(f"\n{'fault':66}{'times':>6}{'worst recovery':>16}")
    for name, times in run.times.items():
        worst = f"{max(run.recoveries[name]):.1f} s" if run.recoveries[name] else "-"
        print(f"{name:66}{times:6}{worst:>16}")


def _show_totals(world: World, judge: Judge) -> None:
    platform, station, committed = world.platform, world.station, world.observer.committed
    given_up = sum(last - first + 1 for lost in judge.lost.values() for first, last in lost)
    rows = {
        f"records seen committed, in {len({spool for spool, _ in committed})} spools": len(committed),
        f"records arrived, {platform.repeated} more came again, {len(judge.salvaged)} were salvaged": len(
            platform.records
        ),
        "records given up by the station, which said so": given_up,
        "answers of instruments among them": judge.answers,
        "replies to commands": len(platform.replies),
        f"looks of {world.observer.turns} at which messages lay packed ahead": world.observer.packed,
        "starts of the daemon": station.starts,
    }
    print()
    for what, count in rows.items():
        print(f"{count:8}  {what}")
    for why, times in station.ends.most_common():
        print(f"          {times:4} {why}")


if __name__ == "__main__":
    sys.exit(main())
