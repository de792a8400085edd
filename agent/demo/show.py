"""The demo station: instruments, broker, uplink, the platform's end and the real daemon; and what can be done to it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agent.demo.arrivals import Platform
from agent.demo.broker import Broker, end
from agent.demo.plan import STATION, write_files
from agent.demo.simulated import Simulation
from agent.demo.uplink import Uplink
from agent.simulate.mood import Mood
from agent.spool.ranges import Ranges
from agent.spool.spool import Reader, SpoolError
from drivers.clock import monotonic_s, sleep_s

if TYPE_CHECKING:
    from collections.abc import Callable

DEAD_S = 3.0
_STOP_S = 6.0
_LISTEN_S = 10.0
_NOTED_S = 1.2
"""So long after an acknowledgement the spool knows of it, and some."""
_DRAIN_S = 10.0


class Show:
    """Everything that runs, in one directory. `notes` are the things that happened, newest last."""

    def __init__(self, directory: Path, *, wants_mosquitto: bool = True) -> None:
        self.notes: list[str] = []
        self.began_s = monotonic_s()
        self.kills = 0
        self._directory = directory
        self._spool = directory / "spool.db"
        self._reader: Reader | None = None
        self._daemon: subprocess.Popen[bytes] | None = None
        self._restart_at_s = 0.0
        self._next_silent = 0
        self.simulation = Simulation(directory)
        self.broker = Broker(directory, wants_mosquitto=wants_mosquitto)
        self.uplink = Uplink(self.broker.port)
        self._ends = contextlib.ExitStack()
        self._ends.callback(self.uplink.close)
        places = self.simulation.places
        write_files(directory / "config", self.uplink.port, self._spool, self.broker.protocol, places)

    def start(self) -> None:
        """Start it all."""
        self._ends.callback(self.simulation.close)
        self.simulation.start()
        self._ends.callback(self.broker.stop)
        self.broker.start()
        self.platform = Platform(self.broker.port, STATION, self.broker.protocol)
        self._ends.callback(self.platform.close)
        self._open_uplink()
        self._ends.callback(self._end_daemon)
        self.start_daemon()

    def close(self) -> None:
        """End what was started; the daemon first, so that it can say goodbye."""
        self._ends.close()

    @property
    def daemon_runs(self) -> bool:
        """Whether the daemon's process is there."""
        return self._daemon is not None and self._daemon.poll() is None

    @property
    def daemon_log(self) -> str:
        """What the daemon has written."""
        return (self._directory / "stationd.log").read_text(errors="replace")

    def spool(self) -> Reader | None:
        """Give a reader of what is stored, once there is a spool."""
        if self._reader is None and self._spool.exists():
            try:
                self._reader = Reader(self._spool)
            except SpoolError:
                return None
        return self._reader

    def spool_bytes(self) -> int:
        """Give the size of the spool on disk, its write-ahead log included."""
        return sum(
            file.stat().st_size
            for file in self._directory.glob("spool.db*")
            if file.suffix not in (".ballast", ".spare", ".packed")
        )

    def press(self, key: str) -> None:
        """Do what a key stands for."""
        actions = {"b": self.turn_broker, "u": self.turn_uplink, "i": self.turn_instrument, "k": self.kill_daemon}
        if key in actions:
            actions[key]()

    def turn_broker(self) -> None:
        """Stop the broker, or start it."""
        if self.broker.is_running:
            self.uplink.shut()
            sleep_s(_NOTED_S)  # what the broker acknowledged must reach the platform, for this broker forgets
            wait_until(self._is_drained, _DRAIN_S)
            self.broker.stop()
            self.note("broker stopped: records pile up in the spool")
        else:
            self.broker.start()
            self._open_uplink()
            self.note("broker started: the present first, then the backlog")

    def turn_uplink(self) -> None:
        """Freeze the uplink, or reset it."""
        if self.uplink.is_frozen:
            self.uplink.reset()
            self.note("uplink reset: it carries again")
        else:
            self.uplink.freeze()
            self.note("uplink frozen: connections stay, nothing passes")

    def turn_instrument(self) -> None:
        """Silence the next instrument, or let the silent one speak."""
        instruments = list(self.simulation.instruments.values())
        silent = next((one for one in instruments if one.mood is Mood.SILENT), None)
        if silent is not None:
            silent.be(Mood.WELL)
            self.note(f"{silent.name} answers again")
        else:
            chosen = instruments[self._next_silent % len(instruments)]
            self._next_silent += 1
            chosen.be(Mood.SILENT)
            self.note(f"{chosen.name} is silent")

    def kill_daemon(self) -> None:
        """Kill the daemon without a warning; `tend` starts it again after a while."""
        if self._daemon is not None and self.daemon_runs:
            self._daemon.send_signal(signal.SIGKILL)
            self._daemon.wait()
            self.kills += 1
            self._restart_at_s = monotonic_s() + DEAD_S
            self.note(f"daemon killed with SIGKILL, starts again in {DEAD_S:.0f} s")

    def start_daemon(self) -> None:
        """Start the real daemon on the demo's files."""
        command = [str(Path(sys.executable).with_name("stationd")), "--config", str(self._directory / "config"), "run"]
        with (self._directory / "stationd.log").open("ab") as log:
            self._daemon = subprocess.Popen(  # noqa: S603  our own command
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._restart_at_s = 0.0

    def _end_daemon(self) -> None:
        if self._daemon is not None:
            end(self._daemon, _STOP_S)
        if self._reader is not None:
            self._reader.close()

    def tend(self) -> None:
        """Start a daemon that ended, as systemd would."""
        if self.daemon_runs:
            return
        if not self._restart_at_s:
            self._restart_at_s = monotonic_s() + DEAD_S
            self.note("the daemon ended by itself; see its log")
        elif monotonic_s() >= self._restart_at_s:
            self.start_daemon()
            self.note("daemon started")

    def mend(self) -> None:
        """Undo everything that was done to it."""
        for one in self.simulation.instruments.values():
            one.be(Mood.WELL)
        if self.uplink.is_frozen:
            self.turn_uplink()
        if not self.broker.is_running:
            self.turn_broker()
        wait_until(self._is_tended, DEAD_S + 1)

    def _is_tended(self) -> bool:
        self.tend()
        return self.daemon_runs

    def missing(self) -> int:
        """Count the records that are stored and have not reached the platform."""
        reader = self.spool()
        if reader is None:
            return 0
        newest = reader.newest()
        return self.platform.read(lambda seen: seen.received.get(reader.id, Ranges()).missing(1, newest))

    def ask_again(self) -> int:
        """Ask for what the broker acknowledged and did not pass on, for it keeps nothing; gives how much that is."""
        reader = self.spool()
        if reader is None:
            return 0
        settled = reader.acknowledged()
        for first, last in self.platform.read(lambda seen: list(seen.received.get(reader.id, ()))):
            settled.remove(first, last)
        if seqs := list(settled)[:1000]:
            self.platform.ask(reader.id, seqs)
        return sum(last - first + 1 for first, last in seqs)

    def _is_drained(self) -> bool:
        reader = self.spool()
        delivered = list(reader.acknowledged()) if reader else []
        if not reader or not delivered:
            return True
        return self.platform.read(
            lambda seen: not any(seen.received.get(reader.id, Ranges()).gap(*one) for one in delivered)
        )

    def note(self, text: str) -> None:
        """Remember what happened, with its second."""
        self.notes.append(f"{monotonic_s() - self.began_s:5.1f} s  {text}")

    def _open_uplink(self) -> None:
        """Let the daemon reach the broker once the platform listens, which a clean session has to do anew."""
        wait_until(lambda: self.platform.is_listening, _LISTEN_S)
        self.uplink.open()


def wait_until(condition: Callable[[], object], within_s: float) -> bool:
    """Poll a condition; False if it did not come true in time."""
    deadline_s = monotonic_s() + within_s
    while not condition():
        if monotonic_s() > deadline_s:
            return False
        sleep_s(0.05)
    return True
