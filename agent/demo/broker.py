"""The demo's broker, a process of its own: mosquitto where installed, else amqtt, which speaks MQTT 3.1.1 only."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from drivers.clock import monotonic_s, sleep_s

_PLACES = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/sbin"
_START_S = 15.0
_STOP_S = 5.0
_AMQTT = """\
listeners:
  default:
    type: tcp
    bind: 127.0.0.1:{port}
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin:
    allow_anonymous: true
"""


class Broker:
    """A broker on a free port of 127.0.0.1 that can be started and stopped."""

    def __init__(self, directory: Path, *, wants_mosquitto: bool = True) -> None:
        self.port = _free_port()
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        mosquitto = shutil.which("mosquitto", path=_PLACES) if wants_mosquitto else None
        self.name = "mosquitto" if mosquitto else "amqtt"
        self.protocol = "5" if mosquitto else "3.1.1"
        self._command = self._mosquitto(mosquitto) if mosquitto else self._amqtt()

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait until it accepts connections. Raises RuntimeError if it does not."""
        log = self._directory / "broker.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603  our own command
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        deadline_s = monotonic_s() + _START_S
        while not _accepts(self.port):
            if not self.is_running or monotonic_s() > deadline_s:
                raise RuntimeError(f"{self.name} did not start: {log.read_text(errors='replace')[-500:]}")
            sleep_s(0.05)

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None:
            end(self._process, _STOP_S)
            self._process = None

    def _mosquitto(self, command: str) -> list[str]:
        file = self._directory / "mosquitto.conf"
        file.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser {getpass.getuser()}\n"
            "max_queued_messages 0\nset_tcp_nodelay true\n",
            encoding="utf-8",
        )
        return [command, "-c", str(file)]

    def _amqtt(self) -> list[str]:
        file = self._directory / "amqtt.yaml"
        file.write_text(_AMQTT.format(port=self.port), encoding="utf-8")
        return [str(Path(sys.executable).with_name("amqtt")), "-c", str(file)]


def end(process: subprocess.Popen[bytes], within_s: float) -> None:
    """End a process politely, then for good."""
    process.terminate()
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False
