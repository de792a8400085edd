"""What storing costs and how long it can go on: bytes written to the card a day, and days until something must go."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from drivers.clock import monotonic_s, now

DAY_S = 86_400.0
KNOWN_AFTER_S = 120.0
"""So long a process must have run before its rates mean anything: SQLite writes in bursts."""


class Filling(NamedTuple):
    """What the spool holds: bytes in use, bytes that it may use, records stored, not sent, and ever counted."""

    used_bytes: int
    limit_bytes: int
    stored: int
    unsent: int
    newest: int


class Storage:
    """Watches this process write. `measure` is told now and then how full the spool is; any thread may ask."""

    def __init__(self, size_bytes: int, newest: int) -> None:
        self._size_bytes = size_bytes
        self._begin_s, self._begin_newest, self._begin_written = monotonic_s(), newest, written_bytes()
        self._filling = Filling(0, size_bytes, 0, 0, newest)

    def measure(self, filling: Filling) -> None:
        """Take new figures."""
        self._filling = filling

    def portrait(self) -> dict[str, float | None]:
        """Give the figures of the state; None for what is not known yet."""
        return {
            "used": self._filling.used_bytes,
            "size": self._size_bytes,
            "written_per_day": self.written_per_day(),
            "days_left": self.days_left(),
        }

    def written_per_day(self) -> int | None:
        """Give the bytes that this process has the disk write in a day, logs and all."""
        elapsed_s, written = monotonic_s() - self._begin_s, written_bytes()
        if written is None or self._begin_written is None or elapsed_s < KNOWN_AFTER_S:
            return None
        return round((written - self._begin_written) / elapsed_s * DAY_S)

    def days_left(self) -> float | None:
        """Give the days without a broker until unsent records have to be dropped."""
        one, elapsed_s = self._filling, monotonic_s() - self._begin_s
        measured = one.newest - self._begin_newest
        if elapsed_s < KNOWN_AFTER_S or measured <= 0 or one.stored <= 0:
            return None
        return days_left(one, measured / elapsed_s)


def days_left(filling: Filling, records_a_second: float) -> float:
    """Give the days until unsent records fill what they may, if none is sent."""
    record_bytes = filling.used_bytes / filling.stored
    left_bytes = max(0.0, filling.limit_bytes - filling.unsent * record_bytes)
    return round(left_bytes / (record_bytes * records_a_second * DAY_S), 2)


def written_per_day(pid: int) -> int | None:
    """Give the bytes that another process wrote, a day on average since it began; None if that is not known."""
    written = written_bytes(pid)
    try:
        ticks = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
    elapsed_s = now().elapsed_ms / 1000 - int(ticks) / os.sysconf("SC_CLK_TCK")
    return None if written is None or elapsed_s < KNOWN_AFTER_S else round(written / elapsed_s * DAY_S)


def written_bytes(pid: int | None = None) -> int | None:
    """Give what a process, this one by default, has had written to disks; None if unknown.

    Source: proc(5), /proc/pid/io, write_bytes.
    """
    try:
        lines = Path(f"/proc/{pid or 'self'}/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.partition(":")[2]) for line in lines if line.startswith("write_bytes:")), None)
