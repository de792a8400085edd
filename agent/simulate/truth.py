"""Notes what the instruments meant to say, so that what a daemon made of it can be judged.

    {"s": 812.301, "at": "2026-11-23T10:00:05.012Z", "instrument": "o3", "values": {"o3": 41.7},
     "flags": {"o3": "fault"}}

A line of JSON for each answer, in the words of a record; `s` is the monotonic clock, which processes of one machine
share. `mood` stands there if it is not `well`, `late_s` where the answer was held back.
"""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any

from agent.simulate.mood import Mood
from agent.times import iso
from drivers.clock import monotonic_s, now
from drivers.sample import worst

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drivers.sample import Sample


class Truth:
    """Writes to a file, or nowhere."""

    def __init__(self, file: IO[str] | None = None) -> None:
        self._file = file

    def said(self, instrument: str, samples: Sequence[Sample], mood: Mood, late_s: float) -> None:
        """Note an answer."""
        if self._file is None:
            return
        line: dict[str, Any] = {"instrument": instrument, "values": {one.channel: one.value for one in samples}}
        if flags := {one.channel: worst(one.flags) for one in samples if one.flags}:
            line["flags"] = flags
        line |= {"mood": mood} if mood is not Mood.WELL else {}
        self._write(line | ({"late_s": late_s} if late_s else {}))

    def did(self, what: str) -> None:
        """Note a command that was obeyed."""
        self._write({"did": what})

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is not None:
            head = {"s": round(monotonic_s(), 3), "at": iso(now().wall_ms)}
            self._file.write(json.dumps(head | line, ensure_ascii=False) + "\n")
            self._file.flush()
