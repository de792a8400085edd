"""Where the demo's keys come from: the keyboard, or a script like "5:b,15:b"."""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
import termios
import tty
from typing import TYPE_CHECKING

from drivers.clock import monotonic_s, sleep_s

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = {
    "b": "stop or start the broker",
    "u": "freeze or reset the uplink",
    "i": "silence an instrument",
    "k": "kill the daemon",
    "q": "quit",
}


class Script:
    """Presses keys at their seconds. Raises ValueError for a text that is no script."""

    def __init__(self, text: str) -> None:
        self._began_s = monotonic_s()
        self._due = sorted(map(_stroke, filter(None, text.split(","))))

    def wait(self, seconds: float) -> list[str]:
        """Wait, then give the keys that are due."""
        sleep_s(seconds)
        now_s = monotonic_s() - self._began_s
        keys = [key for at_s, key in self._due if at_s <= now_s]
        self._due = [stroke for stroke in self._due if stroke[0] > now_s]
        return keys


def _stroke(part: str) -> tuple[float, str]:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?):(\w)\s*", part)
    if not found or found[2] not in KEYS:
        raise ValueError(f"{part!r}: expected seconds:key with a key of {', '.join(KEYS)}")
    return float(found[1]), found[2]


class Keyboard:
    """Keys as they are pressed."""

    @staticmethod
    def wait(seconds: float) -> list[str]:
        """Wait for a key at most that long."""
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        return list(os.read(sys.stdin.fileno(), 16).decode(errors="ignore").lower()) if ready else []


@contextlib.contextmanager
def single_keys() -> Iterator[None]:
    """Have the terminal give each key at once and unseen, and put it back afterwards."""
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
