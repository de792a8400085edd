"""The hourly ledger: what was due, measured, valid and acknowledged, per instrument and channel; the platform's proof.

Every record is counted once, in the hour of its time. Counting goes along with committing; after a start, and for
records that are dated late, it catches up from the spool. What is noted with each ledger, in the same transaction,
lets a new process count on exactly: nothing twice and nothing never.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.record import SEPARATOR, joined, ledger
from agent.spool.stored import Hour
from agent.times import iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agent.record import Record
    from agent.spool.stored import Stored
    from drivers.clock import Moment

HOUR_MS = 3_600_000
GRACE_MS = 30_000
"""So long after an hour its last records are certainly stored."""
HOURS_AT_ONCE = 10
NOTE = "ledger"
_VALID = ("ok", "manual")
_HEAD = re.compile(r'"kind":"raw","instrument":"([^"\\]*)","values":\{')
_SEPARATOR = SEPARATOR.encode()


class Shape(NamedTuple):
    """An instrument and its channels, as a shape's text names them; no instrument: not a raw record."""

    instrument: str
    channels: tuple[str, ...]


class Tally:
    """What was counted of one instrument in one hour. Polls without any flag are counted as such, and only once."""

    __slots__ = ("flags", "healthy", "measured", "not_asked", "polled")

    def __init__(self) -> None:
        self.polled = self.not_asked = 0
        self.healthy: Counter[tuple[str, ...]] = Counter()
        self.measured: Counter[str] = Counter()
        self.flags: dict[str, Counter[str]] = {}

    def poll(self, channels: tuple[str, ...], values: Iterable[Any], flags: Mapping[str, str]) -> None:
        """Count a poll of which something is to be said."""
        self.polled += 1
        known = list(values)
        if not flags and None not in known:
            self.healthy[_kept(channels)] += 1
            return
        for channel, value in zip(channels, known, strict=False):
            self.measured[channel] += value is not None
            self.flags.setdefault(channel, Counter())[flags.get(channel, "ok")] += 1

    def channels(self) -> dict[str, Any]:
        """Give the figures of each channel."""
        for names, polls in self.healthy.items():
            for name in names:
                self.measured[name] += polls
                self.flags.setdefault(name, Counter())["ok"] += polls
        self.healthy.clear()
        return {
            name: {"measured": self.measured[name], "valid": sum(map(flags.__getitem__, _VALID)), "flags": dict(flags)}
            for name, flags in self.flags.items()
        }


class Span:
    """All that was counted of one hour.

    `is_sure`: some of it was measured for this spool at a time beyond doubt, so that slots are expected in this hour.
    """

    def __init__(self) -> None:
        self.first = self.last = self.records = 0
        self.is_sure = False
        self.healthy: dict[str, int] = {}
        self.tallies: dict[str, Tally] = {}

    def seq(self, seq: int) -> None:
        """Count a record of any kind."""
        self.records += 1
        self.first, self.last = self.first or seq, seq  # they come in order

    def tally(self, instrument: str) -> Tally:
        """Give the tally of an instrument."""
        return self.tallies.setdefault(instrument, Tally())

    def all_tallies(self) -> dict[str, Tally]:
        """Give the tallies of all instruments, with the polls that were only counted by their shapes so far."""
        for text, polls in self.healthy.items():
            shape = _shape(text)
            tally = self.tally(shape.instrument)
            tally.polled += polls
            tally.healthy[shape.channels] += polls
        self.healthy.clear()
        return self.tallies


Unacknowledged = dict[str, int]


class Ledger:
    """Counts what is stored. `intervals_s` are those of the instruments that are configured now.

    `counted` is the seq up to which everything is counted. `unacknowledged(first, last, from_ms, to_ms)` tells how many
    records of each instrument (of other kinds under "") are not acknowledged.
    """

    def __init__(
        self,
        intervals_s: Mapping[str, float],
        noted: str,
        unacknowledged: Callable[[int, int, int, int], Unacknowledged],
    ) -> None:
        self._intervals_s, self._unacknowledged = intervals_s, unacknowledged
        self._spans: dict[int, Span] = {}
        known = json.loads(noted) if noted else {}
        self._closed_to: int = known.get("closed_to", 0)
        self._closed = {int(hour): seq for hour, seq in known.get("closed", {}).items()}
        self.counted: int = known.get("from", 1) - 1

    def count(self, seq: int, record: Record) -> None:
        """Count a record that is being stored, in about a microsecond if nothing is to be said of it."""
        self.counted = seq
        span = self._span(seq, record.moment.wall_ms)
        if span is None:
            return
        if record.shape:
            self._raw(span, seq, record)
        else:
            self._other(span, seq, json.loads(b"{" + record.body + b"}"))

    def count_stored(self, stored: Stored) -> None:
        """Count a record read from the spool."""
        self.counted = stored.seq
        span = self._span(stored.seq, stored.at_ms)
        if span is not None:
            self._other(span, stored.seq, json.loads(b"{" + stored.body + b"}"), is_sure=stored.doubt is None)

    def skip_to(self, seq: int) -> None:
        """Go on behind records that are not there any more."""
        self.counted = max(self.counted, seq)

    def due(self, now_ms: int) -> bool:
        """Say whether an hour is over and not in the ledger."""
        return any(_is_over(hour, now_ms) for hour in self._spans)

    def close(self, moment: Moment) -> tuple[list[Record], list[Hour], str]:
        """Give ledgers of the oldest hours that are over, where their records lie, and the note to store with them."""
        records: list[Record] = []
        hours: list[Hour] = []
        for hour in sorted(hour for hour in self._spans if _is_over(hour, moment.wall_ms))[:HOURS_AT_ONCE]:
            is_regular = self._spans[hour].is_sure and self._closed_to <= hour < moment.wall_ms
            if is_regular and self._closed_to and self._closed_to < hour:
                hours.append(Hour(len(records), self._closed_to, hour, None, None))
                records.append(self._record(moment, Span(), self._closed_to, hour, is_expected=True))
            span = self._spans.pop(hour)
            hours.append(Hour(len(records), hour, hour + HOUR_MS, span.first, span.last))
            records.append(self._record(moment, span, hour, hour + HOUR_MS, is_expected=is_regular))
            self._closed_to = hour + HOUR_MS if is_regular else self._closed_to
            self._closed[hour] = self.counted
        return records, hours, self._note()

    def _note(self) -> str:
        """Say where a new process has to begin, and which of what it meets is in a ledger already."""
        begin = min((span.first for span in self._spans.values() if span.first), default=self.counted + 1)
        self._closed = {hour: seq for hour, seq in self._closed.items() if seq >= begin}
        return json.dumps({"closed_to": self._closed_to, "closed": self._closed, "from": begin})

    def _span(self, seq: int, at_ms: int) -> Span | None:
        """Give the hour of a record; None if it is in a ledger already."""
        hour = at_ms - at_ms % HOUR_MS
        if seq <= self._closed.get(hour, 0):
            return None
        if hour not in self._spans:
            self._spans[hour] = Span()
        return self._spans[hour]

    def _raw(self, span: Span, seq: int, record: Record) -> None:
        _, text, body = record
        shape = _shape(text)
        if not shape.instrument:
            parts = [part.encode() for part in text.split(SEPARATOR)]
            self._other(span, seq, json.loads(b"{" + joined(parts, body) + b"}"))
            return
        span.seq(seq)
        span.is_sure = True
        if body.endswith(_SEPARATOR) and b"null" not in body:
            span.healthy[text] = span.healthy.get(text, 0) + 1
        else:
            values, _, tail = body.rpartition(_SEPARATOR)
            flags = json.loads(b"{" + tail[1:] + b"}").get("flags", {}) if tail else {}
            known = [None if one == b"null" else one for one in values.split(_SEPARATOR)]
            span.tally(shape.instrument).poll(shape.channels, known, flags)

    def _other(self, span: Span, seq: int, record: dict[str, Any], *, is_sure: bool = True) -> None:
        kind, instrument = record.get("kind"), record.get("instrument")
        if kind == "ledger":
            return
        span.seq(seq)
        if "was" in record:
            return  # the ledgers of the spool that it was in have it, or know that they have not
        span.is_sure = span.is_sure or is_sure
        if kind == "raw" and instrument:
            values = record["values"]
            span.tally(instrument).poll(tuple(values), values.values(), record.get("flags", {}))
        elif kind == "outage" and instrument and "span_s" in record:
            span.tally(instrument).not_asked += record["slots"]

    def _record(self, moment: Moment, span: Span, from_ms: int, to_ms: int, *, is_expected: bool) -> Record:
        missing = self._unacknowledged(span.first, span.last, from_ms, to_ms) if span.records else {}
        expected = {
            name: _slots(interval_s, from_ms, to_ms) if is_expected else 0
            for name, interval_s in self._intervals_s.items()
        }
        names = [*expected, *(name for name in span.all_tallies() if name not in expected)]
        return ledger(
            "hour",
            moment,
            **{"from": iso(from_ms), "to": iso(to_ms), "first": span.first or None, "last": span.last or None},
            records=span.records,
            acknowledged=max(0, span.records - sum(missing.values())),
            instruments={
                name: _figures(span.tally(name), expected.get(name, 0), missing.get(name, 0)) for name in names
            },
        )


def _figures(tally: Tally, expected: int, unacknowledged: int) -> dict[str, Any]:
    return {
        "expected": expected,
        "polled": tally.polled,
        "not_asked": tally.not_asked,
        "acknowledged": max(0, tally.polled - unacknowledged),
        "channels": tally.channels(),
    }


def _is_over(hour: int, now_ms: int) -> bool:
    """Say whether an hour is over; one that lies far ahead was measured under a clock that was stepped back since."""
    return hour + HOUR_MS + GRACE_MS <= now_ms or hour > now_ms + HOUR_MS


def _slots(interval_s: float, from_ms: int, to_ms: int) -> int:
    """Count the multiples of an interval from one time to before another."""
    interval_ms = interval_s * 1000
    return int(-(-to_ms // interval_ms) - -(-from_ms // interval_ms))


@lru_cache(maxsize=1024)
def _kept(channels: tuple[str, ...]) -> tuple[str, ...]:
    """Give the same tuple each time: a week of hours that are counted at once must not hold names of its own."""
    return channels


@lru_cache(maxsize=1024)
def _shape(text: str) -> Shape:
    found = _HEAD.search(text.replace(SEPARATOR, ""))
    if not found or not text.startswith('"kind"'):
        return Shape("", ())
    names = json.loads("{" + text.replace(SEPARATOR, "0").partition('"values":{')[2])
    return Shape(found[1], tuple(names))
