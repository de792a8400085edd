"""When the machine stood still, or the daemon was stopped at each of its system calls: then nobody can date well."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERY_S, LATE_S = 0.05, 0.1
NEAR_S = 3.0


class Stalls(threading.Thread):
    """Sleeps for moments and notes when it was woken late; `span` notes what is known to slow the daemon."""

    def __init__(self) -> None:
        super().__init__(name="stalls", daemon=True)
        self.spans: list[tuple[float, float]] = []

    def run(self) -> None:
        """Look for ever."""
        while True:
            begin_s = time.monotonic()
            time.sleep(EVERY_S)
            if (end_s := time.monotonic()) - begin_s > EVERY_S + LATE_S:
                self.spans.append((begin_s, end_s))

    @contextlib.contextmanager
    def span(self) -> Iterator[None]:
        """Note that what is timed meanwhile may be late."""
        begin_s = time.monotonic()
        try:
            yield
        finally:
            self.spans.append((begin_s, time.monotonic()))

    def near_s(self, moment_s: float) -> float:
        """Give for how many of the seconds around a moment things stood still, 3 at most."""
        first_s, last_s = moment_s - NEAR_S, moment_s + NEAR_S
        return min(NEAR_S, sum(max(0.0, min(end_s, last_s) - max(begin_s, first_s)) for begin_s, end_s in self.spans))
