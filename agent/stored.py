"""What a spool gives: records as they are sent, with their doubts, and the one error it has."""

from __future__ import annotations

from typing import NamedTuple


class SpoolError(Exception):
    """The spool cannot be opened or cannot store; the text says which file and why.

    `is_damaged`: the file is not what was once written, and will not be right the next time.
    """

    def __init__(self, text: str, *, is_damaged: bool = False) -> None:
        super().__init__(text)
        self.is_damaged = is_damaged


class Dating(NamedTuple):
    """What became known of the time of records measured under an untrusted clock.

    `offset_ms` turns their elapsed time into UTC (None: keep what the clock said). `unsure`: it is a guess within
    the bounds.
    """

    first: int
    last: int
    offset_ms: int | None
    unsure: bool
    earliest_ms: int | None
    latest_ms: int | None


class Stored(NamedTuple):
    """A record as it is sent: its number, its time in UTC milliseconds, its doubt about that time, and its body."""

    seq: int
    at_ms: int
    doubt: Dating | None
    body: bytes
