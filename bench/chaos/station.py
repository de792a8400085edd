"""The daemon under test, started again whenever it ends, as systemd does; and what its clock shows."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from bench.chaos.instruments import profile
from bench.chaos.platform import STATION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.chaos.lines import SerialLine, TcpLine
    from bench.chaos.network import Network

RESTART_S = 1.0
_WORD = struct.Struct("q")


class Station:
    """One daemon over one configuration, in a folder."""

    def __init__(self, folder: Path, spool: Path, network: Network, broker: str) -> None:
        self.folder, self.spool, self._network, self._broker = folder, spool, network, broker
        self.log = folder / "stationd.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.ends: Counter[str] = Counter()
        self.starts = 0
        self.lives: list[tuple[float, float]] = []
        self.expected = ""
        self.clock = Clock(folder / "clock")
        self._is_held = self._is_closed = False
        self._lock = threading.RLock()
        self._thread = threading.Thread(target=self._supervise, name="systemd", daemon=True)

    def write(self, lines: Sequence[TcpLine | SerialLine], more: str, spool_keys: str) -> None:
        """Write the configuration; `more` are further lines of [broker]."""
        config = self.folder / "config"
        for name in ("instruments", "profiles"):
            (config / name).mkdir(parents=True, exist_ok=True)
        (config / "profiles" / "bench.toml").write_text(profile())
        tables = "\n".join(f"[lines.{line.name}]\n{line.config}" for line in lines)
        (config / "station.toml").write_text(
            f'[station]\nid = "{STATION}"\n\n[broker]\nurl = "mqtt://{self._broker}"\nreconnect_max = "1s"\n'
            f'ack_timeout = "3s"\nkeepalive = "5s"\nconnect_timeout = "2s"\n'
            f'message_size = "1kB"\npack_after = "500ms"\n{more}\n'
            f'[spool]\npath = "{self.spool}"\n{spool_keys}\n[clock]\ntrust = "always"\n\n{tables}'
        )
        for line in lines:
            for instrument in line.instruments:
                head, _, options = instrument.config().partition("[options]")  # type: ignore[attr-defined]
                text = f'{head}line = "{line.name}"\ninterval = "1s"\n' + (f"[options]{options}" if options else "")
                (config / "instruments" / f"{instrument.name}.toml").write_text(text)

    def start(self) -> None:
        """Start it, and go on doing so."""
        self._start()
        self._thread.start()

    @property
    def pid(self) -> int:
        """The process of the daemon, 0 if there is none at this moment."""
        process = self.process
        return process.pid if process is not None and process.poll() is None else 0

    def kill(self, reason: str) -> None:
        """SIGKILL, now."""
        with self._lock:
            if self.pid and self.process is not None:
                self.expected = reason
                self.process.kill()

    def hold(self) -> None:
        """Kill it and leave it dead until `release`."""
        with self._lock:
            self._is_held = True
            self.kill("held dead")
        if self.process is not None:
            self.process.wait()

    def release(self) -> None:
        """Let it be started again."""
        self._is_held = False

    def restart(self) -> None:
        """End it in order; it is started again."""
        if self.pid and self.process is not None:
            self.expected = "restarted in order"
            self.process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """End it for good."""
        self._is_closed = True
        self._thread.join(5)
        if self.process is not None:
            self._end(self.process)
            self.lives.append((self._started_s, time.monotonic()))
            self.process = None

    def defects(self) -> list[str]:
        """Give the lines of its log that say that stationd itself is wrong."""
        words = ("Traceback", "this is a defect of stationd", "Fatal Python error")
        return [line for line in self.log.read_text(errors="replace").splitlines() if any(w in line for w in words)]

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self) -> None:
        command = [str(Path(sys.executable).with_name("stationd")), "--config", str(self.folder / "config"), "run"]
        with self.log.open("ab") as log:
            log.write(f"--- {time.strftime('%H:%M:%S')} start {self.starts + 1}\n".encode())
            log.flush()
            self.process = subprocess.Popen(
                self._network.command(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | self.clock.environment,
            )
        self.starts += 1
        self._started_s = time.monotonic()

    def _supervise(self) -> None:
        while not self._is_closed:
            time.sleep(0.05)
            if self.process is None or (code := self.process.poll()) is None:
                continue
            why = self.expected or f"by itself, code {code}: {self._last_words()}"
            self.ends[why] += 1
            self.lives.append((self._started_s, time.monotonic()))
            self.expected = ""
            self.process = None
            time.sleep(RESTART_S)
            while self._is_held and not self._is_closed:
                time.sleep(0.05)
            with self._lock:
                if not self._is_closed:
                    self._start()

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return lines[-1].replace(str(self.spool), "spool.db")[:150] if lines else ""


class Clock:
    """The wall clock of the daemon, moved by a library (clock.c) that is preloaded, where there is a compiler for it.

    Not by libfaketime, which reads a file at each call and is not made for threads: of 326,405 readings in a process
    whose other threads were waiting, 258 gave the true time, and now and then it ends the process.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.offsets: list[tuple[float, float]] = [(0.0, 0.0)]
        self.environment: dict[str, str] = {}
        compiler = next((found for name in ("tcc", "cc") if (found := shutil.which(name))), None)
        if compiler:
            library = file.with_suffix(".so")
            source = Path(__file__).with_name("clock.c")
            subprocess.run([compiler, "-shared", "-fPIC", "-nostdlib", "-o", library, source], check=True)
            self.environment = {"LD_PRELOAD": str(library), "STEPPED_CLOCK": str(file)}
            file.write_bytes(_WORD.pack(0))

    @property
    def can_step(self) -> bool:
        """Whether `step` has an effect."""
        return bool(self.environment)

    def step(self, offset_s: float) -> None:
        """Let the daemon's clock differ from the true one by so much, from now on."""
        with self._file.open("r+b", buffering=0) as file:
            file.write(_WORD.pack(round(offset_s)))
        self.offsets.append((time.monotonic(), offset_s))

    def steps(self) -> list[tuple[float, float]]:
        """Give when it was stepped (monotonic) and by how many seconds."""
        pairs = itertools.pairwise(self.offsets)
        return [(at_s, after_s - before_s) for (_, before_s), (at_s, after_s) in pairs if after_s != before_s]

    def possible(self, moment_s: float, around_s: float) -> set[float]:
        """Give the offsets that held at a moment, or that near to it."""
        found = set()
        for place, (since_s, offset_s) in enumerate(self.offsets):
            until_s = self.offsets[place + 1][0] if place + 1 < len(self.offsets) else float("inf")
            if since_s - around_s <= moment_s <= until_s + around_s:
                found.add(offset_s)
        return found
