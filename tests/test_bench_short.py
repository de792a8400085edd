"""Short forms of the bench: real mosquitto, real daemon, the bounds on truth as they are, those on speed widened."""

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))  # bench is no part of what is installed

from bench.figures import Figures  # noqa: E402  found by the line above
from bench.judge import judge_records  # noqa: E402
from bench.received import Received  # noqa: E402
from bench.subscriber import ENTRY  # noqa: E402
from bench.truth import channel_names, is_right, registers  # noqa: E402

needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto", path=f"/usr/sbin:{os.environ['PATH']}") is None, reason="mosquitto is not installed"
)


def run(name, directory, *more):
    """Run a bench command and give its exit code and what it printed."""
    lengths = ["--lead", "0.5", "--yardstick", "0", "--settle", "10", "--ack-timeout", "1", "--allow", "4"]
    command = [sys.executable, "-m", f"bench.{name}", *lengths, "--directory", str(directory), *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


@needs_mosquitto
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("steady", ("--seconds", "3")),
        ("cost", ("--seconds", "3", "--yardstick", "2")),
        ("outage", ("--seconds", "3")),
        ("half_open", ("--seconds", "4")),
        ("killed", ("--seconds", "3", "--dead", "1")),
    ],
)
def test_daemon_meets_the_bounds_of_the_short_bench(name, more, tmp_path):
    """Every bound of the bench holds over a few seconds as well."""
    code, said = run(name, tmp_path, *more)
    assert code == 0, said
    assert "all bounds met" in said


def test_a_slow_line_is_used_nearly_to_the_full_and_check_foretells_its_cycle():
    """Ten instruments at 9600 baud, each byte taking its time; real daemon, real pty."""
    command = [sys.executable, "-m", "bench.wire", "--seconds", "8", "--delay", "0.005", "--allow", "1.2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all bounds met" in done.stdout


@needs_mosquitto
@pytest.mark.parametrize("more", [(), ("--paced", "--unpacked")], ids=["flat out", "paced"])
def test_a_backlog_drains_beside_the_present(more, tmp_path):
    """Three hundred thousand values arrive as they were stored, few bytes each, and the present is not late."""
    code, said = run("backlog", tmp_path, "--values", "300000", *more)
    assert code == 0, said
    assert "all bounds met" in said


def values_of(instrument, number):
    """Give the values that a correct daemon publishes for one request."""
    numbers = struct.unpack(">20f", registers(instrument, number, 20))
    return dict(zip(channel_names(20), numbers, strict=True))


def test_values_of_another_request_instrument_or_channel_are_wrong():
    """The truth tells a stale, a swapped and a neighbour's value from the right one."""
    right = values_of(7, 100)
    assert is_right(7, right)
    assert not is_right(8, right)
    assert not is_right(7, right | {"c05": values_of(7, 99)["c05"]})
    assert not is_right(7, right | {"c05": right["c06"], "c06": right["c05"]})
    assert not is_right(7, right | {"c05": right["c05"] * 1.000001})


def verdict(directory, *records):
    """Give what the judge says of records that arrived in one message each."""
    file = directory / "received.bin"
    topic = b"stations/BENCH/data"
    with file.open("wb") as arrivals:
        for record in records:
            payload = json.dumps({"v": 1, "station": "BENCH", "spool": "one", "records": [record]}).encode()
            arrivals.write(ENTRY.pack(1, len(topic), len(payload)) + topic + payload)
    figures = Figures(1)
    judge_records(figures, Received(file).update())
    return figures.finish()


def record(seq, number, **other):
    """Make a record of instrument 7."""
    at = "2026-11-23T10:00:05.012Z"
    return {"seq": seq, "at": at, "kind": "raw", "instrument": "sim007", "values": values_of(7, number)} | other


def test_judge_accepts_what_is_right(tmp_path):
    """Records in any order, and a repetition that is the same, are fine."""
    assert verdict(tmp_path, record(2, 11), record(1, 10), record(2, 11)) == 0


@pytest.mark.parametrize(
    "records",
    [
        [record(1, 10), record(3, 12)],
        [record(1, 10), record(2, 10)],
        [record(1, 10), record(1, 11)],
        [record(1, 10), record(2, 11, values=values_of(8, 11))],
    ],
    ids=["a seq is missing", "one answer under two seqs", "two answers under one seq", "a neighbour's values"],
)
def test_judge_finds_what_is_wrong(records, tmp_path, capsys):
    """Each kind of mistake costs the bench its exit code."""
    assert verdict(tmp_path, *records) == 1
    assert "MISSED" in capsys.readouterr().out


def test_simulator_counts_requests_and_refuses_what_it_has_not(tmp_path):
    """It answers whole and pipelined requests, with the number of the request in channel 0."""
    command = [sys.executable, "-m", "bench.simulator", "--instruments", "2", "--log", str(tmp_path / "log")]
    simulator = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        port = int(simulator.stdout.readline().split()[1])
        with socket.create_connection(("127.0.0.1", port + 1), 5) as line, line.makefile("rb") as answers:
            ask = struct.pack(">HHHBBHH", 9, 0, 6, 1, 4, 0, 40)
            line.sendall(ask + ask)
            assert answers.read(89)[9:] == registers(1, 1, 20)
            assert answers.read(89)[9:] == registers(1, 2, 20)
            line.sendall(struct.pack(">HHHBBHH", 9, 0, 6, 1, 4, 39, 2))
            assert answers.read(9)[7:] == b"\x84\x02"
    finally:
        simulator.kill()
        simulator.wait()
