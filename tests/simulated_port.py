"""An instrument and its wire in simulated time, so that thousands of slow conversations take no time at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class SimulatedPort:
    """A port whose instrument answers one question after the other, each after `delay_s()`; None: not at all.

    A question that comes while it still works on another is queued, or lost with `is_deaf_when_busy`.
    """

    where = "simulated"
    is_network = False

    def __init__(
        self,
        respond: Callable[[bytes], bytes],
        delay_s: Callable[[], float | None],
        *,
        is_deaf_when_busy: bool = False,
    ) -> None:
        self._respond, self._delay_s, self._is_deaf_when_busy = respond, delay_s, is_deaf_when_busy
        self._time_s = 0.0
        self._busy_until_s = 0.0
        self._coming: list[tuple[float, bytes]] = []
        self.opened = 0

    def now_s(self) -> float:
        """Give the simulated time."""
        return self._time_s

    def pass_time(self, seconds: float) -> None:
        """Let time go by between two polls."""
        self._time_s += seconds

    def open(self) -> None:
        """Count."""
        self.opened += 1

    def close(self) -> None:
        """Nothing to close."""

    def write(self, data: bytes) -> None:
        """Let the instrument work on a question."""
        if self._is_deaf_when_busy and self._busy_until_s > self._time_s:
            return
        delay_s = self._delay_s()
        if delay_s is not None:
            self._busy_until_s = max(self._busy_until_s, self._time_s) + delay_s
            self._coming.append((self._busy_until_s, self._respond(data)))

    def read(self, timeout_s: float) -> bytes:
        """Give what has come, or what comes before the time is over."""
        until_s = self._time_s + max(timeout_s, 0.0)
        if self._coming and self._coming[0][0] <= until_s:
            at_s, data = self._coming.pop(0)
            self._time_s = max(self._time_s, at_s)
            return data
        self._time_s = until_s + 1e-9
        return b""
