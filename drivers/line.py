"""A line: one conversation at a time over one port, with deadlines, silence and a fence against late answers.

After an answer failed to come, or came damaged, the line is kept quiet until the answer must have died out, and
the next answer of that instrument counts only if nothing comes after it: an answer that is one question late
is always followed by another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from drivers.clock import monotonic_s, sleep_s
from drivers.errors import BadAnswer, LineDown, NoAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    from drivers.port import Port

    Complete = Callable[[bytes], int]
    """Given what has come so far: the length of the whole answer at its start, 0 if more must come.
    Raises BadAnswer if it can never become one."""
    Trace = Callable[[str, bytes], None]
    """Called with ">" and the bytes sent, or "<" and the bytes received."""

ANSWER_LIMIT = 64 * 1024
REOPEN_FIRST_S, REOPEN_MOST_S = 0.5, 30.0
SILENT_ASKS_BEFORE_REOPEN = 3


class Timing(NamedTuple):
    """How a line keeps time: seconds to wait for an answer, and to keep silent between conversations."""

    timeout_s: float = 1.0
    silence_s: float = 0.0


class Line:
    """One conversation at a time over one port.

    `framer` says how Modbus frames look on it: `tcp`, `rtu`, `ascii`, or `none` where no Modbus is spoken.
    """

    def __init__(
        self,
        name: str,
        port: Port,
        *,
        framer: str = "none",
        timing: Timing | None = None,
        trace: Trace | None = None,
        now_s: Callable[[], float] = monotonic_s,
    ) -> None:
        self.name, self.framer, self.trace = name, framer, trace
        self.timing = timing or Timing()
        self.transaction = 0
        self.noise_bytes = 0
        self._port = port
        self._now_s = now_s
        self._is_open = False
        self._was_opened = False
        self._reopen_at = 0.0
        self._reopen_wait_s = 0.0
        self._quiet_since = 0.0
        self._quiet_for_s = 0.0
        self._doubtful: set[int] = set()
        self._silent_asks = 0

    @property
    def where(self) -> str:
        """The port as a technician would look for it."""
        return self._port.where

    @property
    def reopens_in_s(self) -> float:
        """Seconds until the next attempt to open a port that is gone; 0 if it may be used now."""
        return 0.0 if self._is_open else max(0.0, self._reopen_at - self._now_s())

    def ask(self, request: bytes, complete: Complete, *, address: int = 0, timeout_s: float | None = None) -> bytes:
        """Send a request and give the whole answer.

        `address` tells whose answer it is, for the fence. Raises NoAnswer, BadAnswer or LineDown.
        """
        timeout_s = self.timing.timeout_s if timeout_s is None else timeout_s
        try:
            self._open()
            self._settle()
            self._send(request)
            answer = self._receive(complete, timeout_s)
            self._confirm(address, timeout_s)
        except (NoAnswer, BadAnswer):
            self._fence(address, timeout_s)
            raise
        except LineDown:
            self.close()
            raise
        self._quiet_since = self._now_s()
        self._quiet_for_s = self.timing.silence_s
        return answer

    def tell(self, request: bytes) -> None:
        """Send a request that is never answered. Raises LineDown."""
        try:
            self._open()
            self._settle()
            self._send(request)
        except LineDown:
            self.close()
            raise
        self._quiet_since, self._quiet_for_s = self._now_s(), self.timing.silence_s

    def listen(self, complete: Complete, *, timeout_s: float | None = None) -> bytes:
        """Give the next whole message of an instrument that talks unasked; what came earlier is dropped.

        Raises NoAnswer, BadAnswer or LineDown.
        """
        try:
            self._open()
            self._drop_arrived()
            return self._receive(complete, self.timing.timeout_s if timeout_s is None else timeout_s)
        except LineDown:
            self.close()
            raise

    def close(self) -> None:
        """Close the port; the next use opens it again, not before the back-off allows."""
        self._port.close()
        if self._is_open:
            self._is_open = False
            self._back_off()

    def _open(self) -> None:
        if self._is_open:
            return
        if (wait := self.reopens_in_s) > 0:
            raise LineDown(f"{self.where}: is gone, next attempt in {wait:.1f} s")
        try:
            self._port.open()
        except LineDown:
            self._back_off()
            raise
        self._is_open = True
        self._silent_asks = 0
        if self.framer == "tcp":
            self._doubtful.clear()

    def _back_off(self) -> None:
        self._reopen_wait_s = min(max(self._reopen_wait_s * 2, REOPEN_FIRST_S), REOPEN_MOST_S)
        self._reopen_at = self._now_s() + self._reopen_wait_s

    def _send(self, request: bytes) -> None:
        if self.trace:
            self.trace(">", request)
        self._port.write(request)

    def _receive(self, complete: Complete, timeout_s: float) -> bytes:
        deadline = self._now_s() + timeout_s
        data = b""
        while True:
            chunk = self._port.read(deadline - self._now_s())
            if chunk:
                self._silent_asks = 0
                self._reopen_wait_s = 0.0
                if self.trace:
                    self.trace("<", chunk)
                data += chunk
                if length := complete(data):
                    return self._whole(data, length)
            if len(data) > ANSWER_LIMIT:
                raise BadAnswer(f"more than {ANSWER_LIMIT // 1024} KiB without an end")
            if self._now_s() >= deadline:
                raise self._silence(data, timeout_s)

    def _whole(self, data: bytes, length: int) -> bytes:
        if length < len(data):
            self.noise_bytes += len(data) - length
        return data[:length]

    def _silence(self, data: bytes, timeout_s: float) -> NoAnswer:
        if not data:
            self._silent_asks += 1
        came = f"only {len(data)} bytes came" if data else "nothing came"
        return NoAnswer(f"no answer within {timeout_s:g} s ({came})")

    def _fence(self, address: int, timeout_s: float) -> None:
        """Keep silent for as long again as was waited, and doubt the next answer."""
        if self._port.is_network and self._silent_asks >= SILENT_ASKS_BEFORE_REOPEN:
            self.close()  # perhaps half-open: only a new connection can tell
            self._reopen_at = 0.0
            return
        if self.framer == "tcp":
            return  # its transaction number tells late answers apart
        self._doubtful.add(address)
        self._quiet_since, self._quiet_for_s = self._now_s(), max(timeout_s, self.timing.silence_s)

    def _settle(self) -> None:
        """Wait until the line has been silent for as long as it must, dropping what still arrives."""
        if self.framer == "tcp":
            return
        while (left := self._quiet_since + self._quiet_for_s - self._now_s()) > 0:
            if self._quiet_for_s <= self.timing.silence_s:
                sleep_s(left)
            elif self._drop(self._port.read(left)):
                self._quiet_since = self._now_s()
                self._quiet_for_s = min(self._quiet_for_s, 0.1 + self.timing.silence_s)
        self._drop_arrived()

    def _confirm(self, address: int, timeout_s: float) -> None:
        """Trust a doubtful instrument again only if nothing follows its answer."""
        if address not in self._doubtful:
            return
        self._doubtful.discard(address)
        if self._drop(self._port.read(timeout_s)):
            raise BadAnswer("the answer was followed by another: it belonged to an earlier question")

    def _drop_arrived(self) -> None:
        for _ in range(ANSWER_LIMIT // 64):
            if not self._drop(self._port.read(0)):
                return

    def _drop(self, data: bytes) -> bool:
        self.noise_bytes += len(data)
        if data and self.trace:
            self.trace("<", data)
        return bool(data)


def exactly(length: int) -> Complete:
    """Build the test for an answer of a fixed number of bytes."""
    return lambda data: length if len(data) >= length else 0


def until(end: bytes, *, more: int = 0, limit: int = 4096) -> Complete:
    """Build the test for an answer that ends in `end` and that many bytes more (a checksum, say)."""

    def complete(data: bytes) -> int:
        place = data.find(end)
        if place < 0 and len(data) > limit:
            raise BadAnswer(f"{len(data)} bytes without the end of the answer")
        length = place + len(end) + more
        return length if place >= 0 and len(data) >= length else 0

    return complete
