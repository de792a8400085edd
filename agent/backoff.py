"""How often an instrument that does not answer is asked: it may cost the others only a share of the line's time."""

from __future__ import annotations

SHARE = 0.05
"""Part of the line's time that one failing instrument may use."""
MOST_S = 60.0
"""Longest wait, unless the share asks for a longer one: an instrument that may take 10 s to answer, say."""
REFUSED_S = 300.0


class BackOff:
    """The waiting time of one instrument after failures.

    One failure costs nothing. From the second in a row it waits until its failures cost no more than `SHARE` of
    the line, and twice as long each time, up to `MOST_S`. Failures between good answers are held to the same share
    by an allowance.
    """

    def __init__(self) -> None:
        self.failures = 0
        self.ask_again_s = 0.0
        self._allowance_s = 0.0
        self._counted_s = 0.0

    def failed(self, now_s: float, cost_s: float) -> None:
        """Note a failed poll that took `cost_s` of the line's time."""
        self.failures += 1
        self._spend(now_s, cost_s)
        least_s = cost_s / SHARE
        if self.failures > 1:
            step_s = least_s * 2.0 ** min(self.failures - 2, 16)
            self.ask_again_s = now_s + max(least_s, min(MOST_S, step_s))
        if self._allowance_s < 0:
            self.ask_again_s = max(self.ask_again_s, now_s + min(least_s, -self._allowance_s / SHARE))

    def refused(self, now_s: float) -> None:
        """Note a refusal: it cost the line nothing, but asking often is of no use."""
        self.failures += 1
        if self.failures > 1:
            self.ask_again_s = now_s + min(REFUSED_S, 2.0 ** min(self.failures, 16))

    def answered(self, cost_s: float) -> None:
        """Note a good answer; after a failure it took more of the line's time, waiting for what might be late."""
        if self.failures:
            self._allowance_s -= cost_s
        self.failures = 0
        self.ask_again_s = 0.0

    def _spend(self, now_s: float, cost_s: float) -> None:
        earned = (now_s - self._counted_s) * SHARE if self._counted_s else 0.0
        self._allowance_s = min(self._allowance_s + earned, 3 * cost_s) - cost_s
        if not self._counted_s:
            self._allowance_s = 2 * cost_s
        self._counted_s = now_s
