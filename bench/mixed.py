"""A station of all protocol families at once, with faults at random; every sample must be right or flagged.

    python -m bench.mixed --seconds 600 --seed 7

32 instruments, every driver in turn, played by `stationd simulate` on TCP ports and ptys; the real daemon; a real
mosquitto. Every few seconds an instrument is silent, slow, babbling, garbled, refusing or flagged, or a line is out,
for up to fifteen; then all that can are flagged, and then all is well for a while. What is stored is held against what
the instruments noted.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Self

from bench.figures import Figures
from bench.mixed_judge import judge
from bench.mixed_station import Planned, plan, write
from bench.process import stop, wait_until
from bench.workload import Broker

EVERY_S, LASTS_S, FLAGGED_S, CALM_S = (1.0, 5.0), (2.0, 15.0), 5.0, 15.0
SLOW = ("300ms", "700ms", "1500ms")
"""Time-outs are 1 s; an answer that comes after three of them is more than a line can fence off."""
FAULTS = ("silent", "slow", "babble", "garble", "refuse", "flag", "unplug")
_STATIOND = Path(sys.executable).with_name("stationd")


class Mixed:
    """The set-up in one directory; a context that ends what it started."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="stationd-mixed-", dir=options.directory))
        self.instruments: list[Planned] = plan(options.instruments, options.seed)
        self.log = self.directory / "stationd.log"
        self._keep, self._seed = options.keep, options.seed
        self._broker = Broker(self.directory)
        self._files: list[IO[bytes]] = []

    def __enter__(self) -> Self:
        self._broker.start()
        url = f"mqtt://127.0.0.1:{self._broker.port}"
        write(self.directory / "plan", self.instruments, url)
        out, said = self.directory / "config", self.directory / "simulator.log"
        spool, truth = self.directory / "spool.db", self.directory / "truth.jsonl"
        more = ["--out", out, "--broker", url, "--spool", spool, "--log", truth, "--seed", str(self._seed)]
        self.simulator = self._start("simulate", self.directory / "plan", *more, log=said)
        if not wait_until(lambda: self.simulator.poll() is not None or "ready" in said.read_text(), 60):
            raise SystemExit(f"the simulator did not start: {said.read_text()[-2000:]}")
        self.daemon = self._start("--config", out, "run", log=self.log)
        return self

    def __exit__(self, *exception: object) -> None:
        for process in (self.daemon, self.simulator):
            stop(process)
        self._broker.stop()
        for file in self._files:
            file.close()
        if self._keep or exception[0] is not None:
            print(f"files kept in {self.directory}")
        else:
            shutil.rmtree(self.directory)

    @property
    def mute(self) -> list[str]:
        """What the simulator said of instruments that it cannot play."""
        said = (self.directory / "simulator.log").read_text()
        return [line.strip() for line in said.splitlines() if "SILENT" in line]

    def tell(self, command: str) -> None:
        """Give the simulator a command."""
        assert self.simulator.stdin is not None
        self.simulator.stdin.write(f"{command}\n")
        self.simulator.stdin.flush()

    def torment(self, seconds: float) -> None:
        """Let things go wrong at random until the time is over, and all be flagged; then put everything right."""
        dice = random.Random(self._seed)
        end_s = time.monotonic() + seconds
        due: list[tuple[float, str]] = [(time.monotonic() + dice.uniform(*EVERY_S), "")]
        while self.daemon.poll() is None and due[0][0] < end_s:
            at_s, mend = due.pop(0)
            time.sleep(max(at_s - time.monotonic(), 0))
            if mend:
                self.tell(mend)
                continue
            fault, mend = self._choose(dice)
            self.tell(fault)
            due += [(at_s + dice.uniform(*LASTS_S), mend), (at_s + dice.uniform(*EVERY_S), "")]
            due.sort()
        time.sleep(max(end_s - time.monotonic(), 0))
        for mend in filter(None, (mend for _, mend in due)):
            self.tell(mend)
        for word in ("flag", "well"):
            for one in self.instruments:
                self.tell(f"{word} {one.name}")
            time.sleep(FLAGGED_S)

    def _choose(self, dice: random.Random) -> tuple[str, str]:
        """Choose a fault; gives the command for it, and the one that ends it."""
        one, fault = dice.choice(self.instruments), dice.choice(FAULTS)
        if fault == "unplug":
            return f"unplug {one.file['line']}", f"plug {one.file['line']}"
        return f"{fault} {one.name}{' ' + dice.choice(SLOW) if fault == 'slow' else ''}", f"well {one.name}"

    def _start(self, *words: str | Path, log: Path) -> subprocess.Popen[str]:
        self._files.append(log.open("wb"))
        return subprocess.Popen(
            [_STATIOND, *words], stdin=subprocess.PIPE, stdout=self._files[-1], stderr=self._files[-1], text=True
        )


def main() -> int:
    """Run, and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--instruments", type=int, default=32)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 10**6))
    parser.add_argument("--calm", type=float, default=CALM_S, help="seconds after the last fault")
    parser.add_argument("--directory", type=Path, help="where the files go")
    parser.add_argument("--keep", action="store_true", help="keep the files")
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.instruments} instruments, {options.seconds:g} s", flush=True)
    figures = Figures(1)
    with Mixed(options) as mixed:
        mixed.torment(options.seconds)
        time.sleep(options.calm)
        figures.exactly("daemon alive", int(mixed.daemon.poll() is None), 1)
        stopped_s = time.time()
        stop(mixed.daemon)
        ended_s = time.time()
        figures.exactly("daemon ended in order", mixed.daemon.returncode, 0)
        said = mixed.log.read_text(errors="replace")
        figures.exactly("tracebacks in its log", said.count("Traceback") + said.count("defect of stationd"), 0)
        figures.exactly("instruments that cannot be played", len(mixed.mute), 0)
        judge(figures, mixed.directory, mixed.instruments, (stopped_s, ended_s))
        code = figures.finish()
        if code:
            print(f"files kept in {mixed.directory}, seed {options.seed}\n", *mixed.mute, said[-2000:], sep="\n")
            mixed._keep = True  # noqa: SLF001
    return code


if __name__ == "__main__":
    sys.exit(main())
