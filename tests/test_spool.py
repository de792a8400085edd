"""Nothing that was committed is lost, no number is given twice, and a file that cannot be used is named."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from agent.record import Record, event, measured
from agent.spool.room import BALLAST_BYTES
from agent.spool.spool import Dating, Reader, Spool, SpoolError, condemn, holder
from drivers.clock import Moment, monotonic_s, now
from drivers.sample import Sample

START_MS = 1_795_428_000_000


def record(number, wall_ms=None):
    moment = Moment(START_MS + number * 1000 if wall_ms is None else wall_ms, 5_000 + number * 1000)
    return measured("so2", [Sample("so2", number), Sample("text", f'a,"{number}"')], moment)


def fat(number, size=4000):
    return Record(Moment(START_MS + number, number), "", b'"kind":"event","event":"%s"' % (b"x" * size))


def fill(spool, count, first=1, **how):
    return spool.commit([record(number) for number in range(first, first + count)], **how)


def stored(path, first=1, last=1 << 40, max_bytes=1 << 30):
    reader = Reader(path)
    try:
        return reader.records(first, last, max_bytes)
    finally:
        reader.close()


def seqs(path):
    return [one.seq for one in stored(path)]


def value(one):
    return json.loads(b"{" + one.body + b"}")["values"]


# ---- storing


def test_what_was_committed_is_there_after_closing_and_opening(path):
    with Spool(path) as spool:
        assert fill(spool, 3) == 3
    with Spool(path) as spool:
        assert spool.newest == 3
        assert [(one.seq, one.at_ms, value(one)) for one in stored(path)] == [
            (n, START_MS + n * 1000, {"so2": n, "text": f'a,"{n}"'}) for n in (1, 2, 3)
        ]


def test_records_are_numbered_from_one_without_a_gap(spool, path):
    fill(spool, 2)
    spool.commit([event("start", now())])
    fill(spool, 2)
    assert seqs(path) == [1, 2, 3, 4, 5]


def test_the_id_of_a_spool_stays_the_same_and_differs_between_spools(path, tmp_path):
    with Spool(path) as spool:
        first = spool.id
    with Spool(path) as spool, Spool(tmp_path / "other.db") as other:
        assert spool.id == first != other.id
        assert len(first) == 32


def test_a_number_is_never_given_again_even_after_everything_was_trimmed(path):
    with Spool(path) as spool:
        fill(spool, 5)
        spool.commit([], [(1, 5)])
        assert spool.trim_acknowledged(None) == 5
        assert seqs(path) == []
    with Spool(path) as spool:
        assert fill(spool, 1) == 6


def test_a_number_is_never_given_again_after_unsent_records_had_to_be_dropped(path):
    with Spool(path) as spool:
        fill(spool, 5)
        spool.drop_unsent()
    with Spool(path) as spool:
        assert fill(spool, 1) == 6


def test_what_the_records_of_an_instrument_share_is_stored_once(spool, path):
    fill(spool, 50)
    db = sqlite3.connect(path)
    assert db.execute("SELECT count(*) FROM shape").fetchone() == (1,)
    db.close()


def test_a_reader_sees_a_new_kind_of_record_beside_the_writer(spool, path):
    fill(spool, 1)
    reader = Reader(path)
    assert len(reader.records(1, 9, 1000)) == 1
    spool.commit([measured("no2", [Sample("no2", 7.5)], now())])
    assert value(reader.records(2, 9, 1000)[0]) == {"no2": 7.5}
    assert reader.newest() == 2
    reader.close()


def test_a_reader_that_is_in_the_middle_of_reading_does_not_stop_the_writer(spool, path):
    fill(spool, 100)
    db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    rows = db.execute("SELECT seq FROM record")
    assert rows.fetchone() == (1,)
    assert fill(spool, 1) == 101
    db.close()


def test_a_reader_that_is_in_the_middle_of_reading_does_not_hold_up_the_end(path):
    """A copy of the file in progress must not cost the daemon the five seconds it has to end."""
    with Spool(path) as spool:
        fill(spool, 100)
        db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        rows = db.execute("SELECT seq FROM record")
        assert rows.fetchone() == (1,)
        fill(spool, 100)
        began_s = monotonic_s()
    assert monotonic_s() - began_s < 2
    db.close()
    assert len(stored(path)) == 200


def test_records_are_read_up_to_a_number_of_bytes_but_always_one(spool, path):
    fill(spool, 100)
    assert len(stored(path, max_bytes=0)) == 1
    some = stored(path, max_bytes=1500)
    assert 5 < len(some) < 25
    assert sum(len(one.body) + 60 for one in some) <= 1500


# ---- acknowledgements


def test_acknowledgements_are_joined_into_few_ranges_and_survive_a_restart(path):
    with Spool(path) as spool:
        fill(spool, 30)
        for seq in [*range(1, 11), *range(15, 21), 11, 12]:
            spool.commit([], [(seq, seq)])
    with Spool(path) as spool:
        assert list(spool.acknowledged) == [(1, 12), (15, 20)]
        reader = Reader(path)
        assert list(reader.acknowledged()) == [(1, 12), (15, 20)]
        reader.close()


# ---- who may open it


def test_a_second_daemon_is_refused_and_told_who_holds_the_spool(spool, path):
    with pytest.raises(SpoolError, match=rf"in use by another stationd \(process {os.getpid()}\)"):
        Spool(path)
    assert fill(spool, 1) == 1


def test_the_spool_is_free_again_when_its_holder_closed_it(path):
    with Spool(path):
        assert holder(path) == os.getpid()
    assert holder(path) is None
    Spool(path).close()


def test_asking_who_holds_the_spool_never_keeps_a_daemon_from_starting(path):
    """Whoever asks locks for an instant; a daemon that starts in that instant must not be refused."""
    Spool(path).close()
    imports = "import sys; from pathlib import Path; from agent.spool.spool import holder"
    ask = f"{imports}\nwhile True: holder(Path(sys.argv[1]))"
    with subprocess.Popen([sys.executable, "-c", ask, path]) as asking:
        try:
            for _ in range(100):
                Spool(path).close()
        finally:
            asking.kill()


def test_a_reader_of_a_spool_that_is_not_there_says_so(path):
    with pytest.raises(SpoolError, match=r"spool\.db: cannot be read"):
        Reader(path)
    assert not path.exists()


# ---- files that cannot be used


def test_a_read_only_disk_is_named(small_disk):
    folder = small_disk(1024)
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    with pytest.raises(SpoolError, match=r"spool\.db: cannot be used: Read-only file system"):
        Spool(folder / "spool.db")


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SpoolError, match=r"spool\.db: cannot be used: (Not a directory|File exists)"):
        Spool(tmp_path / "file" / "spool.db")


def test_a_disk_that_is_full_from_the_start_is_named(small_disk):
    folder = small_disk(256)
    (folder / "rest").write_bytes(bytes(os.statvfs(folder).f_bavail * 4096))
    with pytest.raises(SpoolError, match=r"spool\.db: cannot be used: .*(full|No space)"):
        Spool(folder / "spool.db")


def fill_up(spool):
    """Commit delivered records until the disk is full; gives the newest seq that was stored, and the error."""
    newest = 0
    try:
        while True:
            newest = spool.commit([fat(n) for n in range(10)], [(max(1, newest - 9), max(1, newest))])
    except SpoolError as error:
        spool.close()
        return newest, str(error)


def test_a_disk_that_fills_up_is_said_and_costs_nothing_that_was_committed(small_disk):
    path = small_disk(1024) / "spool.db"
    newest, error = fill_up(Spool(path))
    assert "spool.db: cannot store: database or disk is full" in error
    assert newest > 100
    assert seqs(path) == list(range(1, newest + 1))


def test_on_a_full_disk_the_ballast_is_given_up_so_that_delivered_records_can_make_room(small_disk):
    folder = small_disk(16_384)
    path, ballast = folder / "spool.db", folder / "spool.db.ballast"
    spool = Spool(path)
    assert ballast.stat().st_size == BALLAST_BYTES
    newest, _ = fill_up(spool)
    (folder / "rest").write_bytes(bytes(os.statvfs(folder).f_bavail * 4096))
    with Spool(path) as spool:
        assert not ballast.exists()
        assert spool.newest == newest
        while spool.trim_acknowledged(None, most=20):
            pass
        for _ in range(50):
            spool.commit([fat(n) for n in range(10)])
        assert spool.newest == newest + 500


def test_a_file_of_a_newer_version_is_refused_and_left_alone(path):
    Spool(path).close()
    db = sqlite3.connect(path)
    db.execute("UPDATE meta SET value = '7', crc = NULL WHERE key = 'schema'")
    db.commit()
    db.close()
    before = path.read_bytes()
    with pytest.raises(SpoolError, match=r"written by a newer stationd \(schema 7, known 2\)"):
        Spool(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.glob("*damaged*")] == []


def test_a_file_that_is_no_spool_is_kept_under_another_name_and_a_new_one_begun(path):
    path.write_bytes(b"not a database, but a long story " * 1000)
    with Spool(path) as spool:
        assert spool.set_aside == path.with_name("spool.db.damaged-1")
        assert spool.set_aside.read_bytes().startswith(b"not a database")
        assert fill(spool, 2) == 2
    with Spool(path) as spool:
        assert spool.set_aside is None
        assert spool.newest == 2


@pytest.mark.parametrize("page", [1, 2, 3, 4, 5, 6])
def test_a_file_with_a_page_overwritten_is_set_aside_or_opened_but_never_in_the_way(path, page):
    with Spool(path) as spool:
        fill(spool, 500)
        spool.commit([], [(1, 300)])
        old = spool.id
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)
    with Spool(path) as spool:
        assert fill(spool, 1)
        if spool.set_aside:
            assert spool.id != old
            assert spool.set_aside.exists()
    with Spool(path) as spool:
        assert spool.newest >= 1


def test_damage_that_shows_only_when_records_are_read_does_not_stop_the_station_for_good(path):
    """Such a spool opens; whoever meets the damage says so, and the next start begins a new one."""
    with Spool(path) as spool:
        fill(spool, 5000)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xa5" * 8192)
    with pytest.raises(SpoolError, match=r"spool\.db: cannot be read") as caught:
        stored(path)
    assert caught.value.is_damaged
    condemn(path)
    for is_first in (True, False):
        with Spool(path) as spool:
            assert (spool.set_aside is not None) == is_first
            fill(spool, 1)
    assert len(stored(path)) == 2


@pytest.mark.parametrize("body", ["x'31'", "'1'", "7", "NULL"])
def test_a_record_that_does_not_fit_its_shape_is_damage_and_not_a_defect_of_ours(spool, path, body):
    """A flipped bit in the file may turn a record into anything."""
    fill(spool, 1)
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript("DROP TABLE record; CREATE TABLE record(seq, at_ms, elapsed_ms, shape, body)")
        db.execute(f"INSERT INTO record VALUES (1, 1, NULL, 1, {body})")
    with pytest.raises(SpoolError) as caught:
        stored(path)
    assert caught.value.is_damaged


def test_each_damaged_file_gets_a_name_of_its_own(path):
    for number in (1, 2):
        path.write_bytes(b"rubbish " * 1000)
        with Spool(path) as spool:
            assert spool.set_aside.name == f"spool.db.damaged-{number}"


# ---- records whose time is not known yet


def test_records_of_an_untrusted_clock_are_held_back_until_they_are_dated(spool, path):
    fill(spool, 2)
    spool.commit([record(3, wall_ms=1000), record(4, wall_ms=2000)], held=True)
    assert spool.held() == (3, 4)
    assert seqs(path) == [1, 2]
    spool.date(Dating(3, 4, START_MS, unsure=False, earliest_ms=None, latest_ms=None))
    assert spool.held() is None
    assert [(one.at_ms, one.doubt) for one in stored(path, first=3)] == [
        (START_MS + 8000, None),
        (START_MS + 9000, None),
    ]


def test_held_records_are_still_held_after_a_restart(path):
    with Spool(path) as spool:
        fill(spool, 1)
        fill(spool, 2, held=True)
        spool.note("boot", "b1")
    with Spool(path) as spool:
        assert spool.held() == (2, 3)
        assert spool.noted("boot") == "b1"


def test_records_that_can_never_be_dated_are_sent_with_what_their_clock_said_and_the_bounds(spool, path):
    spool.commit([record(1, wall_ms=1000)], held=True)
    dating = Dating(1, 1, None, unsure=True, earliest_ms=START_MS, latest_ms=None)
    spool.date(dating)
    assert [(one.at_ms, one.doubt) for one in stored(path)] == [(1000, dating)]


def test_a_reader_that_met_held_records_sees_them_once_they_are_dated(spool, path):
    spool.commit([record(1, wall_ms=1000)], held=True)
    reader = Reader(path)
    assert reader.records(1, 1, 1000) == []
    assert reader.exists(1, 1)
    spool.date(Dating(1, 1, START_MS, unsure=False, earliest_ms=None, latest_ms=None))
    assert [one.at_ms for one in reader.records(1, 1, 1000)] == [START_MS + 6000]
    reader.close()


def test_a_station_that_never_learns_the_time_notes_that_once_and_not_with_every_commit(spool, path):
    for number in range(1, 101):
        spool.commit([record(number, wall_ms=number)], held=True)
        spool.date(Dating(*spool.held(), None, unsure=True, earliest_ms=START_MS, latest_ms=None))
    db = sqlite3.connect(path)
    assert db.execute("SELECT first, last FROM dating").fetchall() == [(1, 100)]
    db.close()
    assert [one.doubt.earliest_ms for one in stored(path)] == [START_MS] * 100


# ---- trimming


def test_only_delivered_records_past_their_age_are_deleted(spool, path):
    fill(spool, 10)
    spool.commit([], [(1, 4), (7, 10)])
    limit_ms = START_MS + 9000
    while spool.trim_acknowledged(limit_ms):
        pass
    assert seqs(path) == [5, 6, 9, 10]


def test_trimming_goes_on_in_small_steps(spool, path):
    fill(spool, 10)
    spool.commit([], [(1, 10)])
    assert spool.trim_acknowledged(None, most=3) == 3
    assert seqs(path) == [4, 5, 6, 7, 8, 9, 10]


def test_a_record_measured_at_1970_and_dated_later_is_as_old_as_it_really_is(spool, path):
    spool.commit([record(1, wall_ms=1000), record(2, wall_ms=2000)], held=True)
    spool.date(Dating(1, 2, START_MS, unsure=False, earliest_ms=None, latest_ms=None))
    spool.commit([record(3, wall_ms=3000)], held=True)
    spool.date(Dating(3, 3, None, unsure=True, earliest_ms=START_MS, latest_ms=None))
    spool.commit([], [(1, 3)])
    assert spool.trim_acknowledged(START_MS - 1) == 0
    assert spool.trim_acknowledged(START_MS + 6500) == 1
    assert seqs(path) == [2, 3]


def test_the_size_counts_records_and_not_the_log_or_free_pages(spool):
    """The write-ahead log takes its two megabytes whatever is stored; it must not push records out."""
    spool.commit([fat(n) for n in range(100)])
    full = spool.space.used_bytes()
    assert 400_000 < full < 600_000
    spool.commit([], [(1, 100)])
    while spool.trim_acknowledged(None):
        pass
    assert spool.space.used_bytes() < 80_000


def test_what_was_dropped_unsent_is_told_with_its_seqs_and_times(spool, path):
    fill(spool, 5)
    assert spool.drop_unsent(most=2) == (1, 2, START_MS + 1000, START_MS + 2000)
    assert seqs(path) == [3, 4, 5]
    assert list(spool.acknowledged) == [(1, 2)]


def test_an_empty_spool_has_nothing_to_drop(spool):
    assert spool.drop_unsent() is None


# ---- being killed

WRITER = """
import os, sys
from pathlib import Path
from agent.record import measured
from agent.spool.spool import Spool
from drivers.clock import now
from drivers.sample import Sample
spool = Spool(Path(sys.argv[1]))
while True:
    first = spool.newest + 1
    records = [measured("so2", [Sample("so2", seq)], now()) for seq in range(first, first + 7)]
    newest = spool.commit(records, [(first, first + 2)])
    os.write(1, b"%d\\n" % newest)
"""


def test_a_writer_killed_at_any_moment_loses_nothing_that_it_had_committed(path):
    newest = 0
    for turn in range(20):
        with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE) as writer:
            said = [int(writer.stdout.readline()) for _ in range(1 + 3 * turn)]
            writer.send_signal(signal.SIGKILL)
            said += [int(line) for line in writer.stdout.read().split()]
        found = stored(path)
        assert said[0] == newest + 7, "it went on with the next number"
        newest = found[-1].seq
        assert newest >= said[-1], "everything it had said to be stored is there"
        assert newest % 7 == 0, "a transaction is there as a whole"
    assert [one.seq for one in found] == list(range(1, newest + 1))
    assert [value(one)["so2"] for one in found] == list(range(1, newest + 1))


def test_a_newest_record_whose_time_is_in_doubt_dates_nothing(spool, path):
    fill(spool, 1)
    spool.commit([record(2, wall_ms=START_MS + 86_400_000)], held=True)
    spool.date(Dating(2, 2, None, unsure=True, earliest_ms=START_MS, latest_ms=None))
    reader = Reader(path)
    assert reader.newest_at_ms() is None
    reader.close()


def test_one_acknowledgement_among_thousands_of_ranges_writes_only_what_it_changes(spool, path):
    """A request of one instrument over a long backlog leaves as many ranges as it has records."""
    fill(spool, 9_000)
    spool.commit([], [(seq, seq) for seq in range(1, 9_000, 3)])
    changes = spool._db.total_changes
    spool.commit([], [(2, 2), (5, 6)])
    assert spool._db.total_changes - changes <= 6
    assert list(spool.acknowledged)[:3] == [(1, 2), (4, 7), (10, 10)]
    with closing(Reader(path)) as reader:
        assert list(reader.acknowledged()) == list(spool.acknowledged)
