"""A real daemon over simulated instruments that is killed again and again; the broker is always away."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from bench.process import free_port, start, stop, wait_until
from bench.truth import Request, read_requests
from bench.witness import Witness
from bench.workload import Settings, write_config

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

INTERVAL_S = 0.1
INSTRUMENTS, CHANNELS = 10, 8
LIFE_MOST_S, EARLY_MOST_S = 1.4, 0.4
_PATIENCE_S = 20.0


class Life(NamedTuple):
    """One life of the daemon: its end, what the instruments answered in it, and what a reader saw stored."""

    end_ns: int
    answers: list[Request]
    seen: dict[int, bytes]
    ended_by_itself: bool


class Trial:
    """The set-up in one directory; a context that ends what it started. The spool may lie elsewhere."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.chance = random.Random(options.seed)
        self.directory = Path(tempfile.mkdtemp(prefix="stationd-bench-", dir=options.directory))
        self.settings = Settings(f"{INTERVAL_S}s", f"{options.commit_interval}s", '[clock]\ntrust = "always"\n')
        self.options = argparse.Namespace(instruments=INSTRUMENTS, channels=CHANNELS, ack_timeout=10, keep=options.keep)
        self.config = self.directory / "config"
        self.spool = self.directory / "spool.db"
        self.uplink_port = free_port()
        self._simulator: subprocess.Popen[str] | None = None
        self._daemon: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        counts = ["--instruments", str(INSTRUMENTS), "--channels", str(CHANNELS)]
        command = [sys.executable, "-m", "bench.simulator", *counts, "--log", str(self._log)]
        self._simulator, port = start(command, self.directory / "simulator.log", ready="ready")
        self.first_port = int(port)
        write_config(self)
        return self

    def __exit__(self, *exception: object) -> None:
        for child in (self._daemon, self._simulator):
            if child is not None:
                stop(child)
        if self.options.keep or exception[0] is not None:
            print(f"files kept in {self.directory}")
        else:
            shutil.rmtree(self.directory)

    def put_spool_into(self, directory: Path) -> None:
        """Have the spool elsewhere."""
        self.spool = directory / "spool.db"
        write_config(self)

    def live(self, newest: int, meanwhile: Callable[[], None] | None = None, *, is_early: bool) -> Life:
        """Start the daemon and kill it: some time after its first answer, or (`is_early`) after it took the spool.

        The reader beside it looks at records behind `newest`.
        """
        begin_ns, watched = time.time_ns(), self._opened if is_early else self._asked
        before, daemon = watched(), self._start()
        witness = Witness(self.spool, self.directory / "witness.bin", newest)
        wait_until(lambda: watched() != before or daemon.poll() is not None, _PATIENCE_S, every_s=0.002)
        if is_early:
            time.sleep(self.chance.uniform(0, EARLY_MOST_S))
        else:
            self._wait(self.chance.uniform(0, LIFE_MOST_S), meanwhile)
        ended_by_itself = daemon.poll() is not None
        end_ns = time.time_ns()
        daemon.kill()
        daemon.wait()
        answers = [one for one in read_requests(self._log) if one.arrived_ns >= begin_ns]
        return Life(end_ns, answers, witness.kill(), ended_by_itself)

    def stop_politely(self) -> int:
        """Start the daemon once more, let it be asked to end after an answer; gives its exit status."""
        asked, daemon = self._asked(), self._start()
        wait_until(lambda: self._asked() != asked or daemon.poll() is not None, _PATIENCE_S)
        stop(daemon)
        return int(daemon.returncode)

    def _start(self) -> subprocess.Popen[str]:
        command = [str(Path(sys.executable).with_name("stationd")), "--config", str(self.config), "run"]
        self._daemon, _ = start(command, self.directory / "stationd.log")
        return self._daemon

    def _wait(self, seconds: float, meanwhile: Callable[[], None] | None) -> None:
        until_s = time.monotonic() + seconds
        if meanwhile:
            meanwhile()
        time.sleep(max(0.0, until_s - time.monotonic()))

    def _asked(self) -> int:
        """Give what changes with every answer of an instrument."""
        return self._log.stat().st_size

    def _opened(self) -> int:
        """Give what changes when a daemon takes the spool, before it looks into it."""
        lock = Path(f"{self.spool}.lock")
        return lock.stat().st_mtime_ns if lock.exists() else 0

    @property
    def _log(self) -> Path:
        return self.directory / "requests.bin"


def options(about: str | None, count: int) -> argparse.ArgumentParser:
    """Give the parser of the options that both trials share."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=count, help=f"how often; default: {count}")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="what chooses moments and sectors")
    parser.add_argument("--commit-interval", type=float, default=0.5, help="seconds; default: 0.5")
    parser.add_argument("--late", type=float, default=0.0, help="seconds that a busy machine may be late; default: 0")
    parser.add_argument("--directory", type=Path, help="where the files go")
    parser.add_argument("--keep", action="store_true", help="keep the files")
    return parser
