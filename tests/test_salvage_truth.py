"""What is said of a damaged spool is true: no start is refused, nothing complete that is not, nothing named nowhere."""

import errno
import json
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from test_salvage import bodies, copies, drain, spoil
from test_spool import START_MS, fill, record

from agent.committer import Committer, Retention
from agent.delivery.lanes import Lanes
from agent.record import ledger
from agent.spool import mark
from agent.spool.spool import Reader, Spool, SpoolError, condemn
from agent.timekeeper import Timekeeper
from drivers.clock import Moment


def change(path, at, old, new):
    """Change bytes that stand right behind a text."""
    data = path.read_bytes()
    place = data.index(at + old) + len(at)
    path.write_bytes(data[:place] + new + data[place + len(old) :])


def committer(spool, keep_s=1e9):
    return Committer(spool, Timekeeper("always", 900, None), 1, Retention(keep_s, 1e9), lambda _: None, {})


def session(lanes, newest):
    """Have everything sent and acknowledged; gives it."""
    lanes.newest, sent = newest, []
    lanes.begin_session(1 << 20)
    while parcel := lanes.backfill():
        sent += parcel.records
        lanes.acknowledged(parcel)
    return sent


def delivered(path, spool):
    """Deliver everything as the publisher does; gives what was sent."""
    writer, reader = committer(spool), Reader(path)
    lanes, sent = Lanes(reader, writer.acknowledge, writer.damaged), []
    for _ in range(4):
        sent += session(lanes, spool.newest)
        writer.commit()
        while spool.salvage:
            batch = spool.salvage.batch(since=spool.newest + 1)
            spool.commit(batch.records, notes=batch.notes)
    reader.close()
    return [json.loads(b"{" + one.body + b"}") for one in sent]


def assert_found_while_sending(path, spool, why):
    with pytest.raises(SpoolError, match=why) as caught:
        delivered(path, spool)
    assert caught.value.is_damaged


def copied(path):
    """Have a spool set aside and copied; gives the copies and what is said of them."""
    condemn(path)
    with Spool(path) as spool:
        drain(spool)
    was, (said,) = copies(path)
    return was, said


def salvaged_files(path):
    return sorted(file.name for file in path.parent.glob("*.salvaged"))


# ---- a changed byte in the head of the file


@pytest.mark.parametrize(
    ("at", "old", "new"),
    [
        (b"CREATE TABLE shape(id", b" ", b","),
        (b"CREATE TABLE meta(", b"k", b"o"),
        (b"CREATE TABLE meta(key", b" ", b","),
    ],
    ids=["a column more of shapes", "another key of notes", "a column more of notes"],
)
def test_a_changed_byte_in_the_layout_ends_no_start(path, at, old, new):
    with Spool(path) as spool:
        fill(spool, 20)
    change(path, at, old, new)
    with Spool(path) as spool:
        assert spool.set_aside
        drain(spool)
    was, (said,) = copies(path)
    lost = [seq for first, last in said["lost"] for seq in range(first, last + 1)]
    assert sorted([*was, *lost]) == list(range(1, 21))
    with Spool(path) as spool:
        assert spool.set_aside is None


def test_a_view_that_was_damaged_in_the_file_is_not_used(path):
    """An earlier version kept it there, where one letter ended every start in its first trim."""
    with Spool(path) as spool:
        fill(spool, 20)
        spool.commit([], [(1, 20)])
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE VIEW aged AS SELECT sdq, at_ms FROM record")
    with Spool(path) as spool:
        committer(spool, keep_s=1).trim()
        assert spool.count(1, 20) == 0


def test_a_spool_whose_name_is_not_found_does_not_go_on_under_none(path):
    with Spool(path) as spool:
        fill(spool, 20)
        first = spool.id
    change(path, b"i", b"d" + first.encode(), b"e" + first.encode())
    with Spool(path) as spool:
        assert spool.set_aside
        assert len(spool.id) == 32
        drain(spool)
    was, _ = copies(path)
    assert sorted(was) == list(range(1, 21))
    assert {one["was"]["spool"] for one in was.values()} == {first}


# ---- complete, or not


def test_a_seal_that_outlived_a_power_cut_vouches_for_nothing(path, monkeypatch):
    """It is taken back, synced, before the first number after it is given."""
    monkeypatch.setenv("STATIOND_BOOT_ID", "one")
    with Spool(path) as spool:
        fill(spool, 100)
    monkeypatch.setenv("STATIOND_BOOT_ID", "two")
    synced = [mark.where(path).read_bytes()]
    fsync = os.fsync

    def noted(number):
        fsync(number)
        if Path(f"/proc/self/fd/{number}").readlink() == mark.where(path):
            synced.append(mark.where(path).read_bytes())

    monkeypatch.setattr(mark.os, "fsync", noted)
    spool = Spool(path)
    for _ in range(5):
        fill(spool, 10)
    spool.commit([], [(1, 150)])
    on_card = synced[-1]
    files = {file: file.read_bytes() for file in path.parent.glob("spool.db*")}
    spool.close()
    for file, data in files.items():
        file.write_bytes(data)
    mark.where(path).write_bytes(on_card)
    log = path.with_name("spool.db-wal")
    data = bytearray(log.read_bytes())
    data[40] ^= 4
    log.write_bytes(data)
    monkeypatch.setenv("STATIOND_BOOT_ID", "three")
    with Spool(path) as spool:
        drain(spool)
    said = [one for one in bodies(path) if one.get("event") == "spool_salvaged"]
    assert not any(one["complete"] for one in said)


def test_a_file_whose_note_of_what_was_given_up_is_not_found_is_not_called_complete_without_it(path):
    with Spool(path) as spool:
        fill(spool, 300)
        spool.commit([record(301)], drop=spool.oldest_unsent().ranges)
        fill(spool, 1)
    spoil(path, 301)
    change(path, b"given_u", b"p", b"q")
    was, said = copied(path)
    lost = {seq for first, last in said["lost"] for seq in range(first, last + 1)}
    assert not said["complete"] or lost | set(was) >= set(range(1, 302))


@pytest.mark.parametrize("whole", [False, True], ids=["the record", "the whole spool"])
def test_where_much_was_given_up_the_note_leaves_nothing_out(path, whole):
    def every_other(first, last):
        return [(seq, seq) for seq in range(first, last, 2)]

    with Spool(path) as spool:
        fill(spool, 600)
        spool.commit([record(1)], drop=every_other(1, 121))
        teller = spool.newest
        spool.commit([record(2)], drop=every_other(201, 321))
        spool.commit([], [(spool.newest, spool.newest)])
        spool.commit([record(3)], drop=[(401, 401)])
    spoil(path, teller)
    if whole:
        condemn(path)
    with Spool(path) as spool:
        sent = delivered(path, spool)
    told = [(one["first"], one["last"]) for one in sent if one.get("ledger") == "damaged"]
    told += [lost for one in sent if one.get("event") == "spool_salvaged" for lost in one["lost"]]
    gone = {seq for first, last in told for seq in range(first, last + 1)}
    assert gone >= {seq for seq, _ in every_other(1, 121)} | {teller}


def test_the_spool_of_a_file_that_went_for_room_is_known_by_its_mark(path):
    with Spool(path) as spool:
        fill(spool, 10)
        first = spool.id
    condemn(path)
    with Spool(path) as spool:
        drain(spool)
        assert spool.copies.remove_copied()
    spoil(path, 5, 6)
    condemn(path)
    with Spool(path) as spool:
        drain(spool)
    said = [one for one in bodies(path) if one.get("event") == "spool_salvaged" and "was" not in one]
    assert first in [one["spool"] for one in said]


def test_records_that_one_changed_byte_hides_in_a_large_file_are_not_taken_for_deleted(path, monkeypatch):
    """Its pages are not looked at when it is opened; one of them claims to hold fewer records than it does."""
    monkeypatch.setattr("agent.spool.soundness.SMALL_BYTES", 0)
    with Spool(path) as spool:
        fill(spool, 600)
    data = bytearray(path.read_bytes())
    page = next(place for place in range(4096, len(data), 4096) if data[place] == 13 and data[place + 4] > 20)
    data[page + 4] -= 5
    path.write_bytes(data)
    with Spool(path) as spool:
        assert spool.set_aside is None
        assert_found_while_sending(path, spool, "are not there")
    was, said = copied(path)
    lost = [seq for first, last in said["lost"] for seq in range(first, last + 1)]
    assert sorted([*was, *lost]) == list(range(1, 601))
    assert len(lost) == 5


def test_a_shape_that_changes_while_the_station_runs_costs_no_record(path):
    """No record of it passes its checksum any more, but the shape has a second copy in its index."""
    with Spool(path) as spool:
        fill(spool, 100)
    with Spool(path) as spool:
        change(path, b'"kind":"raw","instrument":"so', b"2", b"3")
        spool._db.execute("PRAGMA shrink_memory")
        assert_found_while_sending(path, spool, "differ from their index")
    was, said = copied(path)
    assert (sorted(was), said["lost"]) == (list(range(1, 101)), [])


# ---- what tells of a loss is lost itself


def test_the_loss_of_a_record_that_told_of_a_loss_is_told_with_it(path):
    with Spool(path) as spool:
        fill(spool, 300)
        found = spool.oldest_unsent()
        told = ledger("dropped", Moment(START_MS, 0), first=found.first, last=found.last, records=found.records)
        spool.commit([told], drop=found.ranges)
        fill(spool, 9)
    change(path, b'"ledger":"dropp', b"e", b"d")
    with Spool(path) as spool:
        sent = delivered(path, spool)
    told = [one for one in sent if one.get("kind") == "ledger"]
    assert (found.first, found.last) in [(one["first"], one["last"]) for one in told]


# ---- copies


def test_a_damaged_copy_is_taken_from_its_file_once_more(path):
    with Spool(path) as spool:
        fill(spool, 10)
    condemn(path)
    with Spool(path) as spool:
        drain(spool)
    spoil(path, 5)
    with Spool(path) as spool:
        sent = delivered(path, spool)
        assert salvaged_files(path) == ["spool.db.damaged-1.salvaged"]
    assert {one["was"]["seq"] for one in sent if "was" in one} == set(range(1, 11))


def test_a_damaged_copy_of_a_file_in_work_begins_the_file_anew(path):
    with Spool(path) as spool:
        fill(spool, 10)
    condemn(path)
    with Spool(path) as spool:
        batch = spool.salvage.batch(6, since=spool.newest + 1)
        spool.commit(batch.records, notes=batch.notes)
    spoil(path, 2)
    with Spool(path) as spool:
        sent = delivered(path, spool)
    assert {one["was"]["seq"] for one in sent if "was" in one} == set(range(1, 11))


def test_copies_that_are_dropped_are_told_under_their_first_names(path):
    with Spool(path) as spool:
        fill(spool, 300)
        first = spool.id
    condemn(path)
    with Spool(path) as spool:
        fill(spool, 1)
        drain(spool)
        writer = committer(spool)
        writer.commit()
        writer._drop()
    (told,) = [one for one in bodies(path) if one.get("ledger") == "dropped"]
    assert told["copies"] == [{"spool": first, "seqs": [[1, 199]]}]
    assert told["records"] == 200


def test_a_file_is_finished_when_its_own_copies_are_delivered(path):
    """A record of the station that the broker refuses for good keeps no file."""
    with Spool(path) as spool:
        fill(spool, 10)
    condemn(path)
    with Spool(path) as spool:
        fill(spool, 1)
        while spool.salvage:
            batch = spool.salvage.batch(4, since=spool.newest + 1)
            spool.commit(batch.records, notes=batch.notes)
        spool.commit([], [(2, spool.newest - 1)])
        assert salvaged_files(path) == []
        spool.commit([], [(2, spool.newest)])
        assert salvaged_files(path) == ["spool.db.damaged-1.salvaged"]


def test_a_file_that_cannot_be_marked_as_finished_is_tried_again(path, monkeypatch):
    with Spool(path) as spool:
        fill(spool, 3)
    condemn(path)
    touch = Path.touch

    def full(file, *words, **more):
        if file.name.endswith(".salvaged"):
            raise OSError(errno.ENOSPC, "No space left on device")
        touch(file, *words, **more)

    with Spool(path) as spool:
        drain(spool)
        monkeypatch.setattr(Path, "touch", full)
        spool.commit([], [(1, spool.newest)])
        assert salvaged_files(path) == []
        monkeypatch.setattr(Path, "touch", touch)
        spool.commit([record(1)])
        assert salvaged_files(path) == ["spool.db.damaged-1.salvaged"]


def test_a_note_of_salvage_that_makes_no_sense_begins_its_file_anew(path):
    """Two bytes: the name of the column with the checksums, and a digit of the note."""
    with Spool(path) as spool:
        fill(spool, 2000)
    condemn(path)
    with Spool(path) as spool:
        while spool.newest < 1000:  # a busy machine copies them in several pieces
            batch = spool.salvage.batch(1000 - spool.newest, since=spool.newest + 1)
            spool.commit(batch.records, notes=batch.notes)
    change(path, b"CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL, cr", b"c", b"b")
    path.write_bytes(re.sub(rb'("next": \d)\d(\d)', rb"\1e\2", path.read_bytes()))
    with Spool(path) as spool:
        drain(spool)
    was = {one["was"]["seq"] for one in bodies(path) if "was" in one and one["was"]["seq"] <= 2000}
    assert was >= set(range(1, 2001))
