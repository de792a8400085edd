"""A bar on a terminal that shows how far a long command has come, and how long it will still take."""

from __future__ import annotations

import sys
from typing import IO

from drivers.clock import monotonic_s

WIDTH = 24
_REDRAWN_S = 0.1


class Progress:
    """Counts steps by the seconds that they may take; nothing is drawn where there is no terminal.

    `total_s` is an upper bound: what ends early is passed over, so that the bar never goes back.
    """

    def __init__(self, total_s: float, out: IO[str] | None = None) -> None:
        self._out = sys.stderr if out is None else out
        self._is_drawn = self._out.isatty()
        self._total_s, self._passed_s = max(total_s, 0.001), 0.0
        self._drawn_at_s = -1.0

    def step(self, seconds: float, what: str) -> None:
        """Say what is done next, and how long it may take."""
        if self._is_drawn and monotonic_s() - self._drawn_at_s >= _REDRAWN_S:
            self._drawn_at_s = monotonic_s()
            self._out.write(f"\r\x1b[K{bar(self._passed_s / self._total_s)} {what}{self._left()}")
            self._out.flush()
        self._passed_s = min(self._passed_s + seconds, self._total_s)

    def clear(self) -> None:
        """Take the bar away, so that something can be printed."""
        if self._is_drawn:
            self._out.write("\r\x1b[K")
            self._out.flush()
            self._drawn_at_s = -1.0

    def _left(self) -> str:
        return f", at most {span(self._total_s - self._passed_s)} left"


def bar(share: float) -> str:
    """Draw a bar for a share from 0 to 1."""
    share = min(max(share, 0.0), 1.0)
    full = round(share * WIDTH)
    return f"[{'#' * full}{'.' * (WIDTH - full)}] {share:4.0%}"


def span(seconds: float) -> str:
    """Write a time as people say it."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
