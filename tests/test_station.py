"""The daemon as a process: start, stop, SIGKILL, and what it refuses to start with."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from instrument_peers import TcpInstrument
from waiting import until

from agent.spool import Reader, SpoolError

STATION = """
[station]
id = "DL-001"
name = "Xigang"
[broker]
url = "mqtt://127.0.0.1:{broker}"
reconnect_max = "1s"
[spool]
path = "{spool}"
commit_interval = "100ms"
[lines.rack]
tcp = "127.0.0.1:{port}"
"""
PROFILE = """# Acme 100; invented for this test
table = "holding"
[channels]
so2 = { parameter = "SO2", unit = "ppb", register = 7, format = "u16" }
"""


class Daemon:
    """A configuration and the daemon that runs on it."""

    def __init__(self, folder, broker_port, instrument_port):
        self.spool, self._folder = folder / "spool.db", folder
        (folder / "profiles").mkdir()
        (folder / "instruments").mkdir()
        (folder / "profiles" / "acme.toml").write_text(PROFILE)
        (folder / "instruments" / "so2.toml").write_text('driver = "acme"\nline = "rack"\ninterval = "100ms"\n')
        self.configure(broker_port, instrument_port, self.spool)
        self.process = None

    def configure(self, broker_port, instrument_port, spool):
        text = STATION.format(broker=broker_port, spool=spool, port=instrument_port)
        (self._folder / "station.toml").write_text(text)

    def start(self, **environment):
        self.process = self.launch(**environment)
        return self

    def launch(self, **environment):
        words = ["-c", "import sys; from agent.cli import main; sys.exit(main())"]
        return subprocess.Popen(
            [sys.executable, *words, "--config", self._folder, "run"],
            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=environment or None,
        )  # fmt: skip

    def end(self, number=signal.SIGTERM):
        """Send a signal; gives the exit status and the log."""
        self.process.send_signal(number)
        _, log = self.process.communicate(timeout=10)
        return self.process.returncode, log

    def newest(self):
        """Give the newest seq; 0 while the file is being made."""
        try:
            return self.read(lambda reader: reader.newest())
        except SpoolError:
            return 0

    def read(self, what):
        reader = Reader(self.spool)
        try:
            return what(reader)
        finally:
            reader.close()


@pytest.fixture
def instrument():
    instrument = TcpInstrument("tcp")
    yield instrument
    instrument.stop()


@pytest.fixture
def daemon(tmp_path, broker, instrument):
    daemon = Daemon(tmp_path, broker.port, instrument.port)
    yield daemon
    if daemon.process and daemon.process.poll() is None:
        daemon.process.kill()
        daemon.process.communicate()


def test_a_station_ends_within_five_seconds_with_all_committed_and_delivered(daemon, platform):
    """SIGTERM: exit 0, the last record says stop, everything is acknowledged, the state says offline."""
    daemon.start()
    until(lambda: len(platform.records("data")) > 10)
    began = time.monotonic()
    status, log = daemon.end()
    assert (status, log) == (0, "")
    assert time.monotonic() - began < 5
    newest = daemon.newest()
    assert list(daemon.read(lambda reader: reader.acknowledged())) == [(1, newest)]
    until(lambda: platform.seqs() == list(range(1, newest + 1)))
    assert platform.records()[-1]["event"] == "stop"
    assert until(lambda: platform.of("state")[-1].document["status"] == "offline")


def test_a_station_that_was_killed_says_since_when_and_counts_on(daemon, platform):
    """SIGKILL loses nothing committed; the next start records the outage, and no seq is used again."""
    daemon.start()
    until(lambda: len(platform.records("data")) > 5)
    daemon.end(signal.SIGKILL)
    committed = daemon.newest()
    last = daemon.read(lambda reader: reader.records(committed, committed, 0))[0]
    daemon.start()
    until(lambda: len({record["seq"] for record in platform.records()}) > committed + 5)
    assert set(platform.seqs()) >= set(range(1, committed + 1))
    away = next(record for record in platform.records() if record["kind"] == "outage" and "instrument" not in record)
    assert (away["seq"], away["reason"]) == (committed + 1, "crashed")
    assert away["from"] == next(record["at"] for record in platform.records() if record["seq"] == last.seq)
    assert away["to"] == away["at"]
    daemon.end()


def test_a_second_daemon_on_the_same_spool_is_refused_with_a_clear_word(daemon):
    """One line with the number of the process that has it, and exit status 1."""
    daemon.start()
    until(lambda: daemon.newest() > 0)
    second = daemon.launch()
    _, log = second.communicate(timeout=10)
    assert second.returncode == 1
    assert log.count("\n") == 1
    assert f"is in use by another stationd (process {daemon.process.pid})" in log
    daemon.end()


def test_a_spool_that_cannot_be_written_is_one_clear_line(daemon, small_disk, broker, instrument):
    """A read-only disk at start: said once, exit status 1; never on without storing."""
    disk = small_disk(2000)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    daemon.configure(broker.port, instrument.port, disk / "spool.db")
    daemon.start()
    _, log = daemon.process.communicate(timeout=10)
    assert daemon.process.returncode == 1
    assert log.count("\n") == 1
    assert "Read-only file system" in log


def test_systemd_hears_ready_and_stopping(daemon, tmp_path):
    """READY=1 when the threads run, STOPPING=1 at the end, WATCHDOG=1 in between when it is asked for."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(10)
        daemon.start(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="300000")
        words = [systemd.recv(100) for _ in range(2)]
        daemon.end()
        while words[-1] != b"STOPPING=1":
            words.append(systemd.recv(100))
    assert words[:2] == [b"READY=1", b"WATCHDOG=1"]


def test_every_mistake_in_station_toml_stops_the_start(daemon, tmp_path):
    """All of them at once, with their lines; nothing is opened."""
    file = Path(tmp_path / "station.toml")
    file.write_text(file.read_text().replace("mqtt://", "mqtx://").replace("tcp =", "tpc ="))
    daemon.start()
    _, log = daemon.process.communicate(timeout=10)
    assert daemon.process.returncode == 1
    assert f"{file}:6: broker.url" in log
    assert "did you mean tcp?" in log
    assert not daemon.spool.exists()
