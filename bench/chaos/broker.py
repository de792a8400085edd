"""The real mosquitto, with and without a memory."""

from __future__ import annotations

import getpass
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

from bench.process import free_port, is_listening, wait_until

if TYPE_CHECKING:
    from pathlib import Path

REMEMBERING = "persistence true\npersistence_location {folder}/\nautosave_interval 1\nautosave_on_changes true\n"
FORGETFUL = "persistence false\n"


class Broker:
    """A mosquitto on a fixed port of 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, memory: str = REMEMBERING, more: str = "") -> None:
        """Start it and wait until it accepts connections; `more` are further lines of its configuration."""
        file = self._folder / "mosquitto.conf"
        words = f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser {getpass.getuser()}\n"
        file.write_text(words + memory.format(folder=self._folder) + f"max_queued_messages 0\n{more}")
        command = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        if command is None:
            raise SystemExit("mosquitto is not installed")
        with (self._folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen([command, "-c", file], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if not wait_until(lambda: is_listening(self.port), 10):
            raise SystemExit(f"mosquitto did not start: see {self._folder}")

    def stop(self) -> None:
        """SIGTERM."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def forget(self) -> None:
        """Lose what is on disk."""
        (self._folder / "mosquitto.db").unlink(missing_ok=True)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.send_signal(signal.SIGCONT)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
