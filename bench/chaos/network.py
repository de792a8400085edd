"""Two network namespaces, joined by TUN devices and a thread between them that delays, loses and cuts.

The daemon and its instruments live in the one, the broker and the platform in the other, which is the caller's own.
Neither has a name, so both are gone when the process is, whatever it died of. Without the right to make them
(`is_permitted`) everything is on 127.0.0.1 and only the gate (`bench.chaos.gate`) can do harm to the connection.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    T = TypeVar("T")

_NEWNS, _NEWNET = 0x00020000, 0x40000000
_TUNSETIFF, _TUN, _NO_PI = 0x400454CA, 0x0001, 0x1000
_LIBC = ctypes.CDLL(None, use_errno=True)
STATION, PLATFORM = "10.99.0.1", "10.99.0.2"
LOCAL = "127.0.0.1"


def is_permitted() -> bool:
    """Say whether namespaces of our own can be made here; tried in a child."""
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", "test -w /dev/net/tun && ip link set lo up"],
        capture_output=True,
        check=False,
    )
    return tried.returncode == 0


class Network:
    """The world between station and platform. Make it in the main thread before any other thread is started."""

    def __init__(self, *, is_apart: bool) -> None:
        self.is_apart = is_apart
        self.delay_s = self.jitter_s = self.loss = 0.0
        self.is_cut = self.is_one_way = False
        self.platform_address = PLATFORM if is_apart else LOCAL
        if is_apart:
            self._unshare(_NEWNS)
            subprocess.run(["mount", "--make-rprivate", "/"], check=True)
            station_tun = self._enter_new(STATION)
            self._station = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            self._ends = [station_tun, self._enter_new(PLATFORM)]
            threading.Thread(target=self._run, name="network", daemon=True).start()

    def command(self, words: list[str]) -> list[str]:
        """Give the command that runs another one at the station."""
        return ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self._station}", *words] if self.is_apart else words

    def at_station(self, do: Callable[[], T]) -> T:
        """Do something, such as making a socket, as the station sees the network."""
        if not self.is_apart:
            return do()
        found: list[T] = []

        def there() -> None:
            if _LIBC.setns(self._station, 0) == 0:
                found.append(do())

        thread = threading.Thread(target=there)
        thread.start()
        thread.join()
        return found[0]

    def heal(self) -> None:
        """Let everything through at once."""
        self.delay_s = self.jitter_s = self.loss = 0.0
        self.is_cut = self.is_one_way = False

    def _unshare(self, what: int) -> None:
        if _LIBC.unshare(what):
            raise OSError(ctypes.get_errno(), "unshare")

    def _enter_new(self, address: str) -> int:
        self._unshare(_NEWNET)
        end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH", b"em0", _TUN | _NO_PI))
        for words in ("addr add {}/24 dev em0", "link set em0 up", "link set lo up"):
            subprocess.run(["ip", *words.format(address).split()], check=True)
        return end

    def _run(self) -> None:
        waiting: list[tuple[float, int, int, bytes]] = []
        count, chance = 0, random.Random(1)
        while True:
            while waiting and waiting[0][0] <= time.monotonic():
                _write(*heapq.heappop(waiting)[2:])
            pause_s = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 0.5
            for end in select.select(self._ends, [], [], pause_s)[0]:
                packet, count = os.read(end, 65535), count + 1
                from_station = end == self._ends[0]
                if self.is_cut or chance.random() < self.loss or (self.is_one_way and not from_station):
                    continue
                due_s = time.monotonic() + self.delay_s + chance.uniform(0, self.jitter_s)
                heapq.heappush(waiting, (due_s, count, self._ends[from_station], packet))


def _write(end: int, packet: bytes) -> None:
    with contextlib.suppress(OSError):  # the queue is full: lost, as on any network
        os.write(end, packet)


def small_disk(folder: Path, size: str) -> None:
    """Mount a small file system there; it goes with the namespace."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
