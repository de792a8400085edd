"""Copies of salvaged records that are dropped, damaged or lost with what tells of them: each first number is told."""

import sqlite3
from contextlib import closing

import pytest
from test_salvage import drain, spoil
from test_salvage_truth import committer, delivered
from test_spool import START_MS, fill

from agent.record import Record
from agent.spool.spool import Spool, condemn
from drivers.clock import Moment


def set_aside(path, count):
    """Have a spool of so many records set aside; gives its id."""
    with Spool(path) as spool:
        fill(spool, count)
        first = spool.id
    condemn(path)
    return first


def told(sent, first):
    """Give the numbers of a spool that arrived under `was`, or that something says to be gone."""
    found = set()
    for one in sent:
        if one.get("was", {}).get("spool") == first:
            found.add(one["was"]["seq"])
        ranges = [seqs for copy in one.get("copies", ()) if copy["spool"] == first for seqs in copy["seqs"]]
        if one.get("event") == "spool_salvaged" and one["spool"] == first:
            ranges += one["lost"]
        found |= {seq for begin, end in ranges for seq in range(begin, end + 1)}
    return found


def sent_after_a_drop(path):
    """Copy what was set aside and drop what that leaves unsent; gives what is sent then."""
    with Spool(path) as spool:
        drain(spool)
        writer = committer(spool)
        writer.commit()
        writer._drop()
        return delivered(path, spool)


@pytest.mark.parametrize("whole", [False, True], ids=["the record", "the whole spool"])
def test_what_tells_of_dropped_copies_may_be_lost_itself(path, whole):
    first = set_aside(path, 150)
    with Spool(path) as spool:
        drain(spool)
        writer = committer(spool)
        writer.commit()
        writer._drop()
        teller = spool.newest
        fill(spool, 3)
    spoil(path, teller)
    if whole:
        condemn(path)
    with Spool(path) as spool:
        assert told(delivered(path, spool), first) >= set(range(1, 151))


def test_what_tells_of_dropped_copies_may_be_dropped_itself(path):
    first = set_aside(path, 150)
    with Spool(path) as spool:
        drain(spool)
        writer = committer(spool)
        writer.commit()
        writer._drop()
        writer._drop()
        assert told(delivered(path, spool), first) >= set(range(1, 151))


@pytest.mark.parametrize("how", ["dropped", "damaged"])
def test_what_the_copy_of_a_teller_told_is_told_again_where_it_is_dropped(path, how):
    """The teller stood in a spool that was set aside later; of what it told nothing else is left."""
    with Spool(path) as spool:
        fill(spool, 150)
        first = spool.id
        writer = committer(spool)
        writer.commit()
        if how == "dropped":
            writer._drop()
        else:
            writer.damaged(1, 150)
            writer.commit()
    condemn(path)
    with Spool(path) as spool:
        drain(spool)
        writer = committer(spool)
        writer.commit()
        while spool.oldest_unsent() and spool.newest < 20:
            writer._drop()
        assert told(delivered(path, spool), first) >= set(range(1, 151))


def test_what_is_said_of_a_file_is_told_again_where_that_is_dropped(path):
    first = set_aside(path, 10)
    spoil(path, 5)
    assert told(sent_after_a_drop(path), first) >= set(range(1, 11))


def test_that_copies_were_moved_is_told_again_where_what_says_so_is_dropped(path):
    set_aside(path, 10)
    with Spool(path) as spool:
        drain(spool)
        second = spool.id
    condemn(path)
    assert told(sent_after_a_drop(path), second) >= set(range(1, 12))


@pytest.mark.parametrize("new", [b"x", b"7", b"\xff"], ids=["no digit", "another digit", "no text"])
def test_a_damaged_copy_among_those_that_are_dropped_is_taken_from_its_file(path, new):
    """Its number is not believed, and no start ends over it."""
    first = set_aside(path, 150)
    with Spool(path) as spool:
        drain(spool)
    with closing(sqlite3.connect(path)) as db, db:
        (body,) = db.execute("SELECT body FROM record WHERE seq = 5").fetchone()
        db.execute("UPDATE record SET body = ? WHERE seq = 5", (body.replace(b"5", new, 1),))
    with Spool(path) as spool:
        assert spool.set_aside is None
        writer = committer(spool)
        writer.commit()
        writer._drop()
        assert told(delivered(path, spool), first) >= set(range(1, 151))


@pytest.mark.parametrize("restart", [False, True])
def test_a_damaged_copy_of_a_file_that_went_for_room_is_told_as_lost(path, restart):
    first = set_aside(path, 10)
    with Spool(path) as spool:
        drain(spool)
        assert spool.copies.remove_copied()
        if not restart:
            spool._db.execute("UPDATE record SET body = x'00' WHERE seq = 5")
            sent = delivered(path, spool)
    if restart:
        spoil(path, 5)
        with Spool(path) as spool:
            sent = delivered(path, spool)
    assert told(sent, first) >= set(range(1, 11))


def test_a_note_of_the_start_does_not_undo_that_a_file_is_begun_anew(path):
    first = set_aside(path, 10)
    with Spool(path) as spool:
        batch = spool.salvage.batch(6, since=spool.newest + 1)
        spool.commit(batch.records, notes=batch.notes)
    spoil(path, 2)
    with Spool(path) as spool:
        writer = committer(spool)
        writer.note("salvage", spool.salvage.todo(), lambda: None)
        writer.damaged(2, 2)
        writer.commit()
    with Spool(path) as spool:
        assert told(delivered(path, spool), first) >= set(range(1, 11))


def test_copies_from_a_spool_whose_id_nobody_knows_are_dropped_without_a_name(path):
    with Spool(path) as spool:
        spool.commit(
            [Record(Moment(START_MS, 0), '"was":{"spool":null,"seq":\x1f},', b'7\x1f"kind":"event","event":"start"')]
        )
        writer = committer(spool)
        writer.commit()
        writer._drop()
        (dropped,) = delivered(path, spool)
    assert dropped["records"] == 1
    assert "copies" not in dropped
