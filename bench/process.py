"""A process as the kernel sees it, from /proc, and children that end with the bench."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    T = TypeVar("T")

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Use(NamedTuple):
    """What a process has used since it started, at one monotonic moment."""

    at_s: float
    cpu_s: float
    rss_mb: float
    written_bytes: int


def use(pid: int) -> Use:
    """Read CPU (user and system, all threads), memory and bytes sent to the block layer."""
    process = Path("/proc", str(pid))
    fields = process.joinpath("stat").read_text().rpartition(")")[2].split()
    cpu_s = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    written = _field(process / "io", "write_bytes")
    return Use(time.monotonic(), cpu_s, _field(process / "status", "VmRSS") / 1024, written)


def _field(file: Path, name: str) -> int:
    line = next(line for line in file.read_text().splitlines() if line.startswith(name + ":"))
    return int(line.split()[1])


def start(command: list[str], log: Path, *, ready: str = "") -> tuple[subprocess.Popen[str], str]:
    """Start a child; its errors go to `log`; with `ready`, wait for a line that begins so, give its rest."""
    with log.open("ab") as errors:
        output = subprocess.PIPE if ready else errors
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, text=True)
    if not ready:
        return child, ""
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line.startswith(ready):
        raise SystemExit(f"{command[0]} did not start: {line}{log.read_text()[-2000:]}")
    return child, line.removeprefix(ready).strip()


def stop(child: subprocess.Popen[str], within_s: float = 10.0) -> float:
    """End a child politely, then for good; gives how long it took."""
    begin = time.monotonic()
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(within_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    return time.monotonic() - begin


def free_port() -> int:
    """Give a port of 127.0.0.1 that is free at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def is_listening(port: int) -> bool:
    """Say whether something accepts connections there."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


def wait_until(condition: Callable[[], T], within_s: float, *, every_s: float = 0.05) -> T:
    """Poll a condition until it gives something true; gives what it gave last."""
    deadline = time.monotonic() + within_s
    while not (answer := condition()) and time.monotonic() < deadline:
        time.sleep(every_s)
    return answer
