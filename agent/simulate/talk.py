"""What happens on one line: requests are found in what arrives, and the instrument that each is for answers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from agent.simulate import frames
from drivers.clock import monotonic_s

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.settings import LineSettings
    from agent.simulate.instrument import Instrument, Piece
    from agent.simulate.wires import Wires

TORN_S = 0.3
"""After so long a pause, what came before is no part of a request any more."""


class Talk:
    """One conversation: over a serial line, or over one connection. `write` sends to whoever asks."""

    def __init__(
        self, settings: LineSettings, instruments: Sequence[Instrument], wires: Wires, write: Callable[[bytes], None]
    ) -> None:
        self._framer = settings.framer
        self._has_echo = settings.echo == "local"
        self._instruments, self._wires, self._write = instruments, wires, write
        self._data = b""
        self._arrived_s = 0.0

    def arrived(self, data: bytes) -> None:
        """Answer every request that is whole now."""
        if self._has_echo:
            self._write(data)
        if monotonic_s() - self._arrived_s > TORN_S:
            self._data = b""
        self._arrived_s = monotonic_s()
        self._data += data
        while self._data and self._next():
            pass

    def _next(self) -> bool:
        """Take what the data begins with; False if more must come first."""
        lengths = {one.name: one.voice.request_in(self._data) for one in self._instruments}
        asked = next((one for one in self._instruments if lengths[one.name] > 0), None)
        if asked:
            request, self._data = self._data[: lengths[asked.name]], self._data[lengths[asked.name] :]
            self.send(asked.answers(request))
            return True
        if frames.MAY_BECOME in lengths.values():
            return False
        self._data = self._data[self._stranger() :]
        return True

    def _stranger(self) -> int:
        """Give the length of a request to someone who is not there, else of one byte that means nothing."""
        length = frames.request_in(self._framer, self._data) if self._framer != "none" else 0
        return max(length, 1)

    def send(self, pieces: Sequence[Piece]) -> None:
        """Send at once, or later."""
        for after_s, data in pieces:
            if after_s:
                self._wires.after(after_s, partial(self._write, data))
            else:
                self._write(data)
