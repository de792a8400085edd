"""Every record is in the ledger of its hour once, whatever restarts and steps of the clock come between."""

import json
import tracemalloc
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent import committer as committer_module
from agent.committer import Committer, Retention
from agent.ledger import GRACE_MS, HOUR_MS, Ledger
from agent.record import event, measured, outage, unanswered
from agent.spool.spool import Dating, Reader, Spool
from agent.timekeeper import Timekeeper
from agent.times import iso, milliseconds
from drivers.clock import Moment
from drivers.sample import Channel, Flag, Sample

TEN = milliseconds("2026-11-24T10:00:00Z")
CHANNELS = (Channel("so2", "SO2", "ppb"), Channel("flow", "flow", "mL/min"))
INTERVALS = {"so2": 5.0}
KEEP = Retention(1e9, 2e9)


def at(seconds, elapsed_ms=0):
    return Moment(TEN + round(seconds * 1000), elapsed_ms)


def good(seconds, instrument="so2"):
    return measured(instrument, [Sample("so2", 1.5), Sample("flow", 700)], at(seconds))


def flagged(seconds):
    samples = [Sample("so2", 1.5, (Flag.CALIBRATION,)), Sample("flow", None, (Flag.FAULT,))]
    return measured("so2", samples, at(seconds))


def failed(seconds):
    return unanswered("so2", CHANNELS, (), "no_answer", at(seconds))


class Clerk:
    """A committer over a spool, turned by hand under a clock that is set by hand."""

    def __init__(self, path, monkeypatch):
        self.path, self._monkeypatch = path, monkeypatch
        self.spool = None
        self.start()

    def start(self):
        """Begin, or begin anew as after a kill."""
        if self.spool:
            self.spool._db.close()
            self.spool.lock.close()
        self.spool = Spool(self.path)
        keeper = Timekeeper("always", 900.0, None)
        keeper.recover(self.spool)
        self.committer = Committer(self.spool, keeper, 0.1, KEEP, lambda newest: None, INTERVALS)

    def at(self, seconds):
        moment = at(seconds)
        self._monkeypatch.setattr(committer_module, "now", lambda: moment)

    def store(self, *records):
        self.committer._store(records, held=False)

    def turn(self, seconds, times=20):
        self.at(seconds)
        for _ in range(times):
            self.committer._keep_ledger()

    def ledgers(self):
        reader = Reader(self.path)
        found = [json.loads(b"{" + one.body + b"}") | {"seq": one.seq} for one in reader.records(1, 1 << 40, 1 << 40)]
        reader.close()
        return [one for one in found if one["kind"] == "ledger"]


@pytest.fixture
def clerk(path, monkeypatch):
    clerk = Clerk(path, monkeypatch)
    yield clerk
    clerk.spool.close()


def test_an_hour_is_written_once_it_is_over(clerk):
    clerk.store(good(0), good(5), flagged(10), failed(15), event("start", at(16)))
    clerk.spool.commit([], [(1, 2)])
    clerk.turn(3600 + 20)
    assert clerk.ledgers() == []
    clerk.turn(3600 + 31)
    (one,) = clerk.ledgers()
    assert one == {
        "seq": 6,
        "kind": "ledger",
        "ledger": "hour",
        "from": "2026-11-24T10:00:00.000Z",
        "to": "2026-11-24T11:00:00.000Z",
        "first": 1,
        "last": 5,
        "records": 5,
        "acknowledged": 2,
        "instruments": {
            "so2": {
                "expected": 720,
                "polled": 4,
                "not_asked": 0,
                "acknowledged": 2,
                "channels": {
                    "so2": {"measured": 3, "valid": 2, "flags": {"calibration": 1, "no_comm": 1, "ok": 2}},
                    "flow": {"measured": 2, "valid": 2, "flags": {"fault": 1, "no_comm": 1, "ok": 2}},
                },
            }
        },
    }
    clerk.turn(3600 + 60)
    assert len(clerk.ledgers()) == 1


def test_slots_that_were_not_asked_are_counted_when_the_outage_ends(clerk):
    begin, end = at(10), at(40)._replace(elapsed_ms=30_000)
    clerk.store(
        outage("back_off", begin, None, at=begin, dated=True, instrument="so2", slots=1),
        outage("back_off", begin, end, at=end, dated=True, instrument="so2", slots=6),
        outage("stopped", begin, end, at=end, dated=True),
    )
    clerk.turn(3700)
    assert clerk.ledgers()[0]["instruments"]["so2"]["not_asked"] == 6


def test_hours_without_a_record_are_one_ledger_between_two(clerk):
    clerk.store(good(0))
    clerk.turn(3700)
    clerk.store(good(5 * 3600 + 1))
    clerk.turn(6 * 3600 + 31)
    spans = [(one["from"][11:16], one["to"][11:16], one["records"], one["first"]) for one in clerk.ledgers()]
    assert spans == [("10:00", "11:00", 1, 1), ("11:00", "15:00", 0, None), ("15:00", "16:00", 1, 3)]
    assert clerk.ledgers()[1]["instruments"]["so2"]["expected"] == 4 * 720


def test_records_of_an_hour_that_is_written_make_another_ledger_that_expects_nothing(clerk):
    clerk.store(good(0))
    clerk.turn(3700)
    clerk.store(good(100))
    clerk.turn(3800)
    first, second = clerk.ledgers()
    assert (first["records"], second["records"], first["from"]) == (1, 1, second["from"])
    assert second["instruments"]["so2"] | {"expected": 0, "polled": 1} == second["instruments"]["so2"]


def test_records_that_were_dated_late_are_counted_in_the_hour_they_belong_to(clerk):
    clerk.spool.commit([good(0), good(5)], held=True)
    clerk.turn(3700)
    assert clerk.ledgers() == []
    first, last = clerk.spool.held()
    clerk.spool.date(Dating(first, last, TEN + 7_200_000, unsure=False, earliest_ms=None, latest_ms=None))
    clerk.turn(3 * 3600 + 31)
    (one,) = clerk.ledgers()
    assert (one["from"], one["records"]) == ("2026-11-24T12:00:00.000Z", 2)


def test_records_that_were_dated_late_count_as_acknowledged_only_if_they_are(clerk):
    clerk.spool.commit([good(0), good(5), event("start", at(6)), good(7)], [(2, 2)], held=True)
    clerk.spool.date(Dating(1, 4, TEN + 7_200_000, unsure=False, earliest_ms=None, latest_ms=None))
    clerk.turn(3 * 3600 + 31)
    (one,) = clerk.ledgers()
    assert (one["from"], one["records"], one["acknowledged"]) == ("2026-11-24T12:00:00.000Z", 4, 1)
    assert (one["instruments"]["so2"]["polled"], one["instruments"]["so2"]["acknowledged"]) == (3, 1)


def test_nothing_is_expected_in_an_hour_that_only_a_clock_nobody_vouched_for_has_shown(clerk):
    """Else a Pi that woke up in 1970 would owe the platform half a century of measurements."""
    clerk.spool.commit([good(-TEN / 1000)], held=True)
    clerk.spool.date(Dating(1, 1, None, unsure=True, earliest_ms=None, latest_ms=None))
    clerk.store(good(0))
    clerk.turn(3631)
    unsure, regular = clerk.ledgers()
    assert (unsure["from"], unsure["records"]) == ("1970-01-01T00:00:00.000Z", 1)
    assert [one["instruments"]["so2"]["expected"] for one in (unsure, regular)] == [0, 720]


def test_nothing_is_expected_in_an_hour_of_which_only_salvaged_records_are_known(clerk):
    """The ledgers of the spool that they were in have said what was."""
    salvaged = good(-86_400)
    clerk.store(
        salvaged._replace(shape='"was":{"spool":null,"seq":\x1f},' + salvaged.shape, body=b"17\x1f" + salvaged.body)
    )
    clerk.store(good(0))
    clerk.turn(3631)
    old, regular = clerk.ledgers()
    assert (old["from"], old["records"]) == ("2026-11-23T10:00:00.000Z", 1)
    assert old["instruments"]["so2"] == {
        "expected": 0, "polled": 0, "not_asked": 0, "acknowledged": 0, "channels": {}
    }  # fmt: skip
    assert (regular["from"], regular["instruments"]["so2"]["expected"]) == ("2026-11-24T10:00:00.000Z", 720)


def test_the_hours_are_the_time_index_of_the_spool(clerk, path):
    clerk.store(*(good(seconds) for seconds in range(0, 7200, 60)))
    clerk.turn(2 * 3600 + 31)
    reader = Reader(path)
    assert list(reader.spans(TEN + HOUR_MS, TEN + 2 * HOUR_MS)) == [(61, 122)]
    assert [one["first"] for one in clerk.ledgers()] == [1, 61]
    reader.close()


def test_a_slow_instrument_expects_the_slots_that_lie_in_the_hour():
    ledger = Ledger({"daily": 86_400.0, "slow": 2400.0}, "", lambda *_: {})
    ledger.count(1, good(86_400 + 14 * 3600 + 100, "daily"))
    records, _, _ = ledger.close(at(86_400 + 16 * 3600))
    found = json.loads(b"{" + records[0].body + b"}")
    assert found["from"] == "2026-11-26T00:00:00.000Z"
    assert [found["instruments"][name]["expected"] for name in ("daily", "slow")] == [1, 2]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("store"), st.integers(0, 6 * 3600), st.sampled_from([good, flagged, failed])),
        st.tuples(st.just("turn"), st.integers(0, 8 * 3600), st.integers(1, 3)),
        st.just(("kill",)),
    ),
    max_size=40,
)


@pytest.mark.no_cover
@settings(max_examples=60)
@given(STEPS)
@example(
    [("store", 0, good), ("turn", 3630, 1), ("kill",), ("store", 7200, good), ("turn", 0, 2), ("kill",)]
)  # a clock that jumps back: in the hour that it comes to stand only ledgers
def test_the_ledgers_of_an_hour_add_up_to_what_is_stored_whatever_happens(tmp_path_factory, steps):
    """Random records in random hours, clocks that jump, kills between any two turns: each record counts once."""
    truth: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(committer_module, "CATCH_UP_BYTES", 400)
        clerk = Clerk(tmp_path_factory.mktemp("ledger") / "spool.db", monkeypatch)
        for word, *details in steps:
            if word == "store":
                seconds, make = details
                clerk.store(make(seconds))
                truth[iso(TEN + seconds // 3600 * HOUR_MS)] += 1
            elif word == "turn":
                clerk.turn(*details)
            else:
                clerk.start()
        clerk.turn(20 * 3600 + GRACE_MS / 1000, 200)
        counted: Counter[str] = Counter()
        polled: Counter[str] = Counter()
        for one in clerk.ledgers():
            counted[one["from"]] += one["records"]
            polled[one["from"]] += one["instruments"]["so2"]["polled"]
        clerk.spool.close()
    assert +counted == truth
    assert +polled == truth


def test_a_week_of_hours_that_is_counted_at_once_costs_little_memory_and_is_written_in_pieces(tmp_path):
    """A spool of an older version, or one that an untrusted clock held for long, is caught up at one go."""
    names = [f"channel_{number:02d}" for number in range(20)]
    with Spool(tmp_path / "spool.db") as spool:
        for hour in range(168):
            polls = [measured(f"sim{n:03d}", [Sample(name, 1.5) for name in names], at(hour * 3600)) for n in range(20)]
            spool.commit(polls)
        reader = Reader(tmp_path / "spool.db")
        stored = reader.records(1, spool.newest, 1 << 40)
        reader.close()
    ledger = Ledger({f"sim{n:03d}": 60.0 for n in range(20)}, "", lambda *_: {})
    tracemalloc.start()
    for one in stored:
        ledger.count_stored(one)
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held_bytes < 4_000_000
    pieces = []
    while ledger.due(at(169 * 3600).wall_ms):
        pieces.append(ledger.close(at(169 * 3600))[0])
    assert [len(piece) for piece in pieces] == [10] * 16 + [8]
    found = [json.loads(b"{" + record.body + b"}") for piece in pieces for record in piece]
    assert [one["from"] for one in found] == sorted({one["from"] for one in found})
    assert all(one["instruments"]["sim007"]["channels"]["channel_03"]["valid"] == 1 for one in found)
