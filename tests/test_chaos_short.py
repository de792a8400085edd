"""A short form of the chaos run, and proof that its judge can say no."""

import gzip
import json
import os
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))  # bench is no part of what is installed

from agent.times import iso  # noqa: E402  found by the line above
from bench.chaos.instruments import Modbus  # noqa: E402  found by the line above
from bench.chaos.judge import Judge  # noqa: E402
from bench.chaos.network import is_permitted  # noqa: E402
from bench.chaos.platform import Arrived, digest, records_of  # noqa: E402
from bench.chaos.stalls import Stalls  # noqa: E402
from bench.chaos.station import Clock  # noqa: E402

needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto", path=f"/usr/sbin:{os.environ['PATH']}") is None, reason="mosquitto is not installed"
)
SPOOL = "5d05e550e2c24d74a80201a3880d3d99"


def run(directory, *more):
    """Run the chaos for a while; faults that silence the station for a minute have no place in so short a time."""
    words = ["--every", "3", "--settle", "60", "--order", "random", "--directory", str(directory)]
    words += ["--without", "refuses messages", "--without", "lets nobody", *more]
    command = [sys.executable, "-m", "bench.chaos", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    return done.returncode, done.stdout + done.stderr


@needs_mosquitto
@pytest.mark.skipif(not is_permitted(), reason="needs root: network namespaces and a small disk of its own")
def test_nothing_is_lost_and_nothing_made_up_in_a_minute_of_faults(tmp_path):
    """All parts of the run work together, and the daemon stands it."""
    code, said = run(tmp_path, "--seconds", "60", "--seed", "11")
    assert code == 0, said
    assert "nothing lost, nothing made up" in said


@needs_mosquitto
def test_chaos_runs_without_the_rights_of_root(tmp_path):
    """Then the forwarder alone does harm to the connection."""
    code, said = run(tmp_path, "--seconds", "9", "--seed", "12", "--without-namespaces", "--only", "connections")
    assert code == 0, said
    assert "no right to make namespaces" in said


def values_of(instrument):
    """Give what an instrument says next, as a daemon reads it."""
    request = struct.pack(">HHHBBHH", 1, 0, 6, 1, 4, 0, 12)
    answer = instrument.answer(request)[0].data
    return {f"c{place:02d}": value for place, value in enumerate(struct.unpack(">6f", answer[9:]))}


class Case:
    """A world in which everything was right; a test breaks one thing in it."""

    def __init__(self, directory):
        self.instrument = Modbus(3, "tcp")
        (directory / "stationd.log").write_text("WARNING all is well\n")
        station = SimpleNamespace(clock=Clock(directory / "clock"), defects=list, lives=[])
        self.records, self.committed, self.bodies = {}, {}, {}
        platform = SimpleNamespace(records=self.records, contradictions=[])
        observer = SimpleNamespace(committed=self.committed, bodies=self.bodies, before=lambda _: SPOOL)
        instruments = {self.instrument.name: self.instrument}
        parts = {"platform": platform, "observer": observer, "instruments": instruments, "station": station}
        self.world = SimpleNamespace(**parts, stalls=Stalls())

    def poll(self, seq, values=None, late_s=0.0, **more):
        """Let a poll be committed and arrive, with the time of the newest answer and so many seconds."""
        values = values or values_of(self.instrument)
        said = self.instrument.said[len(self.instrument.said)]
        at = iso(round((said.at_s + late_s) * 1000))
        body = {"seq": seq, "at": at, **more, "kind": "raw", "instrument": self.instrument.name, "values": values}
        encoded = json.dumps(body, separators=(",", ":")).encode()
        self.committed[SPOOL, seq] = digest(encoded)
        self.bodies[SPOOL, seq] = encoded
        self.records[SPOOL, seq] = Arrived(digest(encoded), body, 0.0)
        return values

    def wrong(self, newest):
        """Give what the judge finds, by question."""
        figures = Judge(self.world, {SPOOL: newest}).figures()
        return {name: found for name, found in figures.items() if found}


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


def test_judge_is_content_with_what_is_right(case):
    """Records that were said, stored and delivered once give no complaint."""
    for seq in (1, 2, 3):
        case.poll(seq)
    assert not case.wrong(3)


def test_judge_misses_what_was_committed(case):
    """A record that never came is lost, and its number unexplained; a ledger explains it."""
    for seq in (1, 2, 3):
        case.poll(seq)
    del case.records[SPOOL, 2]
    assert set(case.wrong(3)) == {"committed records that did not arrive", "seqs that nothing explains"}
    given_up = {"seq": 4, "kind": "ledger", "ledger": "dropped", "first": 2, "last": 2}
    case.records[SPOOL, 4] = Arrived(b"", given_up, 0.0)
    assert not case.wrong(3)


def test_judge_sees_other_bytes(case):
    """A record must arrive as it was committed."""
    case.poll(1)
    case.records[SPOOL, 1] = case.records[SPOOL, 1]._replace(digest=b"other")
    assert set(case.wrong(1)) == {"records whose bytes are not those committed"}


@pytest.mark.parametrize("name", ["c00", "c03"])
def test_judge_sees_values_that_nobody_said(case, name):
    """A number of a request that never was, and a channel of another one, are made up."""
    values = values_of(case.instrument)
    case.poll(1, values | {name: values[name] + 100})
    assert set(case.wrong(1)) == {"records that no instrument said"}


def test_judge_sees_one_answer_twice_and_lies(case):
    """An answer stands under one number only, and what a liar said under none."""
    values = case.poll(1)
    case.poll(2, values)
    (found,) = case.wrong(2)["records that no instrument said"]
    assert "a second time" in found
    case.instrument.mood = "unit"
    case.poll(2)
    (found,) = case.wrong(2)["records that no instrument said"]
    assert "a lie" in found


def test_judge_knows_salvaged_records(case):
    """Under `was` a record is there, and is no second measurement; with other content it is wrong."""
    values = case.poll(1)
    arrived = case.records.pop((SPOOL, 1))
    head = {"seq": 7, "at": arrived.body["at"], "was": {"spool": SPOOL, "seq": 1}}
    rest = {name: value for name, value in arrived.body.items() if name not in head}
    case.records["new", 7] = Arrived(b"", head | rest, 0.0)
    assert not case.wrong(1)
    case.records["new", 7].body["values"] = values | {"c05": None}
    assert "records whose bytes are not those committed" in case.wrong(1)


def test_judge_accepts_what_a_damaged_spool_lists_as_lost_and_nothing_else(case):
    for seq in (1, 2, 3):
        case.poll(seq)
    del case.records[SPOOL, 3]
    damaged = {"seq": 1, "kind": "event", "event": "spool_damaged", "spool": SPOOL, "newest": 2}
    salvaged = {"seq": 2, "kind": "event", "event": "spool_salvaged", "spool": SPOOL, "lost": [[3, 3]], "moved": []}
    case.records["new", 1] = Arrived(b"", damaged, 0.0)
    assert set(case.wrong(3)) == {"committed records that did not arrive", "seqs that nothing explains"}
    case.records["new", 2] = Arrived(b"", salvaged, 0.0)
    assert not case.wrong(3)
    del case.records[SPOOL, 2]
    assert set(case.wrong(3)) == {"committed records that did not arrive", "seqs that nothing explains"}


@pytest.mark.parametrize("late_s", [-1.01, 1.01, 60])
def test_judge_sees_a_wrong_time(case, late_s):
    """`at` is within a second of the truth, as far as the station's clock allows."""
    case.poll(1, late_s=0.99 if late_s > 0 else -0.99)
    assert not case.wrong(1)
    case.poll(2, late_s=late_s)
    (found,) = case.wrong(2)["records that no instrument said"]
    assert "said at" in found


def test_judge_allows_for_a_machine_that_stood_still_and_no_more(case):
    case.poll(1, late_s=3)
    assert "said at" in case.wrong(1)["records that no instrument said"][0]
    moment_s = case.instrument.said[1].moment_s
    case.world.stalls.spans = [(moment_s - 2.5, moment_s + 10)]
    assert not case.wrong(1)
    case.poll(2, late_s=60)
    (found,) = case.wrong(2)["records that no instrument said"]
    assert "said at" in found


def test_judge_wants_no_doubt_about_a_clock_that_is_trusted(case):
    case.poll(1, at="2026-11-23T10:00:05.012Z", clock="unsure", between=[None, None])
    assert "said at" in case.wrong(1)["records that no instrument said"][0]


def test_judge_compares_steps_of_the_clock_with_the_events(case):
    """A step that a living daemon keeps to itself is wrong, and so is one that never was."""
    clock, now_s = case.world.station.clock, time.monotonic()
    clock.offsets.append((now_s, 3600.0))
    case.world.station.lives.append((now_s - 10, now_s + 10))
    question = "steps of the clock untold or made up"
    assert case.wrong(0) == {question: ["untold: +3600 s"]}
    event = {"seq": 1, "kind": "event", "event": "clock_step", "step_ms": 3_600_010}
    case.records[SPOOL, 1] = Arrived(b"", event, 0.0)
    assert not case.wrong(0)
    event["step_ms"] = -3_600_000
    assert set(case.wrong(0)[question]) == {"untold: +3600 s", "never made: -3600.000 s"}


def test_platform_takes_a_message_apart_by_its_bytes():
    """Each record is kept as it was written, spaces and all."""
    text = '{"v":1,"station":"CHAOS","spool":"one","records":[{"seq":1,"a":1.50},{"seq":2, "b":"],"}]}'
    found = records_of(gzip.decompress(gzip.compress(text.encode())).decode())
    assert [encoded for _, encoded in found] == [b'{"seq":1,"a":1.50}', b'{"seq":2, "b":"],"}']
