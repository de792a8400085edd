"""Workload A: 50 Modbus TCP instruments of 20 float32, once a second each, a real mosquitto, the real daemon.

Everything runs in processes of its own; this module writes their files, starts and stops them.
"""

from __future__ import annotations

import getpass
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from bench.process import free_port, is_listening, start, stop, wait_until
from bench.received import Received
from bench.truth import Request, channel_names, instrument_name, read_requests

if TYPE_CHECKING:
    import argparse
    import subprocess

INTERVAL_S = 1
COMMIT_INTERVAL_S = 1.0
RECONNECT_MAX_S = 1.0


class Settings(NamedTuple):
    """What a bench may have otherwise in the daemon's configuration; `broker` are further lines of its table."""

    interval: str = f"{INTERVAL_S}s"
    commit_interval: str = f"{COMMIT_INTERVAL_S:g}s"
    broker: str = ""


USUAL = Settings()


class Broker:
    """A mosquitto of our own that remembers the counter's session while it is stopped."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._file = directory / "mosquitto.conf"
        self._log = directory / "mosquitto.log"
        self._process: subprocess.Popen[str] | None = None
        self._file.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser {getpass.getuser()}\n"
            f"persistence true\npersistence_location {directory}/\nautosave_interval 0\n"
            "max_queued_messages 0\nset_tcp_nodelay true\n"
        )

    def start(self) -> int:
        """Start it and give the wall-clock time in ns at which it accepted a connection."""
        command = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/sbin")
        if command is None:
            raise SystemExit("mosquitto is not installed: apt install mosquitto")
        self._process, _ = start([command, "-c", str(self._file)], self._log)
        if not wait_until(lambda: is_listening(self.port), 10, every_s=0.01):
            raise SystemExit(f"mosquitto did not start: {self._log.read_text()[-2000:]}")
        return time.time_ns()

    def stop(self) -> None:
        """Stop it as `systemctl stop` does."""
        if self._process is not None:
            stop(self._process)


class Workload:
    """The whole set-up in one directory; a context that ends what it started."""

    def __init__(self, options: argparse.Namespace, settings: Settings = USUAL) -> None:
        self.options, self.settings = options, settings
        self.directory = Path(tempfile.mkdtemp(prefix="stationd-bench-", dir=options.directory))
        self.spool = self.directory / "spool.db"
        self.broker = Broker(self.directory)
        self.uplink_port = self.broker.port
        self.daemon: subprocess.Popen[str] | None = None
        self._children: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        self.broker.start()
        module = [sys.executable, "-m"]
        counts = ["--instruments", str(self.options.instruments), "--channels", str(self.options.channels)]
        simulator = [*module, "bench.simulator", *counts, "--log", str(self.directory / "requests.bin")]
        child, port = start(simulator, self.directory / "simulator.log", ready="ready")
        self._children.append(child)
        self.simulator = child
        self.first_port = int(port)
        (self.directory / "received.bin").touch()
        counter = [
            "bench.subscriber",
            "--port",
            str(self.broker.port),
            "--file",
            str(self.directory / "received.bin"),
        ]
        child, _ = start([*module, *counter], self.directory / "counter.log", ready="ready")
        self._children.append(child)
        self.received = Received(self.directory / "received.bin")
        return self

    def __exit__(self, *exception: object) -> None:
        if self.daemon is not None:
            stop(self.daemon)
        for child in self._children:
            stop(child)
        self.broker.stop()
        if self.options.keep or exception[0] is not None:
            print(f"files kept in {self.directory}")
        else:
            shutil.rmtree(self.directory)

    @property
    def config(self) -> Path:
        """The daemon's configuration directory."""
        return self.directory / "config"

    def requests(self, begin_ns: int = 0, end_ns: int = 2**63) -> list[Request]:
        """Give the requests which the instruments saw in a span of wall-clock time."""
        return [one for one in read_requests(self.directory / "requests.bin") if begin_ns <= one.arrived_ns < end_ns]

    def start_daemon(self) -> subprocess.Popen[str]:
        """Start the daemon and give it back; whether it can deliver is not waited for."""
        write_config(self)
        command = [str(Path(sys.executable).with_name("stationd")), "--config", str(self.config), "run"]
        self.daemon, _ = start(command, self.daemon_log)
        return self.daemon

    def warm_up(self) -> int:
        """Start the daemon, wait for a delivery, let it run in; gives a time in ns between two slots."""
        self.start_daemon()
        wait_until(lambda: self._is_dead() or self.received.update().polls, 20)
        self.run_for(self.options.lead)
        return self.between_slots()

    def run_for(self, seconds: float) -> None:
        """Let everything run, and say at once if the daemon died."""
        wait_until(self._is_dead, seconds, every_s=0.2)
        self._fail_if_dead()

    def between_slots(self) -> int:
        """Wait until the middle between two slots and give that time in wall-clock ns."""
        time.sleep(INTERVAL_S - (time.time() + INTERVAL_S / 2) % INTERVAL_S)
        return time.time_ns()

    def settle(self, begin_ns: int, end_ns: int, within_s: float) -> Received:
        """Wait until all that the instruments answered in a span has arrived, or the time is up."""
        due = {(one.instrument, one.number) for one in self.requests(begin_ns, end_ns)}
        wait_until(lambda: self._is_dead() or due <= self.received.update().requests, within_s, every_s=0.2)
        self._fail_if_dead()
        return self.received

    @property
    def daemon_log(self) -> Path:
        """What the daemon wrote to its standard output and error."""
        return self.directory / "stationd.log"

    def _is_dead(self) -> bool:
        return self.daemon is not None and self.daemon.poll() is not None

    def _fail_if_dead(self) -> None:
        if self.daemon is not None and self._is_dead():
            raise SystemExit(f"the daemon ended with {self.daemon.returncode}:\n{self.daemon_log.read_text()[-3000:]}")


def write_config(workload: Workload) -> None:
    """Write the daemon's files: one line an instrument, one profile of the site for all."""
    config, options, settings = workload.config, workload.options, workload.settings
    (config / "instruments").mkdir(parents=True, exist_ok=True)
    (config / "profiles").mkdir(exist_ok=True)
    instruments = range(options.instruments)
    lines = [f'[lines.{instrument_name(n)}]\ntcp = "127.0.0.1:{workload.first_port + n}"\n' for n in instruments]
    (config / "station.toml").write_text(
        '[station]\nid = "BENCH"\nname = "Workload A"\n\n'
        f'[broker]\nurl = "mqtt://127.0.0.1:{workload.uplink_port}"\nreconnect_max = "{RECONNECT_MAX_S:g}s"\n'
        f'ack_timeout = "{options.ack_timeout}s"\n{settings.broker}\n'
        f'[spool]\npath = "{workload.spool}"\ncommit_interval = "{settings.commit_interval}"\n\n'
        + "\n".join(f'{line}framer = "tcp"\n' for line in lines)
    )
    for number in instruments:
        name = instrument_name(number)
        text = f'driver = "bench"\nline = "{name}"\naddress = 1\ninterval = "{settings.interval}"\n'
        (config / "instruments" / f"{name}.toml").write_text(text)
    (config / "profiles" / "bench.toml").write_text(_profile(options.channels))


def _profile(channels: int) -> str:
    head = '# Invented, see bench/truth.py\ntable = "input"\norder = "ABCD"\n\n[channels]\n'
    form = '{name} = {{ parameter = "simulated", unit = "1", register = {register}, format = "float32" }}\n'
    named = enumerate(channel_names(channels))
    return head + "".join(form.format(name=name, register=2 * place) for place, name in named)
