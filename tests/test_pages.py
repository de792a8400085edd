"""Rows are found in the pages of a damaged file wherever no table leads to them, and nothing is taken for a row."""

import random
import shutil
import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_salvage import QUICK, drain
from test_salvage_copies import told
from test_salvage_truth import committer, delivered
from test_spool import START_MS, fat, fill, record

from agent.spool.damaged import btree
from agent.spool.damaged.pages import Pages
from agent.spool.damaged.wreck import Wreck
from agent.spool.log_end import committed
from agent.spool.spool import Reader, Spool, SpoolError, condemn
from agent.spool.stored import Dating

PAGE = 4096
COUNT = 60_000


def looked(path):
    pages = Pages(path)
    while not pages.look(float("inf")):
        pass
    return pages


# ---- rows as SQLite writes them


INTEGERS = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1), *(st.integers(-(1 << n), 1 << n) for n in (1, 7, 15, 23, 31, 47))
)
SIZES = st.one_of(st.integers(0, 300), st.integers(4000, 4200), st.integers(8000, 20_000))
VALUES = st.one_of(st.none(), INTEGERS, SIZES.map(bytes), SIZES.map(lambda size: "µ" * size))


@QUICK
@given(rows=st.dictionaries(INTEGERS, st.tuples(VALUES, VALUES, VALUES), max_size=40))
def test_the_rows_of_the_leaves_are_what_sqlite_reads(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("rows") / "rows.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, a, b, c)")
        db.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", [(number, *values) for number, values in rows.items()])
    data = path.read_bytes()
    pages = [data[at : at + PAGE] for at in range(0, len(data), PAGE)]
    leaves = [page for page in pages[1:] if btree.kind(page, 0) == btree.TABLE_LEAF]
    found = {}
    for page in leaves:
        for at in btree.cells(page, 0):
            try:
                number, values = btree.row(page, at, PAGE, lambda other: pages[other - 1])
            except (IndexError, ValueError):  # a page of a chain that looks like a leaf
                continue
            if len(values) == 4 and values[0] is None:
                found[number] = tuple(values[1:])
    assert found == rows


@pytest.mark.no_cover
@QUICK
@given(seed=st.integers(0, 1 << 32))
def test_noise_is_no_row_and_stops_nothing(tmp_path_factory, seed):
    chance = random.Random(seed)
    folder = tmp_path_factory.mktemp("noise")
    path = folder / "spool.db"
    data = bytearray(chance.randbytes(8 * PAGE + 100))
    for at in range(0, len(data), PAGE):
        data[at] = data[min(at + 100, len(data) - 1)] = 0x0D
    path.write_bytes(data)
    folder.joinpath("spool.db-wal").write_bytes(chance.randbytes(3 * PAGE))
    assert not looked(path).datings
    with closing(Wreck(path)) as wreck:
        while wreck.lacks:
            wreck.look_closer(float("inf"))
        assert not wreck.records(1, 100, 1)


# ---- what one lost page costs


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Give a spool whose tree has three levels, and how many records a page has at most."""
    path = tmp_path_factory.mktemp("large") / "spool.db"
    with Spool(path) as spool:
        for first in range(1, COUNT, 500):
            fill(spool, 500, first)
        spool.commit([], [(1, 20_000), (30_001, COUNT - 500)])
    return path


@pytest.mark.no_cover
@pytest.mark.parametrize("spoilt", ["head", "first", "first four", "root", "inner", "another inner", "leaf"])
def test_a_lost_page_costs_no_record_that_stands_on_another(large, tmp_path, spoilt):
    path = tmp_path / "spool.db"
    for end in ("", ".id", ".mark", ".shapes"):
        shutil.copy(f"{large}{end}", f"{path}{end}")
    data = bytearray(path.read_bytes())
    inner = [at for at in range(PAGE, len(data), PAGE) if data[at] == 5]
    leaf = next(at for at in range(0, len(data), PAGE) if b'25000\\"' in data[at : at + PAGE])
    places = {"root": PAGE, "inner": inner[1], "another inner": inner[2], "leaf": leaf}
    at, size = places.get(spoilt, 0), {"head": 64, "first four": 4 * PAGE}.get(spoilt, PAGE)
    data[at : at + size] = b"\xff" * size
    path.write_bytes(data)
    condemn(path)
    with Spool(path) as spool:
        sent = delivered(path, spool)
    (said,) = [one for one in sent if one.get("event") == "spool_salvaged"]
    unsent = {*range(20_001, 30_001), *range(COUNT - 499, COUNT + 1)}
    lost = {seq for first, last in said["lost"] for seq in range(first, last + 1)}
    assert came(sent) | lost == unsent
    assert len(lost) == (0 if spoilt != "leaf" else said["lost_records"])
    assert len(lost) < 150
    assert said["complete"]


def behead(path):
    """Destroy the head of a file, so that no table leads anywhere, and have it salvaged; gives what is sent then."""
    with path.open("r+b") as file:
        file.write(b"\xff" * 64)
    condemn(path)
    with Spool(path) as spool:
        return delivered(path, spool)


def came(sent):
    return {one["was"]["seq"] for one in sent if "was" in one}


@pytest.mark.parametrize("holes", [1, 5, 50])
def test_a_record_is_found_on_a_page_that_it_shares_with_far_newer_ones(tmp_path, holes):
    """Between them thousands were delivered and trimmed, and the free pages still hold these."""
    path, width = tmp_path / "spool.db", 18_000 // holes
    with Spool(path) as spool:
        for first in range(1, 20_000, 500):
            fill(spool, 500, first)
        spool.commit([], [(1, 4), *((first, first + width - 2) for first in range(6, 18_006 - width + 1, width))])
        while spool.trim_acknowledged(None):
            pass
        fill(spool, 30, 20_001)
        unsent = {seq for seq in range(1, spool.newest + 1) if spool.acknowledged.gap(seq, seq)}
    sent = behead(path)
    assert came(sent) >= unsent
    assert sent[-1]["lost_records"] == 0


def test_the_texts_of_records_are_taken_from_an_index_too(tmp_path):
    path = tmp_path / "spool.db"
    with Spool(path) as spool:
        fill(spool, 200)
    path.with_name("spool.db.shapes").unlink()
    with path.open("r+b") as file:
        file.seek(2 * PAGE)
        file.write(bytes(PAGE))
    assert came(behead(path)) == set(range(1, 201))


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b'{"x": 1}', b'{"1": "no shape"}', b"[" * 100_000])
def test_what_stands_in_the_file_of_texts_need_not_make_sense(tmp_path, content):
    path = tmp_path / "spool.db"
    with Spool(path) as spool:
        fill(spool, 20)
    path.with_name("spool.db.shapes").write_bytes(content)
    assert came(behead(path)) == set(range(1, 21))


def test_a_page_of_another_spool_makes_up_nothing_and_hides_nothing(tmp_path):
    """Cards and file systems without a journal may give back an old block after a power cut."""
    other, path = tmp_path / "other" / "spool.db", tmp_path / "spool.db"
    with Spool(other) as spool:
        spool.commit([record(10**6 + number) for number in range(1000)])
        spool.commit([], [(1, 900)])
    with Spool(path) as spool:
        fill(spool, 1000)
    data, blocks = bytearray(path.read_bytes()), other.read_bytes()
    for at in range(PAGE, len(data), PAGE):
        if b'500\\"' in data[at : at + PAGE]:
            data[at : at + PAGE] = bytes(PAGE)
    path.write_bytes(data + blocks)
    sent = behead(path)
    assert all(one["values"]["so2"] == one["was"]["seq"] for one in sent if "was" in one)
    lost = {seq for first, last in sent[-1]["lost"] for seq in range(first, last + 1)}
    assert came(sent) | lost == set(range(1, 1001))
    assert 0 < len(lost) < 150


def test_times_that_were_settled_are_found_where_their_table_is_lost(tmp_path):
    path = tmp_path / "spool.db"
    with Spool(path) as spool:
        spool.commit([record(number, 1000 * number) for number in range(1, 51)], held=True)
        spool.date(Dating(1, 50, START_MS, unsure=False, earliest_ms=None, latest_ms=None))
        (at,) = spool._db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'dating'").fetchone()
        spool._db.execute("PRAGMA writable_schema=ON")
        spool._db.execute("UPDATE sqlite_master SET rootpage = 2 WHERE name = 'dating'")
    condemn(path)
    with Spool(path) as spool:
        sent = delivered(path, spool)
    assert at > 2
    assert len(came(sent)) == 50
    assert not any("clock" in one for one in sent if "was" in one)


@pytest.mark.no_cover
def test_torn_leaves_do_not_hide_the_others(tmp_path):
    """The second half of each was not written when the power went: sectors of another page stand there."""
    path, chance = tmp_path / "spool.db", random.Random(7)
    with Spool(path) as spool:
        for first in range(1, 20_000, 500):
            fill(spool, 500, first)
    data = bytearray(path.read_bytes())
    leaves = [at for at in range(8 * PAGE, len(data), PAGE) if data[at] == 13]
    for at in chance.sample(leaves, len(leaves) // 2):
        data[at : at + 1024] = data[at : at + 512] + chance.randbytes(512)
    path.write_bytes(data)
    sent = behead(path)
    assert len(came(sent)) > 9_000
    lost = {seq for first, last in sent[-1]["lost"] for seq in range(first, last + 1)}
    assert came(sent) | lost == set(range(1, 20_001)) or sent[-1]["lost_records"] == 20_000 - len(came(sent))


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_spool_is_salvaged_that_has_nothing_beside_it(tmp_path, is_whole):
    """Its name stands in a note; if the head is lost, on the page of that note."""
    path = tmp_path / "spool.db"
    with Spool(path) as spool:
        fill(spool, 200)
        first = spool.id
    for end in ("id", "mark", "shapes"):
        path.with_name(f"spool.db.{end}").unlink()
    if is_whole:
        condemn(path)
        with Spool(path) as spool:
            sent = delivered(path, spool)
    else:
        sent = behead(path)
    assert came(sent) == set(range(1, 201))
    assert {one["was"]["spool"] for one in sent if "was" in one} == {first}


def test_a_changed_note_under_a_running_station_is_damage_of_the_file_and_not_of_all_records(tmp_path):
    path = tmp_path / "spool.db"
    with Spool(path) as spool:
        fill(spool, 50)
        spool._db.execute("UPDATE meta SET key = 'reed' WHERE key = 'seed'")
        with pytest.raises(SpoolError, match="checksum") as error:
            Reader(path)
        assert error.value.is_damaged


# ---- the log


def logged(tmp_path):
    """Give a spool as a killed process leaves it, all in its log, and the log."""
    with Spool(tmp_path / "spool.db") as spool:
        for number in range(1, 40):
            spool.commit([fat(number)])
        copy = killed(spool.path, tmp_path)
    return copy, copy.with_name("spool.db-wal")


def test_a_log_without_its_head_is_put_aside_with_the_file_before_sqlite_deletes_it(tmp_path):
    copy, log = logged(tmp_path)
    size = log.stat().st_size
    with log.open("r+b") as file:
        file.write(bytes(32))
    with Spool(copy) as spool:
        assert spool.set_aside
        assert copy.with_name("spool.db.damaged-1-wal").stat().st_size == size


def test_what_was_given_up_is_in_doubt_where_the_log_that_has_the_newest_notes_is_lost(tmp_path):
    """The checkpoint was killed half way: what is acknowledged is newer in the file than what is noted."""
    path = tmp_path / "spool.db"
    with Spool(path) as spool:
        fill(spool, 300)
        spool._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        writer, first = committer(spool), spool.id
        writer._timekeeper.trusted()
        writer._drop()
        fill(spool, 30, 400)
        newest = spool.newest
        copy = killed(path, tmp_path)
    log, data = copy.with_name("spool.db-wal").read_bytes(), bytearray(copy.read_bytes())
    frames = dict(found for found in committed(copy.with_name("spool.db-wal"), PAGE) if found[0])
    data[4 * PAGE : 5 * PAGE] = log[frames[5] + 24 : frames[5] + 24 + PAGE]
    copy.write_bytes(data)
    copy.with_name("spool.db-wal").write_bytes(bytes(32) + log[32:])
    condemn(copy)
    with Spool(copy) as spool:
        sent = delivered(copy, spool)
    assert told(sent, first) >= set(range(1, newest + 1))


def killed(path, tmp_path):
    """Give a copy of a spool and its log as a killed process leaves them."""
    copy = tmp_path / "copy" / "spool.db"
    copy.parent.mkdir()
    for end in ("", "-wal", ".id", ".mark", ".shapes"):
        shutil.copy(f"{path}{end}", f"{copy}{end}")
    return copy


def test_what_was_committed_into_the_log_is_found_without_the_head_of_the_file(tmp_path):
    with Spool(tmp_path / "spool.db") as spool:
        fill(spool, 300)
        spool.commit([fat(number, 20_000) for number in range(5)])
        first = spool.id
        copy = killed(spool.path, tmp_path)
    sent = behead(copy)
    assert came(sent) == set(range(1, 306))
    assert told(sent, first) == set(range(1, 306))


def test_what_was_not_committed_is_not_taken_from_the_log(tmp_path):
    """Its number was given again to another record, if the process lived."""
    with Spool(tmp_path / "spool.db") as spool:
        fill(spool, 3)
        spool._db.execute("PRAGMA cache_size=10")
        spool._db.execute("BEGIN")
        rows = [spool._row(seq, fat(seq), held=False) for seq in range(4, 200)]
        spool._db.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?)", rows)
        copy = killed(spool.path, tmp_path)
        spool._db.execute("ROLLBACK")
    assert b'"event":"xxx' in copy.with_name("spool.db-wal").read_bytes()
    assert {row[0] for row in looked(copy).rows(1, 300)} == {1, 2, 3}


def test_a_log_is_taken_up_to_where_it_is_damaged(tmp_path):
    copy, log = logged(tmp_path)
    with log.open("r+b") as file:
        file.seek(log.stat().st_size // 2)
        file.write(b"\xa5" * 100)
    found = {row[0] for row in looked(copy).rows(1, 300)}
    assert found == set(range(1, max(found) + 1))
    assert 5 < max(found) < 35


# ---- where nothing is wrong


def test_a_file_whose_tables_give_all_is_not_looked_through(tmp_path, monkeypatch):
    path = tmp_path / "spool.db"
    with Spool(path) as spool:
        fill(spool, 100)
    condemn(path)
    with Spool(path) as spool:
        monkeypatch.setattr(Pages, "look", lambda *_: pytest.fail("looked through"))
        drain(spool)


def test_nothing_is_stored_while_pages_are_looked_through(tmp_path):
    path = tmp_path / "spool.db"
    with Spool(path) as spool:
        spool.commit([record(number) for number in range(100)])
    path.write_bytes(b"\xff" * 64 + path.read_bytes()[64:])
    with Spool(path) as spool:
        salvage = spool.salvage
        salvage.batch(0)
        batch = salvage.batch(1)
        while not batch.records:
            assert batch.notes in ({}, {"salvage": salvage.todo()})
            batch = salvage.batch(1)
        assert batch.notes
