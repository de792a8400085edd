"""The clock of the station is a measurement like any other."""

import json

import pytest

from agent import own_channels, timekeeper
from agent.own_channels import OwnChannels
from agent.record import SEPARATOR, joined
from drivers.clock import Moment

START = Moment(1_795_428_000_000, 5_000)


class Clock:
    def __init__(self, monkeypatch):
        self.wall_ms, self.elapsed_ms = START
        monkeypatch.setattr(own_channels, "now", lambda: Moment(self.wall_ms, self.elapsed_ms))
        monkeypatch.setattr(own_channels, "monotonic_s", lambda: self.elapsed_ms / 1000)
        monkeypatch.setattr(own_channels, "wall_s", lambda: self.wall_ms / 1000)

    def go_on(self, seconds, step_s=0):
        self.elapsed_ms += round(seconds * 1000)
        self.wall_ms += round((seconds + step_s) * 1000)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def chrony(tmp_path, monkeypatch):
    """Give a function that lets a chronyc print what chronyc 4.3 prints for `-c tracking`."""
    monkeypatch.setattr(timekeeper, "_TIMESYNCD", tmp_path / "timesync")
    monkeypatch.setattr(timekeeper, "_CHRONY", tmp_path / "chronyd.pid")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def prints(last_offset, leap_status="Normal"):
        (tmp_path / "chronyd.pid").touch()
        fields = f"A29FC801,162.159.200.1,4,1795428000.1,0.0001,{last_offset},0,0,0,0,0.02,0.001,64.6,{leap_status}"
        (tmp_path / "chronyc").write_text(f"#!/bin/sh\necho '{fields}'\n")
        (tmp_path / "chronyc").chmod(0o755)

    return prints


def told(record):
    whole = joined(record.shape.encode().split(SEPARATOR.encode()), record.body)
    return json.loads(b"{" + whole + b"}")


def test_chrony_says_whether_the_clock_is_right_and_by_how_much_it_is_ahead(clock, chrony):
    chrony("-0.001200")
    record = told(OwnChannels([].append).record())
    assert record["instrument"] == "station"
    assert record["values"] == {"clock_synchronised": 1, "clock_offset": -0.0012, "clock_correction": 0.0}
    assert "flags" not in record


@pytest.mark.parametrize("prepare", [lambda chrony: None, lambda chrony: chrony("0", "Not synchronised")])
def test_an_offset_that_nobody_vouches_for_is_null(clock, chrony, prepare):
    prepare(chrony)
    record = told(OwnChannels([].append).record())
    assert (record["values"]["clock_synchronised"], record["values"]["clock_offset"]) == (0, None)
    assert record["flags"] == {"clock_offset": "no_comm"}


def test_an_answer_of_chrony_that_makes_no_sense_is_no_offset(clock, chrony):
    chrony("soon")
    assert told(OwnChannels([].append).record())["values"]["clock_offset"] is None


def test_by_how_much_the_clock_was_moved_since_the_start_is_known(clock, chrony):
    own = OwnChannels([].append)
    clock.go_on(100, step_s=-3600)
    assert told(own.record())["values"]["clock_correction"] == -3600.0


def test_there_is_one_record_a_minute_whatever_the_clock_does(clock, chrony):
    records = []
    own = OwnChannels(records.append)
    for number in range(120):
        clock.go_on(5, step_s=-3600 if number == 60 else 0)
        own.turn()
    assert 9 <= len(records) <= 11


def test_chrony_is_asked_once_for_one_record(clock, chrony, tmp_path):
    chrony("0.5")
    command = tmp_path / "chronyc"
    command.write_text(f"{command.read_text()}echo asked >> {tmp_path}/asked\n")
    OwnChannels([].append).record()
    assert (tmp_path / "asked").read_text() == "asked\n"
