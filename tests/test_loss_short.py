"""What an abrupt end costs, in short: real daemon, kills and power cuts; and that those who judge it can say no."""

import contextlib
import errno
import json
import os
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from agent.record import Record
from agent.spool.spool import Spool
from drivers.clock import Moment

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))  # bench is no part of what is installed

from bench.figures import Figures  # noqa: E402  found by the line above
from bench.loss import Judge  # noqa: E402
from bench.power_cuts import missing, mounted  # noqa: E402
from bench.trial import Life  # noqa: E402
from bench.truth import Request, channel_names, registers  # noqa: E402

needs_card = pytest.mark.skipif(bool(missing()), reason=f"a card that forgets needs {missing()}")
NOW_MS = 1_795_000_000_000
BOUND_S = 1.0


def run(name, directory, *more):
    """Run a trial and give its exit code and what it printed; other tests may keep the machine busy meanwhile."""
    command = [sys.executable, "-m", f"bench.{name}", "--late", "0.1", "--directory", str(directory), *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_few_kills_lose_no_more_than_the_bound(tmp_path):
    code, said = run("kills", tmp_path, "--count", "5")
    assert code == 0, said
    assert "all bounds met" in said


@needs_card
def test_a_few_power_cuts_lose_no_more_than_the_bound(tmp_path):
    code, said = run("power_cuts", tmp_path, "--count", "6")
    assert code == 0, said
    assert "all bounds met" in said


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    """Give a card and the directory where it is mounted."""
    with mounted(tmp_path_factory.mktemp("log") / "card.log") as control:
        yield control, control.directory


def write(path, data, *, is_synced):
    """Write a file, synced or not."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        if is_synced:
            os.fsync(file.fileno())


@needs_card
def test_a_cut_forgets_what_was_not_synced(card):
    control, directory = card
    write(directory / "synced", b"old", is_synced=True)
    write(directory / "synced", b"newer", is_synced=False)
    write(directory / "fresh", b"never synced", is_synced=False)
    (directory / "synced").rename(directory / "renamed")
    control.order("cut")
    assert [(directory / "synced").read_bytes(), [one.name for one in directory.iterdir()]] == [b"old", ["synced"]]


@needs_card
def test_a_random_cut_keeps_all_that_was_synced_and_some_of_the_rest(card):
    """Of 512 sectors written later some are old and some new after a cut, each one whole."""
    control, directory = card
    write(directory / "file", b"o" * 512 * 512, is_synced=True)
    with (directory / "file").open("r+b") as file:
        file.write(b"n" * 512 * 500)
    control.order("cut-random 3")
    data = (directory / "file").read_bytes()
    sectors = [data[begin : begin + 512] for begin in range(0, len(data), 512)]
    assert set(sectors) == {b"o" * 512, b"n" * 512}
    assert sectors[500:] == [b"o" * 512] * 12


@needs_card
@pytest.mark.parametrize(("synchronous", "kept"), [("FULL", 20), ("NORMAL", 0)])
def test_a_cut_shows_which_commits_a_database_did_not_sync(synchronous, kept, card):
    """The way the spool commits survives; the faster way loses rows that were committed, and the card shows it."""
    control, directory = card
    path = directory / f"{synchronous}.db"
    child = os.fork()
    if not child:  # a process of its own, to be gone without closing anything
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE row(n)")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute(f"PRAGMA synchronous={synchronous}")
        for number in range(20):
            db.execute("INSERT INTO row VALUES (?)", (number,))
        os._exit(0)
    os.waitpid(child, 0)
    control.order("cut")
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM row").fetchone() == (kept,)


@needs_card
@pytest.mark.parametrize(
    ("fault", "number"), [("enospc 100000", errno.ENOSPC), ("eio write 1", errno.EIO), ("eio sync 1", errno.EIO)]
)
def test_a_card_fails_when_told_and_works_again(fault, number, card):
    control, directory = card
    control.order(fault)
    with pytest.raises(OSError, match=r"Errno") as raised:
        write(directory / "much", bytes(200_000), is_synced=True)
    assert raised.value.errno == number
    control.order("ok")
    write(directory / "much", bytes(200_000), is_synced=True)
    assert control.slowest_s() > 0


@needs_card
def test_a_card_refuses_an_order_it_does_not_know(card):
    with pytest.raises(OSError, match="Invalid argument"):
        card[0].order("burn")


def answer(number, age_s):
    """Give the answer number so-and-so of instrument 7, so many seconds before the end of the life."""
    return Request(7, number, NOW_MS * 10**6 - round(age_s * 1e9))


def record(request, **changed):
    """Make the record of an answer."""
    values = struct.unpack(">3f", registers(7, request.number, 3))
    named = dict(zip(channel_names(3), values, strict=True)) | changed
    body = json.dumps({"kind": "raw", "instrument": "sim007", "values": named})[1:-1]
    return Record(Moment(request.arrived_ns // 10**6, 0), "", body.encode())


def verdict(directory, answers, *lives):
    """Give what the judge says after lives of which each stored one list of records."""
    judge = Judge(directory / "spool.db", directory / "copy.db")
    for records in lives:
        with Spool(directory / "spool.db") as spool:
            spool.commit(records)
        judge.look(Life(NOW_MS * 10**6, answers, {}, ended_by_itself=False))
    figures = Figures(1)
    judge.show(figures, BOUND_S)
    return figures.finish()


ANSWERS = [answer(1, 2.5), answer(2, 1.5), answer(3, 0.5)]


def test_judge_accepts_a_loss_within_the_bound(tmp_path, capsys):
    """The third answer is gone, half a second old."""
    assert verdict(tmp_path, ANSWERS, [record(one) for one in ANSWERS[:2]]) == 0
    assert "0.500 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    "records",
    [
        [record(ANSWERS[0])],
        [record(ANSWERS[0]), record(ANSWERS[2])],
        [record(ANSWERS[0]), record(ANSWERS[1], c01=5.0)],
        [record(ANSWERS[0]), record(ANSWERS[1]), record(ANSWERS[1])],
        [record(ANSWERS[0]), record(ANSWERS[1]), record(answer(4, 0.1))],
        [record(ANSWERS[0]), record(ANSWERS[1]._replace(arrived_ns=NOW_MS * 10**6 - 10**10))],
    ],
    ids=["lost too much", "a hole", "another value", "twice", "never answered", "another time"],
)
def test_judge_finds_what_is_wrong(records, tmp_path, capsys):
    assert verdict(tmp_path, ANSWERS, records) == 1
    assert "MISSED" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("DELETE FROM record WHERE seq = 1", "seqs missing"),
        ("DELETE FROM record WHERE seq = 2", "visible"),
        ("UPDATE record SET at_ms = at_ms + 1, crc = NULL", "fail to open"),
    ],
)
def test_judge_finds_records_that_vanish_or_change(statement, kind, tmp_path, capsys):
    """What was there at the end of one life must be there, byte by byte, at the end of the next."""
    judge = Judge(tmp_path / "spool.db", tmp_path / "copy.db")
    life = Life(NOW_MS * 10**6, ANSWERS, {}, ended_by_itself=False)
    with Spool(tmp_path / "spool.db") as spool:
        spool.commit([record(one) for one in ANSWERS[:2]])
    judge.look(life)
    with contextlib.closing(sqlite3.connect(tmp_path / "spool.db", isolation_level=None)) as db:
        db.execute(statement)
    judge.look(life._replace(answers=[]))
    figures = Figures(1)
    judge.show(figures, BOUND_S)
    assert any(kind in line for line in capsys.readouterr().out.splitlines() if line.startswith("MISSED"))
