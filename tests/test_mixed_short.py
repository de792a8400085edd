"""The mixed station in short, and its judge."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agent.times import milliseconds

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))  # bench is no part of what is installed

from bench.mixed_judge import Shape, Truth, mistakes, reaches, slots  # noqa: E402  found by the line above

needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto", path=f"/usr/sbin:{os.environ['PATH']}") is None, reason="mosquitto is not installed"
)


@needs_mosquitto
def test_every_sample_of_a_tormented_station_is_right_or_flagged(tmp_path):
    """Twelve instruments, every driver in turn, twenty seconds of faults; each slot accounted for."""
    lengths = ["--seconds", "20", "--calm", "8", "--instruments", "12", "--seed", "12"]
    command = [sys.executable, "-m", "bench.mixed", *lengths, "--directory", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all bounds met" in done.stdout


SAID = [
    {"at": "2026-11-23T10:00:05.000Z", "instrument": "o3", "values": {"o3": 41.7, "flow": 700}},
    {"at": "2026-11-23T10:00:06.000Z", "instrument": "o3", "values": {"o3": 41.9, "flow": 700}},
    {"at": "2026-11-23T10:01:00.000Z", "instrument": "o3", "values": {"o3": 12.5}, "flags": {"o3": "fault"}},
    {"at": "2026-11-23T10:01:00.100Z", "instrument": "o3", "values": {"flow": None}, "flags": {"flow": "fault"}},
    {"at": "2026-11-23T10:01:00.000Z", "instrument": "so2", "values": {"so2": 3.5, "code": "A7"}},
    {
        "at": "2026-11-23T10:01:00.000Z",
        "instrument": "fid",
        "values": {"so2": 3.5, "code": "A7"},
        "flags": {"so2": "fault", "code": "fault"},
    },
    {"at": "2026-11-23T10:02:00.000Z", "did": "silent so2"},
    {"at": "2026-11-23T10:02:01.000Z", "instrument": "so2", "values": {"so2": 5.5, "code": "A7"}, "late_s": 0.7},
    {"at": "2026-11-23T10:02:02.000Z", "instrument": "so2", "values": {"so2": 6.5, "code": "A7"}, "late_s": 1.5},
    {"at": "2026-11-23T10:03:00.000Z", "did": "flag o3"},
    {"at": "2026-11-23T10:03:00.200Z", "instrument": "o3", "values": {"o3": 8.1, "flow": 700}},
    {
        "at": "2026-11-23T10:03:02.200Z",
        "instrument": "o3",
        "values": {"o3": 8.2, "flow": 700},
        "flags": {"o3": "fault"},
    },
]
SHAPES = {"o3": Shape(["o3", "flow"]), "so2": Shape(["so2", "code"], gives_once=True)}
SHAPES["fid"] = SHAPES["so2"]
FAILED = {"flags": {"o3": "no_comm", "flow": "no_comm"}, "error": "no_answer"}


@pytest.fixture
def truth():
    mates = {"o3": {"rack", "o3"}, "so2": {"rs485", "so2"}, "fid": {"fid"}}
    return Truth((json.dumps({"s": 1.0} | line) for line in SAID), mates, {"o3": 1.0, "so2": 1.0, "fid": 1.0})


def record(at, values, **more):
    return {"seq": 1, "at": f"2026-11-23T10:{at}Z", "kind": "raw", "instrument": "o3", "values": values} | more


@pytest.mark.parametrize(
    "right",
    [
        record("00:05.400", {"o3": 41.7, "flow": 700}),
        record("00:05.300", {"o3": 41.9, "flow": 700.0}),
        record("00:08.000", {"o3": 41.9, "flow": 700}),
        record("00:05.400", {"o3": 41.7, "flow": None}, flags={"flow": "no_comm"}, error="bad_answer"),
        record("01:00.400", {"o3": 12.5, "flow": None}, flags={"o3": "fault", "flow": "fault"}),
        record("03:00.200", {"o3": 8.1, "flow": 700}, flags={"o3": "fault"}),
        record("30:00.000", {"o3": None, "flow": None}, **FAILED),
        record("00:05.400", {"o3": 41.7, "flow": 700}, **FAILED),
        record("01:00.000", {"so2": 3.5, "code": "A7"}, instrument="so2"),
        record("02:04.000", {}, instrument="so2"),
        record("01:00.000", {"so2": None, "code": None}, flags={"so2": "fault", "code": "fault"}, instrument="fid"),
        record("02:02.000", {"so2": 5.5, "code": "A7"}, instrument="so2"),
    ],
)
def test_what_was_said_is_right(right, truth):
    """At that time, by that instrument, with its flag; null if it failed, and none of a result that counts once."""
    assert list(mistakes(right, truth, SHAPES[right["instrument"]], 2.0)) == []


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (record("00:05.400", {"o3": 41.8, "flow": 700}), "nobody said"),
        (record("00:04.900", {"o3": 41.9, "flow": 700}), "nobody said"),
        (record("00:05.400", {"o3": 41.7, "flow": 41.7}), "nobody said"),
        (record("01:00.000", {"so2": 3.5, "code": "A8"}, instrument="so2"), "nobody said"),
        (record("01:00.000", {"so2": None, "code": "A7"}, flags={"so2": "fault"}, instrument="so2"), "said with ok"),
        (record("02:03.500", {"so2": 6.5, "code": "A7"}, instrument="so2"), "nobody said"),
        (record("01:00.400", {"o3": 12.5, "flow": None}, flags={"flow": "fault"}), "said with fault"),
        (record("03:02.200", {"o3": 8.2, "flow": 700}), "said with fault"),
        (record("01:00.400", {"o3": 12.5, "flow": None}, flags={"o3": "calibration", "flow": "fault"}), "with fault"),
        (record("00:05.400", {"o3": 41.7, "flow": 700}, flags={"flow": "fault"}), "said with ok"),
        (record("00:05.400", {"o3": 41.7, "flow": None}), "null without a flag"),
        (record("00:05.400", {"o3": 41.7, "flow": None}, flags={"flow": "fault"}), "nobody said"),
        (record("00:05.400", {"o3": 41.7, "flow": None}, flags={"flow": "no_comm"}), "did not fail"),
        (record("00:05.400", {"o3": 41.7, "flow": 700}, flags={"flow": "no_comm"}), "said with ok"),
        (record("00:05.400", {"o3": 41.7}), "has ['o3']"),
        (record("00:05.400", {"o3": 41.7, "flow": 700}, flags={"lamp": "fault"}), "has ['o3', 'flow', 'lamp']"),
        (record("00:05.400", {}), "has []"),
    ],
)
def test_what_was_not_said_is_found(wrong, why, truth):
    """Another value, time or channel, a late one; a flag lost or made up; a null without a cause; a channel short."""
    (found,) = mistakes(wrong, truth, SHAPES[wrong["instrument"]], 2.0)
    assert why in found


@pytest.mark.parametrize(
    ("late", "by_s"),
    [
        (record("00:08.000", {"o3": 41.9, "flow": 700}), 2.0),
        (record("02:05.000", {"so2": 5.5, "code": "A7"}, instrument="so2"), 3.3),
    ],
    ids=["well", "in trouble"],
)
def test_what_was_said_before_a_poll_began_is_found(late, by_s, truth):
    """However well or badly things go."""
    assert list(mistakes(late, truth, SHAPES[late["instrument"]], by_s)) == []
    found = list(mistakes(late, truth, SHAPES[late["instrument"]], by_s - 0.1))
    assert found
    assert all("nobody said" in one for one in found)


def test_a_poll_reaches_back_to_what_its_line_told_before():
    """Whichever instrument on it that was of; an outage that ends tells of the time before it."""
    told = [("00.000", "raw", "o3"), ("00.100", "raw", "co"), ("00.700", "raw", "so2"), ("03.000", "outage", "o3")]
    told.append(("04.500", "raw", "o3"))
    records = [
        {"seq": seq, "at": f"2026-11-23T10:00:{at}Z", "kind": kind, "instrument": name}
        for seq, (at, kind, name) in enumerate(told, 1)
    ]
    found = reaches([*records, {"seq": 6, "kind": "event"}], {"o3": "rack", "co": "rack", "so2": "rs485"})
    assert found == pytest.approx({1: math.inf, 2: 0.1, 3: math.inf, 4: 2.9, 5: 1.5})


def test_slots_are_counted_once():
    """Polls, and outages when they have ended."""
    records = [
        record("00:00.000", {}),
        {"kind": "outage", "instrument": "o3", "slots": 1},
        {"kind": "outage", "instrument": "o3", "slots": 4, "span_s": 4.0},
        {"kind": "outage", "instrument": "so2", "slots": 9, "span_s": 9.0},
        {"kind": "outage", "span_s": 100.0},
    ]
    assert slots(records, "o3") == 5


def test_a_fault_of_an_instrument_is_trouble_for_it_alone(truth):
    """Shortly after it, and for those on the same line; a flag is none."""
    at_s = milliseconds("2026-11-23T10:02:10.000Z") / 1000
    assert truth.troubled("so2", at_s)
    assert not truth.troubled("o3", at_s)
    assert not truth.troubled("so2", at_s + 60)
    assert not truth.troubled("o3", at_s + 60)
    assert truth.faults == 2
