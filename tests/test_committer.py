"""What pollers hand over is on disk within the commit interval, and the spool stays within its bounds."""

import json
import sqlite3
import threading
import time
from contextlib import closing, contextmanager

from waiting import until

from agent import committer as committer_module
from agent.committer import Committer, Retention
from agent.config import load
from agent.record import Record, event, ledger, measured
from agent.spool.spool import Reader, Spool, SpoolError
from agent.timekeeper import Timekeeper
from agent.times import iso
from drivers.clock import Moment, now
from drivers.sample import Sample

KEEP = Retention(30 * 86_400.0, 2e9)


def make(spool, timekeeper=None, interval_s=0.1, retention=KEEP):
    committed = []
    keeper = timekeeper or Timekeeper("always", 900.0, None)
    if timekeeper is None:
        keeper.recover(spool)
    return Committer(spool, keeper, interval_s, retention, committed.append), committed


@contextmanager
def running(committer):
    errors = []

    def root():
        try:
            committer.run()
        except SpoolError as error:
            errors.append(error)

    thread = threading.Thread(target=root)
    thread.start()
    try:
        yield errors
    finally:
        committer.stop()
        thread.join(10)
        assert not thread.is_alive()


def stored(path):
    reader = Reader(path)
    try:
        return reader.records(1, 1 << 40, 1 << 30)
    finally:
        reader.close()


def events(path):
    return [one.seq for one in stored(path) if b'"kind":"event"' in one.body]


def record(number=1):
    return measured("so2", [Sample("so2", number)], now())


def fat(wall_ms):
    return Record(Moment(wall_ms, 1), "", b'"kind":"event","event":"%s"' % (b"x" * 4000))


def test_a_record_is_on_disk_and_announced_within_the_commit_interval(spool, path):
    committer, committed = make(spool, interval_s=0.2)
    with running(committer):
        begin_s = time.monotonic()
        committer.append(record())
        until(lambda: committed == [1])
        assert time.monotonic() - begin_s < 0.2 + 0.15  # the rest is the machine's
        assert len(stored(path)) == 1


def test_a_burst_of_records_is_one_commit(spool, path):
    committer, committed = make(spool)
    with running(committer):
        for number in range(50):
            committer.append(record(number))
        until(lambda: committed and committed[-1] == 50)
    assert len(committed) <= 2


def test_records_that_come_all_the_time_are_committed_once_an_interval(spool):
    committer, committed = make(spool, interval_s=0.1)
    with running(committer):
        begin_s = time.monotonic()
        number = 0
        while time.monotonic() - begin_s < 1.0:
            committer.append(record(number))
            number += 1
            time.sleep(0.002)
    assert 5 <= len(committed) <= 12


def test_notes_that_come_all_the_time_are_committed_once_an_interval(spool):
    """Their records too; everyone is told once his is on disk."""
    committer, committed = make(spool, interval_s=0.1)
    told = []
    with running(committer):
        begin_s = time.monotonic()
        number = 0
        while time.monotonic() - begin_s < 1.0:
            committer.note("works", str(number), lambda number=number: told.append(number), [record(number)])
            number += 1
            time.sleep(0.002)
    assert 5 <= len(committed) <= 12
    assert told == list(range(number))


def test_a_note_before_or_after_a_record_wakes_the_committer_once(spool, path):
    committer, committed = make(spool)
    told = threading.Event()
    with running(committer):
        committer.note("works", "x", told.set)
        assert told.wait(5)
        committer.append(record())
        until(lambda: committed == [1])
        assert len(stored(path)) == 1


def test_stopping_commits_what_is_there(spool, path):
    committer, _ = make(spool, interval_s=60.0)
    with running(committer):
        committer.append(record())
    assert len(stored(path)) == 1


def test_acknowledgements_are_stored_with_the_next_commit(spool):
    committer, _ = make(spool)
    with running(committer):
        committer.append(record())
        committer.acknowledge(1, 1)
        until(lambda: list(spool.acknowledged) == [(1, 1)])


def test_an_untrusted_clock_holds_records_back_and_they_are_announced_once_dated(spool, path, monkeypatch, tmp_path):
    monkeypatch.setattr("agent.timekeeper._TIMESYNCD", tmp_path)
    monkeypatch.setattr("agent.timekeeper.ASK_EVERY_S", 0.0)
    committer, committed = make(spool, Timekeeper("ntp", 900.0, None))
    committer.append(record())
    committer.commit()
    assert committed == [1]
    assert stored(path) == []
    (tmp_path / "synchronized").touch()
    committer.commit()
    assert committed == [1, 1]
    assert len(stored(path)) == 1


def test_a_record_measured_just_before_the_clock_was_set_is_dated_by_the_set_clock(spool, path, monkeypatch, tmp_path):
    """It may have been measured at 1970 and be committed when the clock is already trusted."""
    monkeypatch.setattr("agent.timekeeper._TIMESYNCD", tmp_path)
    committer, _ = make(spool, Timekeeper("ntp", 900.0, None))
    moment = now()
    committer.append(event("start", Moment(1000, moment.elapsed_ms)))
    (tmp_path / "synchronized").touch()
    committer.commit()
    (one,) = stored(path)
    assert abs(one.at_ms - moment.wall_ms) < 100
    assert one.doubt is None


def test_a_step_of_the_clock_becomes_a_record(spool, path, monkeypatch):
    committer, _ = make(spool)
    moment = now()
    monkeypatch.setattr("agent.timekeeper.now", lambda: Moment(moment.wall_ms + 3_600_000, moment.elapsed_ms))
    committer.commit()
    assert b'"event":"clock_step"' in stored(path)[0].body


# ---- trimming


def test_trimming_goes_on_with_the_next_commit_when_one_turn_was_not_enough(spool, monkeypatch):
    """Else a station that stores more than a turn deletes would grow without bound."""
    monkeypatch.setattr(committer_module, "TRIM_BATCHES", 2)
    monkeypatch.setattr(committer_module, "TRIM_EVERY_S", 0.0)
    committer, _ = make(spool, retention=Retention(0.0, 2e9))
    spool.commit([Record(Moment(1, 1), "", b'"x":1') for _ in range(500)], [(1, 500)])
    assert committer.trim()
    assert not committer.trim()


def test_delivered_records_are_deleted_when_they_are_past_their_age(spool, path):
    committer, _ = make(spool, retention=Retention(3600.0, 2e9))
    old_ms = now().wall_ms - 3_700_000
    spool.commit([fat(old_ms), fat(old_ms), fat(now().wall_ms)], [(2, 3)])
    committer.trim()
    assert [one.seq for one in stored(path)] == [1, 3]


def test_nothing_is_deleted_for_its_age_while_the_clock_is_not_trusted(spool, path, monkeypatch, tmp_path):
    monkeypatch.setattr("agent.timekeeper._TIMESYNCD", tmp_path)
    committer, _ = make(spool, Timekeeper("ntp", 900.0, None), retention=Retention(3600.0, 2e9))
    spool.commit([fat(1000)], [(1, 1)])
    committer.trim()
    assert len(stored(path)) == 1


def test_over_the_size_limit_delivered_records_go_first_and_only_as_many_as_needed(spool, path):
    committer, _ = make(spool, retention=Retention(1e9, 2_000_000))
    spool.commit([fat(now().wall_ms) for _ in range(700)], [(201, 500)])
    committer.trim()
    left = [one.seq for one in stored(path)]
    assert spool.space.used_bytes() <= 2_000_000
    assert left[:200] == list(range(1, 201))
    assert left[-200:] == list(range(501, 701))
    assert len(left) >= 400


def test_unsent_records_go_last_and_that_is_recorded(spool, path):
    committer, _ = make(spool, retention=Retention(1e9, 1_000_000))
    spool.commit([fat(now().wall_ms) for _ in range(700)], [(1, 100)])
    committer.trim()
    committer.commit()
    assert spool.space.used_bytes() <= 1_000_000 + 100_000
    told = [json.loads(b"{" + one.body + b"}") for one in stored(path)[-5:]]
    dropped = [(one["first"], one["last"]) for one in told if one["kind"] == "ledger"]
    assert dropped[0][0] == 101
    assert stored(path)[0].seq == dropped[-1][1] + 1


def test_what_was_dropped_is_told_in_the_transaction_that_drops_it(spool, path):
    """Whatever kills the process in between, no record goes without a word."""
    committer, _ = make(spool, retention=Retention(1e9, 1_000_000))
    spool.commit([fat(now().wall_ms) for _ in range(700)], [(1, 100), (150, 159)])
    committer.trim()
    told = [json.loads(b"{" + one.body + b"}") for one in stored(path) if one.seq > 700]
    assert sum(one["records"] for one in told) == told[-1]["last"] - 100 - 10
    assert stored(path)[0].seq == told[-1]["last"] + 1


def test_ledgers_are_given_up_only_when_nothing_else_is_left(spool, path):
    committer, _ = make(spool, retention=Retention(1e9, 700_000))
    spool.commit([ledger("hour", now(), number=number) for number in range(3)])
    spool.commit([fat(now().wall_ms) for _ in range(700)])
    committer.trim()
    committer.trim()
    left = [json.loads(b"{" + one.body + b"}") for one in stored(path)]
    assert [one.get("number") for one in left[:4]] == [0, 1, 2, None]
    assert 703 - sum(one["records"] for one in left if one.get("ledger") == "dropped") == 3 + len(events(path))
    while events(path):
        spool.drop_unsent()
    assert stored(path)[0].seq == 1
    spool.drop_unsent()
    assert stored(path) == []


def test_a_damaged_record_is_told_once_whoever_comes_upon_it(spool, path):
    spool.commit([record(number) for number in range(10)])
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE record SET body = x'00' WHERE seq = 5")
    committer, _ = make(spool)
    committer.damaged(5, 5)
    committer.damaged(5, 5)
    committer.commit()
    committer.damaged(5, 5)
    committer.commit()
    told = [json.loads(b"{" + one.body + b"}") for one in stored(path)[9:]]
    assert [(one["ledger"], one["first"], one["last"], one["records"]) for one in told] == [("damaged", 5, 5, 1)]


CONFIG = """\
[station]
id = "DL-001"
[broker]
url = "mqtt://127.0.0.1:1"
[spool]
path = "{path}"
keep = "30d"
size = "{size}"
"""
DAY_MS = 86_400_000


def retained(tmp_path, path, size):
    """Give what the configuration says of retention."""
    (tmp_path / "station.toml").write_text(CONFIG.format(path=path, size=size))
    spool = load(tmp_path).spool
    return Retention(spool.keep_s, spool.size_bytes)


def test_30_days_are_kept_and_no_more_of_what_was_delivered(spool, path, tmp_path):
    """A record each hour for 40 days, of which the broker has all but the tenth day's."""
    committer, _ = make(spool, retention=retained(tmp_path, path, "2GB"))
    begin_ms = now().wall_ms - 40 * DAY_MS + 60_000
    spool.commit([Record(Moment(begin_ms + hour * 3_600_000, 1), "", b'"kind":"event"') for hour in range(40 * 24)])
    spool.commit([], [(1, 9 * 24), (10 * 24 + 1, 40 * 24)])
    committer.trim()
    left = [one.seq for one in stored(path)]
    assert left == [*range(9 * 24 + 1, 10 * 24 + 1), *range(10 * 24 + 1, 40 * 24 + 1)]
    spool.commit([], [(1, 40 * 24)])
    committer.trim()
    assert stored(path)[0].at_ms >= now().wall_ms - 30 * DAY_MS
    assert len(stored(path)) == 30 * 24
    assert not any(b"dropped" in one.body for one in stored(path))


def test_a_size_with_a_unit_costs_the_delivered_first_then_the_oldest_unsent_and_says_so(spool, path, tmp_path):
    committer, _ = make(spool, retention=retained(tmp_path, path, "16MB"))
    wide = [measured("so2", [Sample(f"c{number}", "x" * 500) for number in range(20)], now()) for _ in range(2000)]
    spool.commit(wide, [(501, 900)])
    for _ in range(5):
        committer.trim()
    assert 16_000_000 - 200 * 11_000 < spool.space.used_bytes() <= 16_000_000  # as much as goes in one transaction
    left = [one for one in stored(path) if b'"raw"' in one.body]
    told = [json.loads(b"{" + one.body + b"}") for one in stored(path) if b'"dropped"' in one.body]
    unsent = [*range(1, 501), *range(901, 2001)]
    assert [one.seq for one in left] == [seq for seq in unsent if seq > told[-1]["last"]]
    assert sum(one["records"] for one in told) == len(unsent) - len(left)
    assert (told[0]["first"], told[0]["begin"]) == (1, iso(wide[0].moment.wall_ms))


def test_the_days_left_are_those_after_which_something_unsent_has_to_go(spool, path, monkeypatch):
    """Filled at the pace that was foretold, nothing is dropped a little before that day, and something soon after."""
    clock = [1000.0]
    monkeypatch.setattr("agent.storage.monotonic_s", lambda: clock[0])
    committer, _ = make(spool, retention=Retention(30 * 86_400.0, 4_000_000))
    some = [measured("so2", [Sample(f"c{number}", 1.25 * number) for number in range(20)], now()) for _ in range(500)]
    for _ in range(8):
        clock[0] += 500.0
        spool.commit(some)
    committer._measure()
    days = committer.storage.portrait()["days_left"]
    expected = round(days * 86_400)  # one record a second
    while spool.oldest_unsent(1).first == 1:
        spool.commit(some)
        committer.trim()
    until_drop = spool.newest - 4000
    assert days > 0.05
    assert abs(until_drop - expected) < 0.1 * expected + 500


def test_a_nearly_full_disk_costs_delivered_records_before_it_costs_a_commit(small_disk):
    folder = small_disk(16_384)
    with Spool(folder / "spool.db") as spool:
        committer, _ = make(spool)
        spool.commit([fat(now().wall_ms) for _ in range(1000)], [(1, 1000)])
        (folder / "rest").write_bytes(bytes(spool.space._room.free_bytes() - 512 * 1024))
        assert spool.space.is_short()
        committer.trim()
        assert not spool.space.is_short()
        assert 0 < len(stored(folder / "spool.db")) < 1000


def test_old_records_are_deleted_at_start_and_then_from_time_to_time(spool, path, monkeypatch):
    monkeypatch.setattr(committer_module, "TRIM_EVERY_S", 0.0)
    committer, committed = make(spool, retention=Retention(3600.0, 2e9))
    old_ms = now().wall_ms - 3_700_000
    spool.commit([fat(old_ms)], [(1, 1)])

    def left():
        """Give what is there, apart from the ledgers of the hours that were deleted."""
        return [one for one in stored(path) if b'"ledger"' not in one.body]

    with running(committer):
        until(lambda: left() == [])
        committer.append(Record(Moment(old_ms, 1), "", b'"kind":"event"'))
        until(left)
        committer.acknowledge(2, left()[0].seq)
        committer.append(record())
        until(lambda: [one.body[:25] for one in left()] == [b'"kind":"raw","instrument"'])
    assert committed


def test_a_disk_that_fails_ends_the_thread_with_the_reason(spool, path):
    committer, _ = make(spool)
    with running(committer) as errors:
        spool._db.execute("PRAGMA query_only=1")
        committer.append(record())
        until(lambda: errors)
    assert "spool.db: cannot store" in str(errors[0])


def test_a_small_spool_drops_nothing_unsent_on_a_disk_that_others_fill(spool, monkeypatch):
    """Its few records would not make room; the disk is somebody else's trouble until it cannot store."""
    monkeypatch.setattr(type(spool.space), "is_short", lambda _space: True)
    timekeeper = Timekeeper("always", 900.0, None)
    committer = Committer(spool, timekeeper, 1.0, Retention(86400.0, 1e9), lambda _newest: None)
    committer.append(event("start", now()))
    committer.commit()
    committer.trim()
    committer.commit()
    assert spool.drop_unsent() is not None
    assert spool.newest == 1
