"""Pacing: so much in a second and no more, counted after the fact, so that a large message only lengthens the wait."""

from __future__ import annotations

from drivers.clock import monotonic_s


class Pace:
    """Allows `rate` units a second, and after a rest `burst_s` seconds' worth at once."""

    def __init__(self, rate: float, burst_s: float = 1.0) -> None:
        self._rate, self._burst = rate, rate * burst_s
        self._left, self._at_s = self._burst, monotonic_s()

    def wait_s(self) -> float:
        """Give how long to wait until something may be spent, 0 for not at all."""
        now_s = monotonic_s()
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._rate)
        self._at_s = now_s
        return 0.0 if self._left > 0 else -self._left / self._rate + 1e-3

    def spend(self, amount: float) -> None:
        """Count what was used."""
        self._left -= amount
