"""Say it once when it breaks, once when it mends."""

from __future__ import annotations

import logging
from threading import Lock

log = logging.getLogger("stationd")


class Say:
    """Logs the begin and the end of each trouble, named by a key, and nothing in between."""

    def __init__(self) -> None:
        self._broken: set[str] = set()
        self._lock = Lock()

    def once(self, text: str) -> None:
        """Log something that has no end; the caller sees to it that it is not said too often."""
        log.warning("%s", clean(text))

    def broke(self, key: str, text: str) -> None:
        """Log a trouble unless it is known."""
        with self._lock:
            is_new = key not in self._broken
            self._broken.add(key)
        if is_new:
            log.warning("%s", clean(text))

    def mended(self, key: str, text: str) -> None:
        """Log the end of a trouble if there was one."""
        with self._lock:
            was_broken = key in self._broken
            self._broken.discard(key)
        if was_broken:
            log.warning("%s", clean(text))


def clean(text: str) -> str:
    """Make text from outside safe for a log: no control characters, no more than 300 characters."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)[:300]
