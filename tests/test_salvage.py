"""A damaged spool is put aside and copied into the new one as far as it reads, whatever happened to it."""

import json
import random
import shutil
import sqlite3
from contextlib import closing

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from test_spool import START_MS, fill, record

from agent.record import encode, event, measured
from agent.spool.mark import Mark, read, where
from agent.spool.soundness import check
from agent.spool.spool import Dating, Reader, Spool, SpoolError, condemn
from drivers.clock import Moment
from drivers.sample import Sample

QUICK = settings(max_examples=25, suppress_health_check=list(HealthCheck))


def drain(spool, most=500):
    """Salvage to the end."""
    for _ in range(10_000):
        if spool.salvage is None:
            return
        batch = spool.salvage.batch(most)
        spool.commit(batch.records, notes=batch.notes)
        assert batch.is_done == (spool.salvage is None)
    raise AssertionError("it does not end")


def bodies(path):
    reader = Reader(path)
    try:
        return [json.loads(b"{" + one.body + b"}") | {"at": one.at_ms} for one in reader.records(1, 1 << 40, 1 << 40)]
    finally:
        reader.close()


def copies(path):
    """Give what was salvaged by its old seq, and the events that say so."""
    found = bodies(path)
    was = {one["was"]["seq"]: one for one in found if "was" in one}
    assert len(was) == sum("was" in one for one in found), "nothing is doubled"
    return was, [one for one in found if one.get("event") == "spool_salvaged"]


def overwrite(path, page, pages=1, byte=b"\xa5"):
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(byte * 4096 * pages)


def test_what_is_not_acknowledged_is_copied_with_its_old_name_and_nothing_else(path):
    with Spool(path) as spool:
        fill(spool, 5)
        spool.commit([event("start", Moment(START_MS, 0), version="1")], [(1, 3)])
        old = spool.id
    condemn(path)
    with Spool(path) as spool:
        assert spool.salvage.origin(spool.set_aside.name) == (old, 6)
        drain(spool)
    was, (said,) = copies(path)
    assert list(was) == [4, 5, 6]
    assert list(was[4]) == ["was", "kind", "instrument", "values", "at"]
    assert was[4]["was"] == {"spool": old, "seq": 4}
    assert (was[4]["at"], was[4]["values"]["so2"]) == (START_MS + 4000, 4)
    assert (was[6]["event"], was[6]["version"]) == ("start", "1")
    assert {key: said[key] for key in ("kept_as", "spool", "records", "lost", "lost_records")} == {
        "kept_as": "spool.db.damaged-1",
        "spool": old,
        "records": 3,
        "lost": [],
        "lost_records": 0,
    }
    reader = Reader(path)
    assert [one.values for one in reader.records(1, 9, 1 << 20)] == [2, 2, 1, 1]
    reader.close()


def test_doubt_about_the_time_goes_along_with_a_copy(path):
    with Spool(path) as spool:
        fill(spool, 1)
        spool.commit([record(2, wall_ms=1000)], held=True)
        spool.date(Dating(2, 2, START_MS, unsure=False, earliest_ms=None, latest_ms=None))
        spool.commit([record(3, wall_ms=1000)], held=True)
        spool.date(Dating(3, 3, None, unsure=True, earliest_ms=START_MS, latest_ms=START_MS + 5))
        spool.commit([record(4, wall_ms=2000), event("start", Moment(3000, 0))], held=True)
    condemn(path)
    with Spool(path) as spool:
        drain(spool)
        assert spool.held() is None
    was, _ = copies(path)
    assert "clock" not in was[1]
    assert (was[2]["at"], "clock" in was[2]) == (START_MS + 7000, False)
    assert (was[3]["at"], was[3]["clock"]) == (1000, "unsure")
    assert was[3]["between"] == ["2026-11-23T10:00:00.000Z", "2026-11-23T10:00:00.005Z"]
    assert (was[4]["at"], was[4]["clock"], was[4]["between"]) == (2000, "unsure", ["2026-11-23T10:00:07.000Z", None])
    assert (was[5]["clock"], was[5]["event"]) == ("unsure", "start")
    assert list(was[5])[:3] == ["was", "clock", "between"]
    reader = Reader(path)
    assert [one.values for one in reader.records(1, 5, 1 << 20)] == [2, 2, 2, 2, 1]
    reader.close()


@pytest.mark.parametrize("byte", [b"\xa5", b"\x00", b"\xff"])
def test_around_pages_that_do_not_read_everything_else_is_copied(path, byte):
    with Spool(path) as spool:
        fill(spool, 3000)
    pages = path.stat().st_size // 4096
    overwrite(path, pages // 3, 2, byte)
    overwrite(path, 2 * pages // 3, 1, byte)
    with Spool(path) as spool:
        assert spool.set_aside
        drain(spool)
    was, (said,) = copies(path)
    lost = [seq for first, last in said["lost"] for seq in range(first, last + 1)]
    assert sorted([*was, *lost]) == list(range(1, 3001))
    assert 50 < len(lost) == said["lost_records"] < 400
    assert said["records"] == len(was)
    assert all(one["values"]["so2"] == seq for seq, one in was.items())


@pytest.mark.parametrize("most", [1, 7, 500])
def test_a_crash_at_any_moment_neither_loses_nor_doubles_anything(path, tmp_path, most):
    with Spool(path) as spool:
        fill(spool, 60)
    condemn(path)
    spool = Spool(path)
    for turn in range(200):
        if spool.salvage is None:
            break
        batch = spool.salvage.batch(most)
        if turn % 3:
            spool.commit(batch.records, notes=batch.notes)
        else:  # killed before the commit, or after it
            spool.close()
            spool = Spool(path)
    drain(spool)
    spool.close()
    was, said = copies(path)
    assert sorted(was) == list(range(1, 61))
    assert len(said) == 1


def test_a_file_put_aside_while_an_earlier_one_is_unfinished_ends_both(path):
    with Spool(path) as spool:
        fill(spool, 50)
    condemn(path)
    with Spool(path) as spool:
        batch = spool.salvage.batch(20)
        spool.commit([*batch.records, record(99)], notes=batch.notes)
        second = spool.id
    condemn(path)
    with Spool(path) as spool:
        assert spool.set_aside.name == "spool.db.damaged-2"
        drain(spool)
    found = bodies(path)
    names = [(one["was"]["spool"] == second, one["was"]["seq"]) for one in found if "was" in one]
    assert sorted(names) == sorted([(False, seq) for seq in range(1, 51)] + [(True, 21)])
    said = [one for one in found if one.get("event") == "spool_salvaged"]
    assert [one["kept_as"][-1] for one in said] == ["2", "1"]
    assert [one["moved"] for one in said] == [[[1, 20]], []], "copies of copies keep the name of the first spool"
    with Spool(path) as spool:
        assert spool.salvage is None
    condemn(path)
    with Spool(path) as spool:
        drain(spool)
    said = copies_of_events(path)
    assert said == ["spool.db.damaged-3"], "what is finished is not begun again"


def copies_of_events(path):
    return [one["kept_as"] for one in bodies(path) if one.get("event") == "spool_salvaged" and "was" not in one]


def test_a_crash_between_putting_aside_and_beginning_anew_forgets_nothing(path):
    with Spool(path) as spool:
        fill(spool, 5)
    for end in (".id", ".mark", ""):
        path.with_name(f"spool.db{end}").rename(f"{path}.damaged-1{end}")
    with Spool(path) as spool:
        drain(spool)
    assert sorted(copies(path)[0]) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("moved", range(5))
def test_a_crash_in_the_middle_of_putting_aside_is_made_good(path, moved):
    """What was moved already waits for the rest: the log goes where its file goes."""
    spool = Spool(path)
    fill(spool, 5)
    for file in sorted(path.parent.glob("spool.db*")):
        shutil.copy(file, path.parent / f"copy-{file.name}")
    spool.close()
    for file in path.parent.glob("copy-*"):
        file.replace(path.parent / file.name.removeprefix("copy-"))
    condemn(path)
    for end in ("-wal", "-shm", ".id", ".mark", "")[:moved]:
        path.with_name(f"spool.db{end}").rename(f"{path}.damaged-1{end}")
    with Spool(path) as spool:
        drain(spool)
    was, (said,) = copies(path)
    assert sorted(was) == [1, 2, 3, 4, 5]
    assert said["complete"]
    assert condemn_is_over(path)


def condemn_is_over(path):
    with Spool(path) as spool:
        return spool.set_aside is None and spool.salvage is None


# ---- the mark beside the spool


def crashed(path, count):
    """Leave a spool as a process that was killed does, most records in its log."""
    with Spool(path) as spool:
        fill(spool, 3)
    spool = Spool(path)
    for number in range(4, count + 1):
        fill(spool, 1, first=number)
    files = {file: file.read_bytes() for file in path.parent.glob("spool.db*")}
    spool.close()
    for file, data in files.items():
        file.write_bytes(data)


@pytest.mark.parametrize("part", [0, 0.3, 0.9])
def test_no_number_is_given_twice_after_the_log_was_lost(path, part):
    """A bit that flips in a log ends its replay there, and SQLite does not say so."""
    crashed(path, 20)
    log = path.with_name("spool.db-wal")
    with log.open("r+b") as file:
        file.seek(int(log.stat().st_size * part) + 40)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 4]))
    with Spool(path) as spool:
        assert "records up to 20 were stored" in spool.damage
        assert spool.salvage.origin(spool.set_aside.name).newest == 20
        drain(spool)
    was, (said,) = copies(path)
    assert sorted([*was, *said_lost(path)]) == list(range(1, 21))
    assert len(was) >= 3
    assert said["complete"]


def test_an_older_copy_of_a_spool_is_not_taken_for_the_spool(path):
    with Spool(path) as spool:
        fill(spool, 5)
    old = path.read_bytes()
    with Spool(path) as spool:
        fill(spool, 5, first=6)
        former = spool.id
    path.write_bytes(old)
    with Spool(path) as spool:
        assert spool.id != former
        drain(spool)
    was, (said,) = copies(path)
    assert (sorted(was), said["lost"], said["complete"]) == ([1, 2, 3, 4, 5], [[6, 10]], True)


def test_what_was_settled_is_not_told_as_lost_when_nothing_else_reads(path):
    with Spool(path) as spool:
        fill(spool, 50)
        fill(spool, 10, first=51, acknowledged=[(1, 40)])
    path.write_bytes(b"not a database " * 1000)
    with Spool(path) as spool:
        drain(spool)
    _, (said,) = copies(path)
    assert (said["lost"], said["lost_records"], said["complete"]) == ([[41, 60]], 20, True)


def test_an_unsynced_mark_of_an_earlier_boot_does_not_claim_to_know_the_end(path, monkeypatch):
    """After a power cut it may be older than the spool; in the same boot, or after an orderly end, it is the last."""
    crashed(path, 20)
    stale = where(path).read_bytes()
    monkeypatch.setenv("STATIOND_BOOT_ID", "another boot")
    path.write_bytes(b"not a database " * 1000)
    path.with_name("spool.db-wal").unlink()
    where(path).write_bytes(stale)
    with Spool(path) as spool:
        drain(spool)
    _, (said,) = copies(path)
    assert (said["lost"], said["complete"]) == ([[1, 20]], False)


def test_a_mark_below_what_still_reads_does_not_claim_to_know_the_end(path):
    with Spool(path) as spool:
        fill(spool, 30)
        spool_id = spool.id
    with Mark(path, spool_id) as mark:
        mark.put(10, 10, 0)
    condemn(path)
    with Spool(path) as spool:
        drain(spool)
    was, (said,) = copies(path)
    assert (len(was), said["complete"]) == (30, False)


@pytest.mark.parametrize("remains", ["nothing", "an empty file"])
def test_a_spool_that_is_gone_is_told_with_all_its_numbers(path, remains):
    with Spool(path) as spool:
        fill(spool, 50)
        fill(spool, 1, first=51, acknowledged=[(1, 20)])
    path.unlink()
    if remains != "nothing":
        path.touch()
    with Spool(path) as spool:
        assert "it is gone" in spool.damage
        drain(spool)
    _, (said,) = copies(path)
    assert (said["lost"], said["complete"]) == ([[21, 51]], True)


def test_records_that_were_given_up_before_the_spool_fell_back_are_copied_all_the_same(path):
    """What told of them is gone with the log, so their file is the last that has them."""
    with Spool(path) as spool:
        fill(spool, 100)
    old = path.read_bytes()
    with Spool(path) as spool:
        spool.commit([record(101)], drop=[(1, 20)])
    path.write_bytes(old)
    with Spool(path) as spool:
        drain(spool)
    was, (said,) = copies(path)
    assert (sorted(was), said["lost"]) == (list(range(1, 101)), [[101, 101]])


def test_copies_that_are_lost_on_the_way_are_taken_from_the_first_file_again(path):
    with Spool(path) as spool:
        fill(spool, 300)
        first = spool.id
    condemn(path)
    with Spool(path) as spool:
        batch = spool.salvage.batch(100)
        spool.commit(batch.records, notes=batch.notes)
        page = spool._db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'record'").fetchone()[0]
    overwrite(path, page)
    with Spool(path) as spool:
        drain(spool)
    found = [one["was"]["seq"] for one in bodies(path) if "was" in one and one["was"]["spool"] == first]
    assert set(found) == set(range(1, 301))


def test_copies_that_are_lost_after_their_file_was_copied_in_full_are_taken_from_it_again(path):
    with Spool(path) as spool:
        fill(spool, 10)
        first = spool.id
    condemn(path)
    with Spool(path) as spool:
        fill(spool, 1)
        drain(spool)
        assert not path.with_name("spool.db.damaged-1.salvaged").exists(), "nothing of it is delivered yet"
    spoil(path, 5, 6)
    condemn(path)
    with Spool(path) as spool:
        drain(spool)
        was = {one["was"]["seq"] for one in bodies(path) if one.get("was", {}).get("spool") == first}
        assert was == set(range(1, 11))
        spool.commit([], [(1, spool.newest)])
    assert path.with_name("spool.db.damaged-1.salvaged").exists()
    assert path.with_name("spool.db.damaged-2.salvaged").exists()


def test_what_was_dropped_is_told_again_when_the_record_that_told_of_it_is_lost(path):
    with Spool(path) as spool:
        fill(spool, 300)
        found = spool.oldest_unsent()
        spool.commit([record(301)], drop=found.ranges)
        fill(spool, 1)
    spoil(path, 301)
    condemn(path)
    with Spool(path) as spool:
        drain(spool)
    was, (said,) = copies(path)
    assert sorted(was) == [*range(201, 301), 302]
    assert (said["lost"], said["lost_records"], said["complete"]) == ([[1, 200], [301, 301]], 201, True)


def test_no_number_is_given_twice_after_a_power_cut_spoilt_the_log_and_the_mark_is_old(path, monkeypatch):
    monkeypatch.setenv("STATIOND_BOOT_ID", "one")
    spool = Spool(path)
    fill(spool, 100)
    old_mark = where(path).read_bytes()
    spool._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for _ in range(5):
        fill(spool, 10)
    first = spool.id
    files = {file: bytearray(file.read_bytes()) for file in path.parent.glob("spool.db*")}
    spool.close()
    monkeypatch.setenv("STATIOND_BOOT_ID", "two")
    log = path.with_name("spool.db-wal")
    for place in (24, 40, 60, 5000):  # of the header, of a frame's header, of two pages
        files[log][place] ^= 4
        for file, data in files.items():
            file.write_bytes(data)
        where(path).write_bytes(old_mark)
        with Spool(path) as spool:
            assert spool.id != first
            drain(spool)
            assert [one["complete"] for one in bodies(path) if one.get("event") == "spool_salvaged"] == [False]
        files[log][place] ^= 4
        for file in path.parent.glob("spool.db*"):
            file.unlink()


def test_a_commit_that_the_power_cut_tore_is_no_damage(path):
    spool = Spool(path)
    fill(spool, 10)
    log = path.with_name("spool.db-wal")
    before = log.stat().st_size
    mark_then = where(path).read_bytes()
    fill(spool, 10)
    files = {file: bytearray(file.read_bytes()) for file in path.parent.glob("spool.db*")}
    first = spool.id
    spool.close()
    files[log][before + 30] ^= 4
    files[where(path)] = mark_then
    for file, data in files.items():
        file.write_bytes(data)
    with Spool(path) as spool:
        assert (spool.id, spool.newest, spool.set_aside) == (first, 10, None)


def test_a_damaged_file_that_is_put_back_is_not_taken_for_the_spool_again(path):
    """The numbers of both are known: those of the file by its mark, those of the spool it replaced by that one's."""
    with Spool(path) as spool:
        fill(spool, 100)
        first, older = spool.id, path.read_bytes()
        fill(spool, 100)
    condemn(path)
    with Spool(path) as spool:
        second = spool.id
        fill(spool, 7)
    path.write_bytes(older)
    with Spool(path) as spool:
        assert spool.id not in {first, second}
        drain(spool)
    found = bodies(path)
    was = {one["was"]["seq"] for one in found if one.get("was", {}).get("spool") == first}
    assert was == set(range(1, 201))


def test_a_spool_that_another_was_put_in_place_of_is_told_with_all_its_numbers(path, tmp_path):
    with Spool(tmp_path / "other.db") as other:
        fill(other, 3)
        kept = other.id
    with Spool(path) as spool:
        fill(spool, 7)
        gone = spool.id
    path.write_bytes((tmp_path / "other.db").read_bytes())
    with Spool(path) as spool:
        assert spool.id == kept
        assert spool.salvage.untold() == ["spool.db.damaged-1"]
        drain(spool)
    (said,) = [one for one in bodies(path) if one.get("event") == "spool_salvaged"]
    assert (said["spool"], said["lost"], said["complete"]) == (gone, [[1, 7]], True)


def test_a_damaged_spool_is_told_of_once_even_if_the_first_start_was_killed(path):
    with Spool(path) as spool:
        fill(spool, 5)
    condemn(path)
    Spool(path).close()
    with Spool(path) as spool:
        assert spool.salvage.untold() == ["spool.db.damaged-1"]
        spool.commit([record(1)], notes={"salvage": spool.salvage.todo()})
    with Spool(path) as spool:
        assert spool.salvage.untold() == []


def test_a_file_that_was_copied_can_go_for_room_and_its_number_is_not_given_again(path):
    with Spool(path) as spool:
        fill(spool, 5)
    condemn(path)
    with Spool(path) as spool:
        assert not spool.copies.remove_copied(), "it is not copied yet"
        drain(spool)
        assert not spool.copies.remove_finished()
        assert spool.copies.remove_copied()
        assert not spool.copies.remove_copied()
        assert not path.with_name("spool.db.damaged-1").exists()
    condemn(path)
    with Spool(path) as spool:
        assert spool.set_aside.name == "spool.db.damaged-2"
        drain(spool)
        spool.commit([], [(1, spool.newest)])
        assert spool.copies.remove_finished()
    assert len([one for one in bodies(path) if "was" in one and "values" in one]) == 5


def spoil(path, *seqs):
    with closing(sqlite3.connect(path)) as db, db:
        db.executemany("UPDATE record SET body = x'00' WHERE seq = ?", [(seq,) for seq in seqs])


def test_what_is_left_of_a_damaged_file_that_was_removed_does_not_stand_for_another(path):
    for end in (".salvaged", "-wal"):
        with Spool(path) as spool:
            fill(spool, 40)
        condemn(path)
        path.with_name(f"spool.db.damaged-1{end}").write_bytes(b"left over")
        with Spool(path) as spool:
            drain(spool)
        was, _ = copies(path)
        assert len(was) == 40
        for file in path.parent.glob("spool.db*"):
            file.unlink()


def test_records_that_stand_in_the_log_alone_are_copied_however_small_the_file_is(path):
    spool = Spool(path)
    for first in range(1, 1001, 250):
        fill(spool, 250, first=first)
    files = {file: file.read_bytes() for file in path.parent.glob("spool.db*")}
    spool.close()
    for file, data in files.items():
        file.write_bytes(data)
    assert path.stat().st_size < 10_000
    condemn(path)
    with Spool(path) as spool:
        drain(spool)
    was, (said,) = copies(path)
    assert (len(was), said["lost"]) == (1000, [])


def test_the_log_of_a_spool_that_was_emptied_is_read(path):
    spool = Spool(path)
    fill(spool, 100)
    log = path.with_name("spool.db-wal").read_bytes()
    marked = where(path).read_bytes()
    spool.close()
    path.write_bytes(b"")
    path.with_name("spool.db-wal").write_bytes(log)
    where(path).write_bytes(marked)
    with Spool(path) as spool:
        drain(spool)
    was, (said,) = copies(path)
    assert (len(was), said["lost"], said["complete"]) == (100, [], True)


def test_a_mark_that_claims_too_little_is_no_damage(path):
    """After a power cut it may be half a minute old."""
    with Spool(path) as spool:
        fill(spool, 5)
        spool_id = spool.id
    with Mark(path, spool_id) as mark:
        mark.put(2, 3, 0)
    with Spool(path) as spool:
        assert (spool.set_aside, spool.newest) == (None, 5)
    assert read(path) == (spool_id, 5, 5, 0, True)


@pytest.mark.parametrize("spoil", range(103))
def test_a_mark_that_was_damaged_is_no_mark(path, spoil):
    with Mark(path, "5d05e550e2c24d74a80201a3880d3d99") as mark:
        mark.put(1, 22, 333)
    data = bytearray(where(path).read_bytes())
    assert read(path) == ("5d05e550e2c24d74a80201a3880d3d99", 1, 22, 333, True)
    if spoil < len(data):
        data[spoil] ^= 1 << spoil % 8
    else:
        data += b"7"
    where(path).write_bytes(data)
    assert read(path) is None
    with Spool(path) as spool:
        assert spool.set_aside is None
        assert read(path).spool == spool.id


def test_a_card_that_cannot_take_the_mark_stops_nothing(path):
    where(path).mkdir()
    with Spool(path) as spool:
        fill(spool, 5)
    with Spool(path) as spool:
        assert spool.newest == 5


def make_directory(path):
    path.unlink()
    path.mkdir()


def replaced_by(data):
    return lambda path: path.write_bytes(data)


def cut(part):
    return lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])


WRECKS = {
    "zero-filled": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "cut in half": cut(0.5),
    "cut to one page and a bit": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "random bytes": replaced_by(random.Random(1).randbytes(50_000)),
    "empty": replaced_by(b""),
    "a text": replaced_by(b"not a database " * 1000),
    "a directory": make_directory,
    "another database": lambda path: (path.unlink(), sqlite3.connect(path).executescript("CREATE TABLE a(b)").close()),
    "without its tables": lambda path: (
        sqlite3.connect(path).executescript("DROP TABLE record; DROP TABLE meta").close()
    ),
    "without what was acknowledged": lambda path: (
        sqlite3.connect(path).executescript("DROP TABLE acknowledged").close()
    ),
}


@pytest.mark.parametrize("wreck", WRECKS)
def test_whatever_a_file_has_become_salvage_ends_and_the_station_goes_on(path, wreck):
    with Spool(path) as spool:
        fill(spool, 1000)
    WRECKS[wreck](path)
    condemn(path)
    with Spool(path) as spool:
        assert spool.salvage.origin(spool.set_aside.name)
        fill(spool, 1)
        drain(spool)
        fill(spool, 1)
    was, (said,) = copies(path)
    assert said["records"] == len(was)
    assert all(one["values"]["so2"] == seq for seq, one in was.items())
    assert len(was) == 1000 or wreck != "without what was acknowledged"


def test_a_shape_that_was_damaged_is_taken_from_its_second_copy(path):
    with Spool(path) as spool:
        fill(spool, 100)
    data = path.read_bytes()
    place = data.index(b'"kind":"raw"')
    path.write_bytes(data[:place] + b"#" + data[place + 1 :])
    with Spool(path) as spool:
        assert spool.set_aside
        drain(spool)
    was, _ = copies(path)
    assert len(was) == 100


# ---- bits that flip


def flipped(path, bits):
    data = bytearray(path.read_bytes())
    for bit in bits:
        data[bit // 8 % len(data)] ^= 1 << bit % 8
    path.write_bytes(data)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Give a spool of several pages with everything in it, and its records."""
    path = tmp_path_factory.mktemp("whole") / "spool.db"
    with Spool(path) as spool:
        fill(spool, 60)
        spool.commit([], [(1, 20)])
        while spool.trim_acknowledged(START_MS + 10_000):
            pass
        fill(spool, 20, first=61)
        spool.commit([record(81, wall_ms=1000), record(82, wall_ms=2000)], held=True)
        spool.date(Dating(81, 82, START_MS, unsure=False, earliest_ms=None, latest_ms=None))
        spool.commit([measured("no2", [Sample("no2", n)], Moment(START_MS + n, 0)) for n in range(40)], [(50, 70)])
        held = list(spool.acknowledged)
    reader = Reader(path)
    found = {one.seq: one for one in reader.records(1, 1 << 40, 1 << 40)}
    reader.close()
    return path, found, held


def read_all(path, newest):
    """Read record after record; gives those found and the numbers said to be damaged."""
    found, damaged = {}, set()
    reader = Reader(path)
    try:
        for seq in range(1, newest + 1):
            try:
                found |= {one.seq: one for one in reader.records(seq, seq, 0)}
            except SpoolError as error:
                if error.is_damaged:
                    raise
                damaged |= set(range(error.first, error.last + 1))
    finally:
        reader.close()
    return found, damaged


def said_lost(path):
    return {
        seq
        for one in bodies(path)
        if one.get("event") == "spool_salvaged"
        for first, last in one["lost"]
        for seq in range(first, last + 1)
    }


@pytest.mark.no_cover
@settings(QUICK, max_examples=120)
@given(bits=st.lists(st.integers(0, 1 << 20), min_size=1, max_size=3), is_marked=st.booleans())
@example(bits=[38016], is_marked=True)  # the number of the newest record
@example(bits=[38016], is_marked=False)
def test_a_flipped_bit_is_never_sent_as_a_value_and_nothing_unsent_vanishes_in_silence(
    whole, tmp_path_factory, bits, is_marked
):
    """With its mark a station names every number that is gone; without, it says that it cannot know."""
    original, stored, acknowledged = whole
    path = tmp_path_factory.mktemp("flipped") / "spool.db"
    shutil.copy(original, path)
    if is_marked:
        shutil.copy(where(original), where(path))
    flipped(path, bits)
    unsent = {seq for seq in stored if not any(first <= seq <= last for first, last in acknowledged)}
    with Spool(path) as spool:
        if spool.set_aside is None:
            try:
                found, damaged = read_all(path, max(stored))
            except SpoolError:
                return
            assert all(stored[seq] == one for seq, one in found.items())
            assert unsent <= found.keys() | damaged
            return
        newest = spool.salvage.origin(spool.set_aside.name).newest
        drain(spool)
    was, (said,) = copies(path)
    for seq, one in was.items():
        expected = json.loads(b"{" + stored[seq].body + b"}")
        assert {key: one[key] for key in expected} == expected
        assert one["at"] == stored[seq].at_ms or "clock" in one
    assert said["complete"] == is_marked
    if is_marked:
        assert unsent <= was.keys() | said_lost(path)
    elif said["lost_records"] or was:
        newest = newest or max([*was, *said_lost(path)])  # where only single pages tell of the records
        assert {seq for seq in unsent if seq <= newest} <= was.keys() | said_lost(path)


@QUICK
@given(seed=st.integers(0, 1 << 32))
def test_pages_of_noise_anywhere_never_stop_the_station(whole, tmp_path_factory, seed):
    chance = random.Random(seed)
    path = tmp_path_factory.mktemp("noise") / "spool.db"
    shutil.copy(whole[0], path)
    data = bytearray(path.read_bytes())
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(data))
        data[place : place + chance.choice([1, 16, 512, 4096])] = chance.randbytes(chance.choice([1, 16, 512, 4096]))
    path.write_bytes(data)
    with Spool(path) as spool:
        fill(spool, 1)
        drain(spool)


def test_a_record_that_fails_its_checksum_is_named_dropped_and_not_met_again(path):
    with Spool(path) as spool:
        fill(spool, 10)
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("UPDATE record SET body = CAST('7' AS BLOB) WHERE seq IN (4, 5)")
        reader = Reader(path)
        assert [one.seq for one in reader.records(1, 10, 1 << 20)] == [1, 2, 3]
        with pytest.raises(SpoolError, match="records 4 to 5") as caught:
            reader.records(4, 10, 1 << 20)
        assert (caught.value.first, caught.value.last, caught.value.is_damaged) == (4, 5, False)
        assert spool.drop_damaged(4, 5) == 2
        assert [one.seq for one in reader.records(4, 10, 1 << 20)] == [6, 7, 8, 9, 10]
        assert list(spool.acknowledged) == [(4, 5)]
        reader.close()


# ---- the check of a large file


def test_the_check_of_a_sound_file_finds_nothing_and_can_be_cancelled(spool, path):
    fill(spool, 5000)
    spool.commit([], [(1, 300)])
    while spool.trim_acknowledged(None):
        pass
    assert check(path, lambda: False) == ""
    overwrite(path, 20)
    assert check(path, lambda: True) == ""


@pytest.mark.parametrize("count", [0, 1, 3999, 4000, 4001, 8000])
def test_the_check_ends_well_wherever_the_newest_record_lies(spool, path, count):
    spool.commit([record(1)] * count)
    assert check(path, lambda: False) == ""


@pytest.mark.parametrize(("was", "number"), [(10, 9), (5, 120)])
def test_a_number_that_changed_in_the_tree_is_damage_and_no_endless_search(path, was, number):
    """Where one stands twice, or out of order, halving a stretch never comes to an end."""
    with Spool(path) as spool:
        fill(spool, 10)
        root = spool._db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'record'").fetchone()[0]
    data = bytearray(path.read_bytes())
    page = (root - 1) * 4096
    place = page + 8 + 2 * (was - 1)
    cell = page + int.from_bytes(data[place : place + 2], "big")
    assert data[cell + 1] == was, "its number stands behind its length"
    data[cell + 1] = number
    path.write_bytes(data)
    with closing(Reader(path)) as reader, pytest.raises(SpoolError) as caught:
        reader.present(1, 200)
    assert caught.value.is_damaged


def test_the_check_finds_unsent_records_that_are_gone(spool, path):
    fill(spool, 5000)
    spool._db.execute("DELETE FROM record WHERE seq = 4700")
    assert "record 4700, which is not acknowledged, is not there" in check(path, lambda: False)


def test_the_check_finds_a_page_that_does_not_read(path):
    with Spool(path) as spool:
        fill(spool, 9000)
    overwrite(path, path.stat().st_size // 4096 - 20)
    assert "malformed" in check(path, lambda: False)


def test_an_event_with_the_separator_of_shapes_escaped_is_copied_as_it_was(path):
    with Spool(path) as spool:
        spool.commit([event("note", Moment(START_MS, 0), text="a\x1fb")])
        expected = encode({"kind": "event", "event": "note", "text": "a\x1fb"})
    condemn(path)
    with Spool(path) as spool:
        drain(spool)
    reader = Reader(path)
    assert reader.records(1, 1, 0)[0].body.endswith(expected)
    reader.close()


# ---- spools of the older layout

OLD_TABLES = """
CREATE TABLE IF NOT EXISTS record(seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, elapsed_ms INTEGER,
                                  shape INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS shape(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS acknowledged(first INTEGER PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS dating(first INTEGER PRIMARY KEY, last INTEGER NOT NULL, offset_ms INTEGER,
                                  unsure INTEGER NOT NULL, earliest_ms INTEGER, latest_ms INTEGER);
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE VIEW IF NOT EXISTS aged AS SELECT seq, at_ms FROM record;
"""


def make_old(path, count=100):
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript("PRAGMA journal_mode=WAL;" + OLD_TABLES)
        db.executemany("INSERT INTO meta VALUES (?, ?)", [("id", "a" * 32), ("schema", "1"), ("held_from", "99")])
        db.execute("INSERT INTO shape VALUES (1, ?)", (record(1).shape,))
        rows = [(n, START_MS + n * 1000, n if n > 90 else None, 1, record(n).body) for n in range(1, count + 1)]
        db.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?)", rows)
        db.executemany("INSERT INTO acknowledged VALUES (?, ?)", [(1, 20), (30, 31)])
        db.execute("INSERT INTO dating VALUES (91, 98, ?, 0, NULL, NULL)", (START_MS,))


def test_a_spool_of_the_older_layout_is_upgraded_in_place_and_nothing_is_lost(path):
    make_old(path)
    for _ in range(2):
        with Spool(path) as spool:
            assert (spool.id, spool.set_aside, spool.held()) == ("a" * 32, None, (99, 100))
            assert list(spool.acknowledged) == [(1, 20), (30, 31)]
            assert spool.newest == 100
            found = bodies(path)
            assert [one["values"]["so2"] for one in found] == list(range(1, 99))
            assert found[-1]["at"] == START_MS + 98
    with Spool(path) as spool:
        spool.date(Dating(*spool.held(), START_MS, unsure=False, earliest_ms=None, latest_ms=None))
        assert fill(spool, 1, first=101) == 101
    assert len(bodies(path)) == 101


def test_a_spool_of_the_older_layout_can_be_read_before_it_is_upgraded_and_salvaged(path):
    make_old(path)
    assert len(bodies(path)) == 98
    condemn(path)
    with Spool(path) as spool:
        drain(spool)
    was, _ = copies(path)
    assert list(was) == [*range(21, 30), *range(32, 101)]
    assert "clock" in was[100]


def test_a_file_that_lost_its_id_is_known_by_the_one_beside_it(path):
    """Without it a record that is salvaged and had arrived already could not be told from a new one."""
    with Spool(path) as spool:
        old = spool.id
        fill(spool, 400)
        names = dict(spool._db.execute("SELECT name, rootpage FROM sqlite_master"))
    overwrite(path, names["meta"] - 1)
    with Spool(path) as spool:
        assert spool.id != old
        drain(spool)
    assert copies(path)
    assert all(body["was"]["spool"] == old for body in bodies(path) if "was" in body)


def test_a_file_that_lost_its_id_is_known_by_its_mark_before_the_one_beside_it(path):
    """The mark has a checksum; of the other file a changed letter would make a name that no spool ever had."""
    with Spool(path) as spool:
        old = spool.id
        fill(spool, 400)
        names = dict(spool._db.execute("SELECT name, rootpage FROM sqlite_master"))
    overwrite(path, names["meta"] - 1)
    beside = path.with_name("spool.db.id")
    beside.write_text(("0" if old[0] != "0" else "1") + old[1:])
    with Spool(path) as spool:
        drain(spool)
    assert {body["was"]["spool"] for body in bodies(path) if "was" in body} == {old}
