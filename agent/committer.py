"""The thread that commits: many records, one transaction, at most one each `commit_interval`."""

from __future__ import annotations

from collections import Counter
from queue import Empty, SimpleQueue
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from agent.ledger import NOTE as LEDGER
from agent.ledger import Ledger
from agent.record import ledger
from agent.spool.ranges import Ranges
from agent.spool.reader import Reader
from agent.spool.room import SMALL_BYTES
from agent.spool.stored import DamagedRecord
from agent.storage import Storage
from agent.times import iso
from drivers.clock import monotonic_s, now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from agent.record import Record
    from agent.spool.spool import Spool
    from agent.timekeeper import Timekeeper

SETTLE_S = 0.05
"""Records of one slot come in a burst; waiting this long puts them into one commit."""
TURN_S = 2.0
TRIM_EVERY_S = 30.0
TRIM_BATCHES = 25
MEASURE_EVERY_S = 10.0
CATCH_UP_BYTES = 1_000_000
_NO_NOTES: Mapping[str, str] = MappingProxyType({})


class Retention:
    """How long delivered records are kept (seconds), and how large the spool may grow (bytes)."""

    def __init__(self, keep_s: float, size_bytes: float) -> None:
        self.keep_s, self.size_bytes = keep_s, size_bytes


class Committer:
    """Takes records from the pollers and acknowledgements from the publisher, and stores them together."""

    def __init__(
        self,
        spool: Spool,
        timekeeper: Timekeeper,
        interval_s: float,
        retention: Retention,
        committed: Callable[[int], None],
        intervals_s: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self.turned_s = monotonic_s()
        self._spool, self._timekeeper, self._interval_s = spool, timekeeper, interval_s
        self._retention, self._committed = retention, committed
        self._lock = Lock()
        self._records: list[Record] = []
        self._acknowledged: list[tuple[int, int]] = []
        self._damaged: list[tuple[int, int]] = []
        self._notes: dict[str, str] = {}
        self._after: list[Callable[[], None]] = []
        self._wake: SimpleQueue[bool] = SimpleQueue()
        self._committed_s = 0.0
        self._trimmed_s = monotonic_s()
        self._settle_s = min(SETTLE_S, interval_s / 2)
        self._reader: Reader | None = None
        self.storage = Storage(int(retention.size_bytes), spool.newest)
        self._measured_s = -MEASURE_EVERY_S
        self._ledger = Ledger(intervals_s, spool.noted(LEDGER), self._unacknowledged)

    def append(self, record: Record, notes: Mapping[str, str] = _NO_NOTES) -> None:
        """Hand over a record and words to be noted with it; all is on disk within the commit interval, or nothing."""
        with self._lock:
            first = not self._records and not self._notes
            self._records.append(record)
            self._notes |= notes
        if first:
            self._wake.put(True)

    def acknowledge(self, first: int, last: int) -> None:
        """Hand over a range that need not be sent again; stored with the next commit."""
        with self._lock:
            self._acknowledged.append((first, last))

    def note(self, key: str, value: str, then: Callable[[], None], records: Sequence[Record] = ()) -> None:
        """Have a word remembered across restarts; `then` is called once it is on disk, with the records about it."""
        with self._lock:
            first = not self._records and not self._notes
            self._notes[key] = value
            self._after.append(then)
            self._records += records
        if first:  # else a commit is due already, and no more than one each interval
            self._wake.put(True)

    def damaged(self, first: int, last: int) -> None:
        """Give up records that are not what was once stored, and say so with the next commit."""
        with self._lock:
            self._damaged.append((first, last))

    def stop(self) -> None:
        """Commit what is there and end `run`."""
        self._wake.put(False)

    def run(self) -> None:
        """Commit until stopped. Raises SpoolError when the disk fails."""
        self.trim()  # the disk may be full
        going = True
        while going:
            going = self._wait()
            self.turned_s = monotonic_s()
            self.commit()
            if going:
                self._salvage()
                self._keep_ledger()
                self._measure()
            if going and monotonic_s() - self._trimmed_s > TRIM_EVERY_S and not self.trim():
                self._trimmed_s = monotonic_s()

    def commit(self) -> None:
        """Store everything handed over so far, and settle the time of held records when the clock allows it."""
        steps = self._timekeeper.steps()
        with self._lock:
            records, self._records = [*self._records, *steps], []
            acknowledged, self._acknowledged = self._acknowledged, []
            notes, self._notes = self._notes, {}
            after, self._after = self._after, []
            damaged, self._damaged = self._damaged, []
        damaged = list(Ranges(damaged))  # both lanes, requests and the ledger may have come upon the same
        records += [self._given_up(*one) for one in damaged if self._spool.count(*one)]
        records += self._told_again(damaged)
        was_trusted = self._timekeeper.is_trusted
        self._timekeeper.trusted()
        newest = self._spool.newest
        if records or acknowledged or notes:
            self._committed_s = monotonic_s()
            newest = self._store(records, acknowledged, held=not was_trusted, notes=notes, damaged=damaged)
        for then in after:
            then()
        dated = self._timekeeper.settle(self._spool)
        if records or dated:
            self._committed(newest)

    def _store(
        self, records: Sequence[Record], acknowledged: Sequence[tuple[int, int]] = (), *, held: bool, **more: Any
    ) -> int:
        """Commit, and count at once what could otherwise only be counted by reading it again."""
        first = self._spool.newest + 1
        newest = self._spool.commit(records, acknowledged, held=held, **more)
        if not held and self._ledger.counted == first - 1:
            for seq, record in enumerate(records, first):
                self._ledger.count(seq, record)
        return newest

    def _salvage(self) -> None:
        """Copy a batch of what still reads of a damaged spool, unless copies would have to go again for room."""
        if not (self._spool.salvage and self._timekeeper.is_trusted) or self._spool.held():
            return
        unsent = self._spool.acknowledged.missing(1, self._spool.newest)
        most = self._spool.space.copies_at_once(unsent, needs_index=self._spool.salvage.needs_index())
        if not most and self._spool.space.is_short():
            self._spool.trim_acknowledged(None)  # those that were delivered make place
        elif most and (batch := self._spool.salvage.batch(most, since=self._spool.newest + 1)).notes:
            self._committed(self._store(batch.records, held=False, notes=batch.notes))

    def _keep_ledger(self) -> None:
        """Count what is not counted yet, a batch a turn, and write the ledgers of the hours that are over."""
        if self._ledger.counted < self._spool.newest:
            self._catch_up()
        moment = now()
        if (
            self._ledger.counted == self._spool.newest
            and self._timekeeper.is_trusted
            and not self._spool.salvage
            and self._ledger.due(moment.wall_ms)
        ):
            records, hours, note = self._ledger.close(moment)
            self._committed(self._spool.commit(records, hours=hours, notes={LEDGER: note}))
            self._ledger.skip_to(self._spool.newest)

    def _measure(self) -> None:
        if monotonic_s() - self._measured_s >= MEASURE_EVERY_S:
            self._measured_s = monotonic_s()
            self.storage.measure(self._spool.filling(int(self._retention.size_bytes)))

    def _catch_up(self) -> None:
        begin, newest = self._ledger.counted + 1, self._spool.newest
        try:
            found = self._reading().records(begin, newest, CATCH_UP_BYTES)
        except DamagedRecord as error:
            self.damaged(error.first, error.last)
            self._ledger.skip_to(error.last)
            return
        for stored in found:
            self._ledger.count_stored(stored)
        if not found and not self._spool.held():
            self._ledger.skip_to(newest)

    def _unacknowledged(self, first: int, last: int, from_ms: int, to_ms: int) -> dict[str, int]:
        found: Counter[str] = Counter()
        for gap in self._spool.acknowledged.gaps(first, last):
            found.update(self._reading().by_instrument(*gap, from_ms, to_ms))
        return found

    def _reading(self) -> Reader:
        self._reader = self._reader or Reader(self._spool.path)
        return self._reader

    def trim(self) -> bool:
        """Delete what is past its age, over the size limit or fills the disk: delivered first; say what was lost.

        Gives whether to go on soon: a busy station must not store faster than it deletes. A disk that others fill is no
        reason to.
        """
        self._spool.space.keep_reserve()
        before_ms = now().wall_ms - int(self._retention.keep_s * 1000)
        batches = TRIM_BATCHES
        while batches and self._timekeeper.trusted() and self._spool.trim_acknowledged(before_ms):
            batches -= 1
        while batches and self._is_too_much():
            batches -= 1
            if self._spool.space.give_up_packed():
                continue
            is_short = self._spool.space.is_short()
            if is_short and self._spool.copies.remove_finished():
                continue
            if self._spool.trim_acknowledged(None) or (is_short and self._spool.copies.remove_copied()):
                continue
            if is_short and self._spool.space.give_up_ballast():
                continue
            if self._spool.space.used_bytes() <= min(self._retention.size_bytes, SMALL_BYTES):
                break
            self._drop()
        return not batches and not self._spool.space.is_short()

    def _given_up(self, first: int, last: int) -> Record:
        return ledger("damaged", now(), first=first, last=last, records=self._spool.count(first, last))

    def _told_again(self, ranges: Sequence[tuple[int, int]]) -> list[Record]:
        """Tell what only records told of that are given up themselves now."""
        untold = self._spool.untold_by(ranges)
        return [ledger("damaged", now(), first=one, last=other, records=other - one + 1) for one, other in untold]

    def _is_too_much(self) -> bool:
        space = self._spool.space
        return space.used_bytes() + space.packed_bytes() > self._retention.size_bytes or space.is_short()

    def _drop(self) -> None:
        """Give up the oldest unsent records; what tells of it is stored in the same transaction."""
        if (found := self._spool.oldest_unsent()) is None:
            return
        span = {"begin": iso(found.begin_ms), "end": iso(found.end_ms)}
        names, damaged = self._spool.copies_among(found.ranges)
        copies = _ranges_by_spool(names)
        more = {"copies": copies} if copies else {}
        told = ledger("dropped", now(), first=found.first, last=found.last, records=found.records, **span, **more)
        is_held = not self._timekeeper.is_trusted
        again = self._told_again(found.ranges)
        self._committed(self._store([told, *again], held=is_held, drop=found.ranges, damaged=damaged))

    def _wait(self) -> bool:
        """Wait for records, then until their commit is due; False when it is time to stop."""
        try:
            if not self._wake.get(timeout=TURN_S):
                return False
            due_s = max(monotonic_s() + self._settle_s, self._committed_s + self._interval_s)
            return self._wake.get(timeout=max(0.0, due_s - monotonic_s()))
        except Empty:
            return True


def _ranges_by_spool(names: Iterable[tuple[str, int, int]]) -> list[dict[str, Any]]:
    """Join what touches."""
    found: dict[str, Ranges] = {}
    for spool, first, last in names:
        found.setdefault(spool, Ranges()).add(first, last)
    return [{"spool": spool, "seqs": list(ranges)} for spool, ranges in found.items()]
