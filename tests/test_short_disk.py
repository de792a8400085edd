"""A damaged spool on a disk without room: no start is refused, the station goes on, and what had to go is told."""

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
from pathlib import Path

import pytest
from test_salvage_copies import told
from test_salvage_truth import committer, session
from test_spool import fat, fill

from agent.delivery.lanes import Lanes
from agent.spool import database, layout
from agent.spool.damaged import copies
from agent.spool.damaged.salvage import AT_ONCE_WHEN_SHORT
from agent.spool.room import SPARE_BYTES, Room
from agent.spool.spool import Reader, Spool, SpoolError, condemn

PIECES = (SPARE_BYTES + 256 * 1024) // 4096
"""No more fat records than that are lost where a damaged file has to make room."""


def crowd(folder, *counts):
    """Have spools of so many fat records, the first ten of each delivered, all condemned; gives their ids."""
    path, ids = folder / "spool.db", []
    for count in counts:
        with Spool(path) as spool:
            spool.commit([fat(number) for number in range(count)], [(1, 10)])
            ids.append(spool.id)
        condemn(path)
    return path, ids


def fill_the_rest(path, *, spare):
    """Leave no room on a disk, as others do who take the ballast too, and the spare if that is gone as well."""
    for end in ("ballast", *(() if spare else ("spare",))):
        path.with_name(f"spool.db.{end}").unlink(missing_ok=True)
    fill_up(path)


def fill_up(path):
    with path.with_name("rest").open("ab") as rest:
        rest.write(bytes(os.statvfs(path.parent).f_bavail * 4096))


def free_again(path):
    path.with_name("rest").unlink()


def salvaged(sent, spool):
    """Give which numbers of a spool came."""
    return {one["was"]["seq"] for one in sent if one.get("was", {}).get("spool") == spool}


def deliver(path, spool):
    """Take turns as the daemon does until all is salvaged and delivered; gives what was sent."""
    writer, reader, sent = committer(spool), Reader(path), []
    lanes = Lanes(reader, writer.acknowledge, writer.damaged)
    for _ in range(1000):
        writer._salvage()
        sent += session(lanes, spool.newest)
        writer.commit()
        writer.trim()
        if not (spool.salvage or spool.acknowledged.gap(1, spool.newest)):
            break
    reader.close()
    return [{"seq": one.seq, **json.loads(b"{" + one.body + b"}")} for one in sent]


@pytest.mark.parametrize("megabytes", [8, 64])
@pytest.mark.parametrize("count", [100, 600])
def test_a_damaged_spool_on_a_disk_that_others_fill_costs_no_start_and_no_record(small_disk, count, megabytes):
    path, (first,) = crowd(small_disk(megabytes * 1024), count)
    fill_the_rest(path, spare=True)
    with Spool(path) as spool:
        assert spool.set_aside.name == "spool.db.damaged-1"
        assert fill(spool, 100) >= 100
        free_again(path)
        sent = deliver(path, spool)
    assert salvaged(sent, first) == set(range(11, count + 1))


@pytest.mark.parametrize("count", [100, 600, 7000], ids=["nearly all is of others", "others fill it", "it fills it"])
def test_where_even_the_spare_is_gone_a_damaged_file_gives_a_piece_and_what_that_costs_is_told(small_disk, count):
    path, (first,) = crowd(small_disk(65_536), count)
    fill_the_rest(path, spare=False)
    with Spool(path) as spool:
        fill(spool, 100)
        free_again(path)
        sent = deliver(path, spool)
    assert told(sent, first) >= set(range(11, count + 1))
    assert count - 10 - len(salvaged(sent, first)) <= PIECES
    assert all(one["complete"] for one in sent if one.get("event") == "spool_salvaged")


def test_of_damaged_files_that_fill_the_disk_the_oldest_gives_first(small_disk):
    path, (first, second) = crowd(small_disk(65_536), 5000, 5000)
    fill_the_rest(path, spare=False)
    with Spool(path) as spool:
        assert spool.set_aside.name == "spool.db.damaged-2"
        free_again(path)
        sent = deliver(path, spool)
    assert told(sent, first) >= set(range(11, 5001)) > salvaged(sent, first)
    assert 4990 - len(salvaged(sent, first)) <= PIECES
    assert salvaged(sent, second) == set(range(11, 5001))
    assert all(one["complete"] for one in sent if one.get("event") == "spool_salvaged")


def test_what_was_copied_goes_before_what_stands_nowhere_else(small_disk):
    path, (first, second) = crowd(small_disk(65_536), 500, 600)
    with Spool(path) as spool:
        while not spool.salvage.finished and len(spool.copies.text()) < 5:
            batch = spool.salvage.batch(since=spool.newest + 1)
            spool.commit(batch.records, notes=batch.notes)
        assert "damaged-2" in spool.copies.text()
    fill_the_rest(path, spare=False)
    with Spool(path) as spool:
        sent = deliver(path, spool)
    assert salvaged(sent, first) == set(range(11, 501))
    assert salvaged(sent, second) == set(range(11, 601))


def test_a_disk_that_stays_full_ends_no_station_and_costs_the_damaged_file_next_to_nothing(small_disk):
    """Nothing is delivered meanwhile: the new spool gives up its own oldest records, which it tells."""
    path, (first,) = crowd(small_disk(65_536), 600)
    fill_the_rest(path, spare=True)
    for _ in range(10):
        with Spool(path) as spool:
            writer, second = committer(spool), spool.id
            writer.trim()
            for _ in range(20):
                fill(spool, 100)
                writer._salvage()
                writer.trim()
    free_again(path)
    with Spool(path) as spool:
        assert spool.id == second
        sent = deliver(path, spool)
        newest = spool.newest
    assert newest > 20_000
    assert told(sent, first) >= set(range(11, 601))
    assert len(salvaged(sent, first)) >= 590 - AT_ONCE_WHEN_SHORT
    gone = {seq for one in sent if one.get("ledger") == "dropped" for seq in range(one["first"], one["last"] + 1)}
    assert gone | {one["seq"] for one in sent} == set(range(1, newest + 1))


def test_others_cannot_take_the_room_of_a_spool_that_was_begun_on_a_full_disk(small_disk):
    path, (first,) = crowd(small_disk(65_536), 600)
    fill_the_rest(path, spare=True)
    with Spool(path) as spool:
        fill_the_rest(path, spare=False)
        writer = committer(spool)
        for _ in range(200):
            fill(spool, 100)
            writer._salvage()
            writer.trim()
        assert os.statvfs(path.parent).f_bavail == 0
        assert spool.newest > 20_000
        free_again(path)
        sent = deliver(path, spool)
    assert salvaged(sent, first) == set(range(11, 601))


def test_a_disk_that_stays_full_does_not_keep_a_damaged_file_from_being_delivered(small_disk):
    path, (first,) = crowd(small_disk(65_536), 600)
    fill_the_rest(path, spare=True)
    with Spool(path) as spool:
        sent = deliver(path, spool)
    assert salvaged(sent, first) == set(range(11, 601))
    assert not any(one.get("ledger") == "dropped" for one in sent)


def test_what_only_the_newest_damaged_file_knows_is_told_though_it_loses_its_end(small_disk):
    """The notes are longer than its head, and the file that they speak of had to go for room."""
    path, (first,) = crowd(small_disk(65_536), 100)
    with Spool(path) as spool:
        while spool.salvage:
            batch = spool.salvage.batch(since=spool.newest + 1)
            spool.commit(batch.records, notes=batch.notes)
        assert spool.copies.remove_copied()
        spool.commit([fat(number) for number in range(1000)], notes={"ledger": "x" * 100_000})
        fill(spool, 1, notes={"copied": spool.noted("copied")})
    condemn(path)
    fill_the_rest(path, spare=False)
    with Spool(path) as spool:
        free_again(path)
        sent = deliver(path, spool)
    assert told(sent, first) >= set(range(11, 101))


def test_a_sound_spool_on_a_full_disk_opens_with_the_spare(small_disk):
    path = small_disk(65_536) / "spool.db"
    with Spool(path) as spool:
        fill(spool, 10)
    fill_the_rest(path, spare=True)
    with Spool(path) as spool:
        assert fill(spool, 10) == 20


def test_what_can_be_given_up_is_there_again_once_there_is_room(small_disk):
    path, _ = crowd(small_disk(65_536), 100)
    fill_the_rest(path, spare=True)
    with Spool(path) as spool:
        assert not path.with_name("spool.db.spare").exists()
        free_again(path)
        committer(spool).trim()
        assert path.with_name("spool.db.spare").stat().st_size == SPARE_BYTES
        assert path.with_name("spool.db.ballast").exists()


def test_a_disk_on_which_nothing_of_ours_could_make_room_is_named(small_disk):
    path = small_disk(8192) / "spool.db"
    fill_the_rest(path, spare=False)
    with pytest.raises(SpoolError, match=r"spool\.db: cannot be used: .*(full|No space)"):
        Spool(path)


# ---- nothing is given up in vain


def sizes(folder):
    return {file.name: file.stat().st_size for file in folder.glob("*damaged*") if "-shm" not in file.name}


def test_where_cutting_makes_no_room_a_damaged_file_stays_as_it_was(small_disk, monkeypatch):
    """Root has filled into its reserve, which takes all that is deleted: the start is refused, nothing else."""
    path, (first,) = crowd(small_disk(65_536), 600)
    fill_the_rest(path, spare=False)
    with monkeypatch.context() as patched:
        patched.setattr(Room, "free_bytes", lambda _: 0)
        with pytest.raises(SpoolError, match="full"):
            Spool(path)
    free_again(path)
    with Spool(path) as spool:
        sent = deliver(path, spool)
    assert salvaged(sent, first) == set(range(11, 601))


def test_what_would_not_make_room_for_a_log_is_not_given_up(small_disk):
    """However large the spool itself is."""
    path, _ = crowd(small_disk(8192), 20)
    with Spool(path) as spool:
        spool.commit([fat(number) for number in range(150)])
    fill_the_rest(path, spare=False)
    before = sizes(path.parent)
    with pytest.raises(SpoolError, match=r"room|full"):
        Spool(path)
    assert sizes(path.parent) == before
    assert path.stat().st_size > 600_000


def test_where_root_has_filled_into_its_reserve_on_ext4_one_start_costs_one_probe(tmp_path):
    """What an unprivileged process deletes there goes to the reserve, and cannot be written again."""
    image, folder = tmp_path / "image", Path(tempfile.mkdtemp())  # the folders above tmp_path are root's alone
    image.touch()
    os.truncate(image, 24 * 1024 * 1024)
    folder.chmod(0o755)
    commands = (["mkfs.ext4", "-q", "-m", "5", image], ["mount", "-o", "loop", image, folder])
    if not shutil.which("mkfs.ext4") or any(
        subprocess.run(one, check=False, capture_output=True).returncode for one in commands
    ):
        pytest.skip("this test needs mkfs.ext4 and the right to mount an image (root)")
    try:
        path, _ = crowd(folder / "own", 600)
        for file in [path.parent, *path.parent.iterdir()]:
            os.chown(file, 65534, 65534)
        for end in ("ballast", "spare"):
            path.with_name(f"spool.db.{end}").unlink(missing_ok=True)
        with contextlib.suppress(OSError), (folder / "rest").open("wb", buffering=0) as rest:
            while True:
                rest.write(bytes(4096))
        before = path.stat().st_size
        os.seteuid(65534)
        try:
            assert os.statvfs(folder).f_bavail == 0
            with pytest.raises(SpoolError, match="full") as caught:
                Spool(path)
        finally:
            os.seteuid(0)
        assert caught.value.is_disk
        (kept,) = copies.kept(path)
        assert before - 32 * 1024 <= kept.stat().st_size <= before
    finally:
        subprocess.run(["umount", folder], check=True)
        folder.rmdir()


@pytest.mark.parametrize(("user", "can"), [(0, True), (1000, False)])
def test_where_giving_up_the_spare_made_no_room_nothing_else_is_tried_but_by_root(small_disk, monkeypatch, user, can):
    path = small_disk(16_384) / "spool.db"
    room = Room(path)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(room, "free_bytes", lambda: 0)
    assert room.can_gain()
    assert room.give_up_spare()
    assert room.can_gain() == can


def test_where_sqlite_finds_no_room_on_a_disk_that_has_some_no_file_is_cut(small_disk, monkeypatch):
    path, _ = crowd(small_disk(65_536), 600, 600)
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL

    def full(*_, **__):
        raise error

    before = sizes(path.parent)
    monkeypatch.setattr(layout, "opened", full)
    with pytest.raises(SpoolError, match="full"):
        Spool(path)
    assert sizes(path.parent).items() >= before.items()


def test_what_a_start_that_was_killed_left_to_make_the_spool_larger_is_taken_back(small_disk):
    path = small_disk(65_536) / "spool.db"
    with Spool(path) as spool:
        fill(spool, 140)
        for step in range(8):
            database.grow(spool._db, step, 64 * 1024)
    with Spool(path) as spool:
        assert spool.space.used_bytes() < 100_000


def test_salvage_goes_on_in_free_pages_of_the_spool_while_the_disk_is_full(small_disk):
    """The room for the index of the damaged file's log is taken from what is kept for a start."""
    path, (first,) = crowd(small_disk(65_536), 600)
    with Spool(path) as spool:
        path.with_name("spool.db.damaged-1-wal").write_bytes(bytes(100))
        path.with_name("spool.db.damaged-1-shm").unlink()
        newest = spool.commit([fat(number) for number in range(4000)])
        spool.commit([], [(1, newest)])
        while spool.trim_acknowledged(None):
            pass
        fill_up(path)
        assert spool.salvage.needs_index()
        assert not spool.space.is_short()
        assert salvaged(deliver(path, spool), first) == set(range(11, 601))


def test_the_ballast_is_given_up_before_a_record_that_was_not_sent(small_disk):
    path = small_disk(65_536) / "spool.db"
    with Spool(path) as spool:
        fill(spool, 5000)
        with path.with_name("rest").open("wb") as rest:
            rest.write(bytes(os.statvfs(path.parent).f_bavail * 4096 - 2_000_000))
        assert spool.space.is_short()
        committer(spool).trim()
        assert not path.with_name("spool.db.ballast").exists()
        assert spool.count(1, 5000) == 5000
