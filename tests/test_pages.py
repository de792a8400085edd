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
from test_salvage_truth import delivered
from test_spool import fat, fill, record

from agent.spool import btree
from agent.spool.pages import Pages
from agent.spool.spool import Spool, condemn
from agent.spool.wreck import Wreck

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


@pytest.mark.parametrize("spoilt", ["head", "first", "root", "inner", "another inner", "leaf"])
def test_a_lost_page_costs_no_record_that_stands_on_another(large, tmp_path, spoilt):
    path = tmp_path / "spool.db"
    for end in ("", ".id", ".mark"):
        shutil.copy(f"{large}{end}", f"{path}{end}")
    data = bytearray(path.read_bytes())
    inner = [at for at in range(PAGE, len(data), PAGE) if data[at] == 5]
    leaf = next(at for at in range(0, len(data), PAGE) if b'25000\\"' in data[at : at + PAGE])
    places = {"head": 0, "first": 0, "root": PAGE, "inner": inner[1], "another inner": inner[2], "leaf": leaf}
    at, size = places.get(spoilt, 0), 64 if "head" in spoilt else PAGE
    data[at : at + size] = b"\xff" * size
    path.write_bytes(data)
    condemn(path)
    with Spool(path) as spool:
        sent = delivered(path, spool)
    (said,) = [one for one in sent if one.get("event") == "spool_salvaged"]
    came = {one["was"]["seq"] for one in sent if "was" in one}
    unsent = {*range(20_001, 30_001), *range(COUNT - 499, COUNT + 1)}
    lost = {seq for first, last in said["lost"] for seq in range(first, last + 1)}
    assert came | lost == unsent
    assert len(lost) == (0 if spoilt != "leaf" else said["lost_records"])
    assert len(lost) < 150
    assert said["complete"]


# ---- the log


def killed(path, tmp_path):
    """Give a copy of a spool and its log as a killed process leaves them."""
    copy = tmp_path / "copy" / "spool.db"
    copy.parent.mkdir()
    for end in ("", "-wal", ".id", ".mark"):
        shutil.copy(f"{path}{end}", f"{copy}{end}")
    return copy


def test_what_was_committed_into_the_log_is_found_without_the_head_of_the_file(tmp_path):
    with Spool(tmp_path / "spool.db") as spool:
        fill(spool, 300)
        spool.commit([fat(number, 20_000) for number in range(5)])
        first = spool.id
        copy = killed(spool.path, tmp_path)
    with copy.open("r+b") as file:
        file.write(b"\xff" * 64)
    condemn(copy)
    with Spool(copy) as spool:
        sent = delivered(copy, spool)
    assert len([one for one in sent if "was" in one]) == 305
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
    with Spool(tmp_path / "spool.db") as spool:
        for number in range(1, 40):
            spool.commit([fat(number)])
        copy = killed(spool.path, tmp_path)
    log = copy.with_name("spool.db-wal")
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
