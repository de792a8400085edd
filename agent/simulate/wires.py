"""The loop in which everything simulated happens: what has arrived, and what is due."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import selectors
from typing import TYPE_CHECKING, Any

from drivers.clock import monotonic_s

if TYPE_CHECKING:
    from collections.abc import Callable


class Wires:
    """Calls what is to be called when bytes have come, or a time has. All of it in the thread that calls `turn`."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def watch(self, end: Any, ready: Callable[[], None]) -> None:
        """Call `ready` whenever there is something to read."""
        self._selector.register(end, selectors.EVENT_READ, ready)

    def forget(self, end: Any) -> None:
        """Stop watching."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(end)

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something later."""
        heapq.heappush(self._later, (monotonic_s() + seconds, next(self._count), do))

    def turn(self, at_most_s: float) -> None:
        """Wait for the next thing to do, and do it."""
        if self._later:
            at_most_s = min(at_most_s, max(self._later[0][0] - monotonic_s(), 0))
        for key, _ in self._selector.select(at_most_s):
            if self._selector.get_map().get(key.fd) is key:  # not forgotten because of one before
                key.data()
        while self._later and self._later[0][0] <= monotonic_s():
            heapq.heappop(self._later)[2]()

    def close(self) -> None:
        """Watch nothing any more."""
        self._selector.close()
