"""The real daemon as a process of its own, over a configuration in files."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from waiting import until

from agent.spool.ranges import Ranges
from agent.spool.spool import Reader, SpoolError

COMMAND = Path(sys.executable).with_name("stationd")
PROFILE = """\
# Invented: an instrument whose registers hold their own addresses.
table = "holding"
[channels]
a = { parameter = "none", unit = "1", register = 7, format = "u16" }
b = { parameter = "none", unit = "1", register = 8, format = "u16" }
"""


class Daemon:
    """A station in a folder; `start` may be called again after it ended."""

    def __init__(self, folder, broker_port, lines, *, spool=None):
        self.folder, self.spool = folder / "etc", spool or folder / "spool.db"
        (self.folder / "instruments").mkdir(parents=True)
        (self.folder / "profiles").mkdir()
        (self.folder / "profiles" / "peer.toml").write_text(PROFILE)
        tables = "".join(f"[lines.{name}]\n{words}\n" for name, words in lines.items())
        (self.folder / "station.toml").write_text(
            f'[station]\nid = "DL-001"\n[broker]\nurl = "mqtt://127.0.0.1:{broker_port}"\nreconnect_max = "1s"\n'
            f'[spool]\npath = "{self.spool}"\ncommit_interval = "200ms"\n{tables}'
        )
        for name in lines:
            self.instrument(name, f'driver = "peer"\nline = "{name}"\ninterval = "200ms"\n')
        self._log = folder / "daemon.log"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._listener.bind(str(folder / "notify"))
        self._listener.setblocking(False)
        self._environment = os.environ | {"NOTIFY_SOCKET": str(folder / "notify")}
        self.said = []

    def instrument(self, name, text):
        (self.folder / "instruments" / f"{name}.toml").write_text(text)

    def start(self, *words, **environment):
        """Start it and wait until it says that it is ready, or ends."""
        self.said.clear()
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [COMMAND, "--config", self.folder, "run", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment | environment,
            )
        until(lambda: "READY=1" in self.notes() or self.process.poll() is not None, 20)
        return self

    def notes(self):
        """Give what it said to systemd so far."""
        try:
            while True:
                self.said.append(self._listener.recv(1000).decode())
        except BlockingIOError:
            return self.said

    def stop(self):
        """End it as systemd does; gives how long it took."""
        begin_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        return time.monotonic() - begin_s

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if hasattr(self, "process") and self.process.poll() is None:
            self.kill()
        self._listener.close()

    @property
    def lines(self):
        return self._log.read_text().splitlines()

    @property
    def troubles(self):
        """Give the lines that are more than information."""
        return [line for line in self.lines if re.match("WARNING|ERROR|CRITICAL", line)]

    def stored(self):
        """Give the newest seq and what of it is acknowledged, as the file says."""
        try:
            reader = Reader(self.spool)
        except SpoolError:
            return 0, Ranges()
        try:
            return reader.newest(), reader.acknowledged()
        finally:
            reader.close()

    def command(self, *words):
        """Run another command of stationd over the same configuration."""
        return subprocess.run(
            [COMMAND, "--config", self.folder, *words], capture_output=True, text=True, check=False, timeout=30
        )
