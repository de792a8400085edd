"""A spool does what a plain list would: whatever is stored, acknowledged, dated, trimmed, asked for or killed.

About 10 s in the suite; STATIOND_MODEL_EXAMPLES=2000 runs so many sequences of steps instead.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent.record import event, joined, measured
from agent.spool.spool import DamagedRecord, Dating, Hour, Reader, Selection, Spool
from drivers.clock import Moment
from drivers.sample import Sample

EXAMPLES = int(os.environ.get("STATIOND_MODEL_EXAMPLES", "150"))
START_MS = 1_795_428_000_000
HOUR_MS = 3_600_000
INSTRUMENTS = ["so2", "no2", None]
SEQS = st.integers(1, 80)


def made(number, instrument, moment):
    if instrument is None:
        return event("start", moment, number=number)
    return measured(instrument, [Sample("a", number), Sample("b", None)], moment)


def body(record):
    return joined([part.encode() for part in record.shape.split("\x1f")], record.body) if record.shape else record.body


class Known:
    """A record as the model knows it; `at_ms` is None while it is held back."""

    def __init__(self, record, instrument, at_ms):
        self.record, self.instrument, self.at_ms = record, instrument, at_ms
        self.doubt = None


class SpoolModel(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp(prefix="spool-model"))
        self.path, self.lives = self.folder / "0" / "spool.db", 0
        self.spool = Spool(self.path)
        self.reader = Reader(self.path)
        self.known, self.newest, self.acknowledged = {}, 0, set()
        self.held, self.noted, self.number = [], "", 0

    def teardown(self):
        self.reader.close()
        self.spool.close()
        shutil.rmtree(self.folder)

    # ---- storing

    @rule(kinds=st.lists(st.sampled_from(INSTRUMENTS), max_size=6), late_h=st.integers(-2, 3), is_held=st.booleans())
    def append(self, kinds, late_h, is_held):
        is_held = is_held or bool(self.held)  # a clock becomes trusted by dating what is held
        self.number += 1
        moment = Moment(START_MS + late_h * HOUR_MS + self.number * 1000, self.number * 1000)
        records = [made(self.number, kind, moment) for kind in kinds]
        self.noted = str(self.number)
        assert self.spool.commit(records, held=is_held, notes={"word": self.noted}) == self.newest + len(kinds)
        for record, kind in zip(records, kinds, strict=True):
            self.newest += 1
            self.known[self.newest] = Known(record, kind, None if is_held else moment.wall_ms)
            self.held += [self.newest] if is_held else []

    @rule(hour=st.integers(-2, 3))
    def write_ledger(self, hour):
        """Write the ledger of an hour as it is by now; what comes later has a ledger of its own."""
        if self.held:
            return
        from_ms = START_MS + hour * HOUR_MS
        seqs = [seq for seq, one in self.known.items() if from_ms <= one.at_ms < from_ms + HOUR_MS]
        row = Hour(0, from_ms, from_ms + HOUR_MS, min(seqs, default=None), max(seqs, default=None))
        ledger = event("ledger", Moment(from_ms + HOUR_MS, 0))
        self.newest = self.spool.commit([ledger], hours=[row])
        self.known[self.newest] = Known(ledger, None, from_ms + HOUR_MS)
        self.known[self.newest].hour = row

    @precondition(lambda self: self.held)
    @rule(is_unsure=st.booleans())
    def date(self, is_unsure):
        first, last = self.spool.held()
        assert (first, last) == (self.held[0], self.newest)
        dating = Dating(first, last, None if is_unsure else START_MS, is_unsure, START_MS if is_unsure else None, None)
        self.spool.date(dating)
        for seq in self.held:
            if one := self.known.get(seq):
                one.at_ms = one.record.moment.wall_ms if is_unsure else START_MS + one.record.moment.elapsed_ms
                one.doubt = is_unsure
        self.held = []

    # ---- delivering and deleting

    @rule(first=SEQS, length=st.integers(0, 10))
    def acknowledge(self, first, length):
        first, last = min(first, self.newest), min(first + length, self.newest)
        if first:
            self.spool.commit([], [(first, last)])
            self.acknowledged |= set(range(first, last + 1))

    @rule(hour=st.integers(-2, 3), most=st.integers(1, 5))
    def trim(self, hour, most):
        before = self.reader.present(1, self.newest)
        count = self.spool.trim_acknowledged(START_MS + hour * HOUR_MS, most)
        gone = {seq for seq in self.known if seq in before} - self.stored()
        assert len(gone) == count <= most
        assert gone <= self.acknowledged
        self.forget(gone)

    @precondition(lambda self: not self.held)
    @rule(most=st.integers(1, 3))
    def drop(self, most):
        oldest = sorted(self.known)[:most]
        dropped = self.spool.drop_unsent(most)
        assert (dropped[:2] if dropped else None) == ((oldest[0], oldest[-1]) if oldest else None)
        if oldest:
            self.acknowledged |= set(range(oldest[0], oldest[-1] + 1))
        self.forget(oldest)

    @precondition(lambda self: self.known and not self.held)
    @rule(data=st.data())
    def flip(self, data):
        """Change a stored body behind the spool's back: it is named, never given, and can be dropped."""
        seq = data.draw(st.sampled_from(sorted(self.known)))
        self.spool._db.execute("UPDATE record SET body = CAST('{' || body AS BLOB) WHERE seq = ?", (seq,))
        with pytest.raises(DamagedRecord) as caught:
            self.reader.records(seq, seq, 0)
        assert (caught.value.first, caught.value.last) == (seq, seq)
        assert self.spool.drop_damaged(seq, seq) == 1
        self.acknowledged.add(seq)
        self.forget([seq])

    # ---- ends of all kinds

    @rule()
    def close(self):
        self.again(lambda: None)

    @rule()
    def crash(self):
        """Go on with a copy of the file and its log as they lie on the disk, without a proper end."""
        self.lives += 1
        folder = self.folder / str(self.lives)
        folder.mkdir()
        for end in ("", "-wal"):
            if (file := Path(f"{self.path}{end}")).exists():
                shutil.copy(file, f"{folder / 'spool.db'}{end}")
        self.again(lambda: setattr(self, "path", folder / "spool.db"))

    def again(self, between):
        old = self.spool.id
        self.reader.close()
        self.spool.close()
        between()
        self.spool, self.reader = Spool(self.path), Reader(self.path)
        assert self.spool.set_aside is None
        assert self.spool.id == self.reader.id == old

    # ---- asking

    @rule(first=SEQS, length=st.integers(0, 60), most=st.integers(1, 30))
    def request_seqs(self, first, length, most):
        last = min(first + length, self.newest)
        assert {seq for a, b in self.reader.present(first, last) for seq in range(a, b + 1)} == {
            seq for seq in self.known if first <= seq <= last
        }
        self.compare(first, last, Selection(), most)

    @rule(
        begin_h=st.integers(-3, 4),
        length_h=st.integers(1, 4),
        names=st.none() | st.frozensets(st.sampled_from(["so2", "no2", "other"]), min_size=1),
        most=st.integers(1, 30),
    )
    def request_time(self, begin_h, length_h, names, most):
        selection = Selection(START_MS + begin_h * HOUR_MS, START_MS + (begin_h + length_h) * HOUR_MS, names)
        expected = self.compare(1, self.newest, selection, most)
        spans = self.reader.spans(selection.from_ms, selection.to_ms)
        newest_hour = max((seq for seq, one in self.known.items() if hasattr(one, "hour")), default=0)
        assert all(seq in spans for seq in expected if seq > newest_hour)

    @rule(begin_h=st.integers(-3, 4), length_h=st.integers(1, 4))
    def request_ledgers(self, begin_h, length_h):
        begin_ms, end_ms = START_MS + begin_h * HOUR_MS, START_MS + (begin_h + length_h) * HOUR_MS
        found, _ = self.reader.selected(1, 1 << 40, Selection(begin_ms, end_ms, only_hours=True), 1 << 30)
        hours = {seq: one.hour for seq, one in self.known.items() if hasattr(one, "hour")}
        assert [one.seq for one in found] == [
            seq for seq, hour in sorted(hours.items()) if hour.from_ms < end_ms and hour.to_ms > begin_ms
        ]

    def compare(self, first, last, selection, most):
        """Read in steps what the model says should be found."""
        expected = [seq for seq in sorted(self.known) if first <= seq <= last and self.is_asked(seq, selection)]
        stop = min((seq for seq in self.held if seq >= first and seq in self.known), default=1 << 40)
        found, place = [], first
        while place <= last:
            some, after = self.reader.selected(place, last, selection, 200, most)
            number, _ = self.reader.count(place, after - 1, selection, 1 << 20)
            assert number == len(some)
            found += [one.seq for one in some]
            if after == place:
                assert place == stop
                break
            place = after
        assert found == [seq for seq in expected if seq < stop]
        return expected

    def is_asked(self, seq, selection):
        one = self.known[seq]
        if selection.instruments is not None and one.instrument not in selection.instruments:
            return False
        return selection.from_ms is None or (one.at_ms is not None and selection.from_ms <= one.at_ms < selection.to_ms)

    # ---- what always holds

    @invariant()
    def model_and_file_agree(self):
        if not hasattr(self, "spool"):
            return
        assert self.spool.newest == self.reader.newest() == self.newest
        assert self.spool.noted("word") == self.noted
        assert {seq for a, b in self.reader.acknowledged() for seq in range(a, b + 1)} == self.acknowledged
        assert self.stored() == set(self.known)
        stop = min(self.held, default=1 << 40)
        found = self.reader.records(1, 1 << 40, 1 << 30)
        visible = [(seq, one) for seq, one in sorted(self.known.items()) if seq < stop]
        assert [(one.seq, one.at_ms, one.body, bool(one.doubt)) for one in found] == [
            (seq, one.at_ms, body(one.record), bool(one.doubt)) for seq, one in visible
        ]
        assert [one.values for one in found] == [1 if one.instrument is None else 2 for _, one in visible]

    def stored(self):
        return {seq for a, b in self.reader.present(1, 1 << 40) for seq in range(a, b + 1)}

    def forget(self, seqs):
        for seq in seqs:
            del self.known[seq]


TestSpoolModel = pytest.mark.no_cover(SpoolModel.TestCase)
TestSpoolModel.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=30, suppress_health_check=list(HealthCheck)
)


def test_a_span_finds_what_its_ledger_counted_and_all_that_came_since(path):
    """Twelve hours of one record a minute: an hour in the middle is looked for in its own records only."""
    with Spool(path) as spool:
        for hour in range(12):
            first = spool.newest + 1
            moments = [Moment(START_MS + hour * HOUR_MS + minute * 60_000, 0) for minute in range(60)]
            spool.commit([made(1, "so2", moment) for moment in moments])
            from_ms = START_MS + hour * HOUR_MS
            row = Hour(0, from_ms, from_ms + HOUR_MS, first, first + 59)
            spool.commit([event("ledger", moments[-1])], hours=[row])
        spool.commit([made(2, "so2", Moment(START_MS + 12 * HOUR_MS, 0))])
    reader = Reader(path)
    spans = list(reader.spans(START_MS + 3 * HOUR_MS, START_MS + 4 * HOUR_MS))
    reader.close()
    assert (183, 244) in spans  # 61 records an hour with its ledger
    assert sum(last - first + 1 for first, last in spans) == 60 + 11 + 1 + 61
