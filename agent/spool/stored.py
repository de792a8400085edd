"""What a spool gives: records as they are sent, with their doubts, and the errors it has."""

from __future__ import annotations

from typing import NamedTuple


class SpoolError(Exception):
    """The spool cannot be opened or cannot store; the text says which file and why.

    `is_damaged`: the file is not what was once written, and will not be right the next time. `is_disk`: it is the
    disk that fails or is full (`is_full`), which may be over when it is tried again.
    """

    def __init__(self, text: str, *, is_damaged: bool = False, is_disk: bool = False, is_full: bool = False) -> None:
        super().__init__(text)
        self.is_damaged, self.is_disk, self.is_full = is_damaged, is_disk, is_full


class DamagedRecord(SpoolError):
    """The stored bytes of these records no longer pass their checksum; the rest of the file may be sound."""

    def __init__(self, first: int, last: int) -> None:
        super().__init__(f"records {first} to {last} of the spool no longer pass their checksum")
        self.first, self.last = first, last


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

    def columns(self) -> tuple[int | None, ...]:
        """Give it as it is stored."""
        return tuple(None if value is None else int(value) for value in self)


class Stored(NamedTuple):
    """A record as it is sent: its number, its time in UTC milliseconds, its doubt about that time, and its body.

    `values` counts its channels; it is 1 for events and the like.
    """

    seq: int
    at_ms: int
    doubt: Dating | None
    body: bytes
    values: int = 1

    @property
    def sent_bytes(self) -> int:
        """About what it takes in a message."""
        return len(self.body) + (160 if self.doubt else 60)


class Hour(NamedTuple):
    """Where the records of a span of time lie: `record_index` is the place of its ledger among the records to commit.

    From `from_ms` to before `to_ms`; `first` and `last` are the lowest and highest seq, None if there was no record.
    """

    record_index: int
    from_ms: int
    to_ms: int
    first: int | None
    last: int | None


class Selection(NamedTuple):
    """Which records are asked for: their time from `from_ms` to before `to_ms`, their instrument (None: all).

    `only_hours`: nothing but the hour ledgers whose span overlaps that time.
    """

    from_ms: int | None = None
    to_ms: int | None = None
    instruments: frozenset[str] | None = None
    only_hours: bool = False
