"""Compression beside the work: zlib lets other threads have the interpreter while it compresses a message."""

from __future__ import annotations

from collections import deque
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING

from agent.delivery.message import compressed

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.delivery.lanes import Parcel

AHEAD = 2
"""So many messages at once: one is compressed while the next is read."""


class Pressing:
    """A message and what it is compressed to, None as long as that is not known."""

    def __init__(self, parcel: Parcel, message: bytes) -> None:
        self.parcel, self.message = parcel, message
        self.payload: bytes | None = None
        self.error: Exception | None = None


class Press:
    """Compresses messages one after the other, in order, on a thread that it starts with the first.

    `ready` is called on that thread after each.
    """

    def __init__(self, ready: Callable[[], None]) -> None:
        self._ready = ready
        self._work: SimpleQueue[Pressing] = SimpleQueue()
        self._line: deque[Pressing] = deque()
        self._thread: Thread | None = None

    def __len__(self) -> int:
        """Count the messages that were put in and not taken."""
        return len(self._line)

    def put(self, parcel: Parcel, message: bytes) -> None:
        """Have a message compressed."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name="press", daemon=True)
            self._thread.start()
        self._line.append(Pressing(parcel, message))
        self._work.put(self._line[-1])

    def take(self) -> tuple[Parcel, bytes] | None:
        """Give the oldest message if it is ready. Raises what its compression raised."""
        if self._line and (error := self._line[0].error):
            raise error
        if not self._line or (payload := self._line[0].payload) is None:
            return None
        return self._line.popleft().parcel, payload

    def forget(self) -> None:
        """Drop what is under way."""
        self._line.clear()

    def _run(self) -> None:
        while True:
            one = self._work.get()
            try:
                one.payload, one.message = compressed(one.message), b""
            except Exception as error:  # noqa: BLE001  the thread that takes it has a root that deals with it
                one.error = error
            self._ready()
