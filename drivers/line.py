"""A line: one conversation at a time over one port, with deadlines, silence and a fence against late answers.

A late answer is one that comes when its question was given up. What tells it apart differs:

    Modbus TCP          its transaction number; a torn stream is left, for a new connection
    Modbus RTU, ASCII   who sent it: that instrument is not asked again until the answer must have died out
    text, others        nothing: nobody is asked in such a protocol until then

Died out means that no answer takes longer than three timeouts. Against one that does: the first answer after
the wait counts only if no other follows it, for an instrument that was stuck answers all that it was asked at once.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from drivers.clock import monotonic_s
from drivers.complete import after_echo, exactly, until
from drivers.errors import BadAnswer, LineDown, NoAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    from drivers.complete import Complete
    from drivers.port import Port

    Trace = Callable[[str, bytes], None]
    """Called with ">" and the bytes sent, or "<" and the bytes received."""

__all__ = ["ANYONE", "Line", "Timing", "exactly", "late_s", "until"]

ANSWER_LIMIT = 64 * 1024
REOPEN_FIRST_S, REOPEN_MOST_S = 0.5, 30.0
SILENT_ASKS_BEFORE_REOPEN = 3
LATE_TIMEOUTS, LATE_LEAST_S = 2, 1.0
"""An answer that is this late, in timeouts and at least in seconds after its timeout, comes no more."""
GLITCH = 3
"""So few bytes after an answer are a line driver switching off, not another answer."""
NEVER_SILENT_S = 1.0
ANYONE = -1
"""In place of an address, where answers do not say who sends them."""


class Timing(NamedTuple):
    """How a line keeps time: seconds to wait for an answer, and to keep silent between conversations."""

    timeout_s: float = 1.0
    silence_s: float = 0.0


class Line:
    """One conversation at a time over one port.

    `framer` says how Modbus frames look on it: `tcp`, `rtu`, `ascii`, or `none` where no Modbus is spoken.
    `echo` is `local` if the adapter hears itself, so that every request comes back before its answer.
    `trace` is called with ">" and the bytes sent, "<" and the bytes received.
    """

    def __init__(
        self,
        name: str,
        port: Port,
        *,
        framer: str = "none",
        echo: str = "none",
        timing: Timing | None = None,
        trace: Trace | None = None,
        now_s: Callable[[], float] = monotonic_s,
    ) -> None:
        self.name, self.framer, self.echo, self.trace = name, framer, echo, trace
        self.timing = timing or Timing()
        self.transaction = 0
        self.noise_bytes = 0
        self._port = port
        self._now_s = now_s
        self._is_open = False
        self._reopen_at = 0.0
        self._reopen_wait_s = 0.0
        self._last_s = 0.0
        self._doubt: dict[int, float] = {}
        self._silent_asks = 0

    @property
    def where(self) -> str:
        """The port as a technician would look for it."""
        return self._port.where

    @property
    def only_listens(self) -> bool:
        """Whether nothing can be sent over it: it takes datagrams."""
        return bool(getattr(self._port, "only_listens", False))

    @property
    def reopens_in_s(self) -> float:
        """Seconds until the next attempt to open a port that is gone; 0 if it may be used now."""
        return 0.0 if self._is_open else max(0.0, self._reopen_at - self._now_s())

    def ask(
        self,
        request: bytes,
        complete: Complete,
        *,
        address: int | None = None,
        timeout_s: float | None = None,
    ) -> bytes:
        """Send a request and give the whole answer.

        `address` is given where the answer names its sender and `complete` passes over others, as in Modbus.
        Raises NoAnswer, BadAnswer or LineDown.
        """
        timeout_s = self.timing.timeout_s if timeout_s is None else timeout_s
        sender = ANYONE if address is None else address
        self._open()
        try:
            self._settle(sender)
            self._send(request)
            answer, surplus = self._answer(request, complete, timeout_s)
            self._confirm(sender, answer, surplus, timeout_s)
        except (NoAnswer, BadAnswer):
            self._fence(sender, timeout_s)
            self._renew_if_torn()
            raise
        except LineDown:
            self._fence(sender, timeout_s)
            self.close()
            raise
        self._last_s = self._now_s()
        return answer

    def ask_anyone(self, request: bytes, *, quiet_s: float, most_s: float) -> bytes:
        """Send what somebody unknown may understand, and give all that comes until it is quiet.

        Whatever it was, the next question waits until nothing more can come. Raises NoAnswer, BadAnswer or LineDown.
        """
        self._open()
        try:
            self._settle(ANYONE)
            self._send(request)
            data = self._answer(request, len, self.timing.timeout_s)[0]
            end_s = self._now_s() + most_s
            with suppress(NoAnswer):
                while self._now_s() < end_s and len(data) < ANSWER_LIMIT:
                    data += self._receive(len, quiet_s)[0]
            return data
        except LineDown:
            self.close()
            raise
        finally:
            self._fence(ANYONE, self.timing.timeout_s)
            if self.framer == "none":  # Modbus frames cannot be mistaken; text of one who is asked by name could
                self._last_s = self._doubt[ANYONE]

    def tell(self, request: bytes) -> None:
        """Send a request that is never answered. Raises BadAnswer if the line is never silent, LineDown."""
        self._open()
        try:
            self._settle(ANYONE)
            self._send(request)
        except LineDown:
            self.close()
            raise
        self._last_s = self._now_s()

    def listen(self, complete: Complete, *, timeout_s: float | None = None, keeps_arrived: bool = False) -> bytes:
        """Give the next whole message of an instrument that talks unasked; what came earlier is dropped.

        `keeps_arrived`: it counts, where an instrument that was asked says more when it is ready.
        Raises NoAnswer, BadAnswer or LineDown.
        """
        self._open()
        try:
            if not keeps_arrived:
                self._drop_arrived()
            return self._receive(complete, self.timing.timeout_s if timeout_s is None else timeout_s)[0]
        except NoAnswer:
            self._renew_if_torn()
            raise
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

    def _back_off(self) -> None:
        self._reopen_wait_s = min(max(self._reopen_wait_s * 2, REOPEN_FIRST_S), REOPEN_MOST_S)
        self._reopen_at = self._now_s() + self._reopen_wait_s

    def _renew_if_torn(self) -> None:
        """Leave a connection that may be half-open, or a stream of frames whose next beginning is not known."""
        is_half_open = self._port.is_network and self._silent_asks >= SILENT_ASKS_BEFORE_REOPEN
        if is_half_open or (self.framer == "tcp" and not self._silent_asks):
            self._port.close()
            self._is_open = False
            self._reopen_at = 0.0  # the next use makes a new one at once

    def _send(self, request: bytes) -> None:
        if self.trace:
            self.trace(">", request)
        self._port.write(request)

    def _answer(self, request: bytes, complete: Complete, timeout_s: float) -> tuple[bytes, bytes]:
        if self.echo == "none":
            return self._receive(complete, timeout_s)
        answer, surplus = self._receive(after_echo(request, complete), timeout_s)
        return answer[len(request) :], surplus

    def _receive(self, complete: Complete, timeout_s: float) -> tuple[bytes, bytes]:
        """Give the answer and what came behind it in the same moment."""
        deadline = self._now_s() + timeout_s
        data = b""
        while True:
            chunk = self._port.read(deadline - self._now_s())
            if chunk:
                self._reopen_wait_s, self._silent_asks = 0.0, 0
                if self.trace:
                    self.trace("<", chunk)
                data += chunk
                if length := complete(data):
                    self.noise_bytes += len(data) - length
                    return data[:length], data[length:]
            if len(data) > ANSWER_LIMIT:
                raise BadAnswer(f"more than {ANSWER_LIMIT // 1024} KiB without an end")
            if self._now_s() >= deadline:
                raise self._silence(data, timeout_s)

    def _silence(self, data: bytes, timeout_s: float) -> NoAnswer:
        if not data:
            self._silent_asks += 1
        came = f"only {len(data)} bytes came" if data else "nothing came"
        return NoAnswer(f"no answer within {timeout_s:g} s ({came})")

    def _fence(self, sender: int, timeout_s: float) -> None:
        """Keep the answer that did not come, or not whole, from being taken for a later one."""
        self._last_s = self._now_s()
        if self.framer != "tcp":
            self._doubt[sender] = self._last_s + late_s(timeout_s)

    def _settle(self, sender: int) -> None:
        """Wait until the line has been silent for as long as it must and nothing late can come; drop what does."""
        if self.framer == "tcp":
            return
        until = max(self._last_s + self.timing.silence_s, self._doubt.get(sender, 0.0))
        at_most = max(until, self._now_s()) + NEVER_SILENT_S
        while True:
            left = until - self._now_s()
            if self._drop(self._port.read(max(left, 0.0))):
                until = max(until, self._now_s() + self.timing.silence_s)
            elif left <= 0:
                return
            if self._now_s() > at_most:
                raise BadAnswer("the line is never silent: something on it talks without end")

    def _confirm(self, sender: int, answer: bytes, surplus: bytes, timeout_s: float) -> None:
        """Trust an instrument whose answer failed to come only if nothing, or just the same, follows this one."""
        if sender not in self._doubt:
            return
        del self._doubt[sender]
        deadline = self._now_s() + timeout_s
        while (left := deadline - self._now_s()) > 0:
            arrived = self._port.read(left)
            self._drop(arrived)
            surplus += arrived
        if len(surplus) > GLITCH and surplus != answer:
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


def late_s(timeout_s: float) -> float:
    """Say for how long after its timeout an answer may still come."""
    return max(LATE_TIMEOUTS * timeout_s, LATE_LEAST_S)
