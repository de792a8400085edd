"""Somebody works on an instrument: flagged, told, kept over restarts and reboots, and over in time."""

import json
from types import SimpleNamespace

import pytest

from agent import works as module
from agent.works import NOTE_EVERY_MS, Work, Works, described, read
from drivers.clock import Moment
from drivers.sample import Flag

HOUR_MS = 3_600_000
WALL_MS = 1_795_514_400_000


class Machine:
    """Its clocks, which boot this is, and what the spool keeps."""

    def __init__(self, monkeypatch):
        self.boot, self.elapsed_ms, self.wall_offset_ms = "b1", 50_000, WALL_MS
        self.is_trusted = True  # this object is the timekeeper, too
        self.noted, self.told = "", []
        monkeypatch.setattr(module, "boot_id", lambda: self.boot)
        monkeypatch.setattr(module, "now", lambda: Moment(self.wall_offset_ms + self.elapsed_ms, self.elapsed_ms))

    def note(self, key, value, then, records=()):
        assert key == "works"
        self.noted = value
        self.told += [json.loads(b"{" + record.body + b"}") for record in records]
        then()

    def start(self):
        """Start the daemon."""
        self.polled = {name: SimpleNamespace(name=name, work=None) for name in ("o3", "so2")}
        works = Works(self.note, self.noted, self)
        works.watch(self.polled.values())
        works.turn()
        return works

    def reboot(self, off_ms):
        """Cut the power for so long."""
        self.wall_offset_ms += self.elapsed_ms + off_ms - 9_000
        self.boot, self.elapsed_ms = self.boot + "x", 9_000

    @property
    def flags(self):
        return {name: one.work for name, one in self.polled.items()}


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch)


def begin(works, for_s=3600.0, name="o3", flag=Flag.MAINTENANCE, who="li"):
    return works.begin(Work(name, flag, "new filter", who, 0, None), for_s, lambda: None)


def test_it_flags_its_instrument_alone_and_says_what_why_who_and_until_when(machine):
    works = machine.start()
    begin(works)
    assert machine.flags == {"o3": Flag.MAINTENANCE, "so2": None}
    about = {"instrument": "o3", "flag": "maintenance", "why": "new filter", "who": "li"}
    until = "2026-11-24T11:00:50.000Z"
    assert machine.told == [{"kind": "event", "event": "maintenance_begin", **about, "for_s": 3600.0, "until": until}]
    assert works.portrait() == [about | {"until": until}]


def test_it_ends_by_hand(machine):
    works = machine.start()
    begin(works)
    assert works.end("o3", "wang", lambda: None).why == "new filter"
    assert machine.flags["o3"] is None
    assert machine.told[-1]["event"] == "maintenance_end"
    assert (machine.told[-1]["ended"], machine.told[-1]["who"]) == ("by_hand", "wang")
    assert machine.noted == ""
    assert works.end("o3", "wang", lambda: None) is None


def test_it_ends_by_itself_whatever_is_done_to_the_wall_clock(machine):
    works = machine.start()
    begin(works)
    machine.wall_offset_ms += 10 * HOUR_MS
    machine.elapsed_ms += HOUR_MS - 1
    works.turn()
    assert machine.flags["o3"] is Flag.MAINTENANCE
    machine.wall_offset_ms -= 100 * HOUR_MS
    machine.elapsed_ms += 1
    works.turn()
    assert machine.flags["o3"] is None
    assert (machine.told[-1]["ended"], machine.told[-1]["who"]) == ("time", "li")
    assert works.portrait() == []


def test_another_one_of_the_same_instrument_takes_its_place(machine):
    works = machine.start()
    begin(works)
    begin(works, 60.0, flag=Flag.CALIBRATION, who="wang")
    assert [told["event"] for told in machine.told] == ["maintenance_begin", "maintenance_end", "maintenance_begin"]
    assert machine.told[1]["ended"] == "replaced"
    assert machine.told[2]["flag"] == "calibration"
    assert machine.flags["o3"] is Flag.CALIBRATION
    machine.elapsed_ms += 60_000
    works.turn()
    assert machine.flags["o3"] is None


def test_two_instruments_end_each_in_its_time(machine):
    works = machine.start()
    begin(works, 60.0)
    begin(works, 120.0, "so2", Flag.CALIBRATION)
    assert [one["instrument"] for one in works.portrait()] == ["o3", "so2"]
    machine.elapsed_ms += 60_000
    works.turn()
    assert machine.flags == {"o3": None, "so2": Flag.CALIBRATION}
    machine.elapsed_ms += 60_000
    works.turn()
    assert machine.flags == {"o3": None, "so2": None}


def test_it_goes_on_after_a_restart_of_the_daemon(machine):
    begin(machine.start())
    machine.elapsed_ms += HOUR_MS - 10_000
    works = machine.start()
    assert machine.flags["o3"] is Flag.MAINTENANCE
    machine.elapsed_ms += 10_000
    works.turn()
    assert machine.flags["o3"] is None


def test_what_was_over_while_the_daemon_was_away_is_over_at_the_start(machine):
    begin(machine.start())
    machine.elapsed_ms += 2 * HOUR_MS
    machine.start()
    assert machine.flags["o3"] is None
    assert machine.told[-1]["ended"] == "time"


def test_through_a_reboot_the_time_without_power_counts_if_the_clock_is_trusted(machine):
    begin(machine.start())
    machine.elapsed_ms += HOUR_MS // 4
    machine.reboot(HOUR_MS // 4)
    works = machine.start()
    assert machine.flags["o3"] is Flag.MAINTENANCE
    machine.elapsed_ms += HOUR_MS // 2 - 1
    works.turn()
    assert machine.flags["o3"] is Flag.MAINTENANCE
    machine.elapsed_ms += 2
    works.turn()
    assert machine.flags["o3"] is None


def test_without_a_trusted_clock_what_was_left_at_the_last_note_counts_and_no_more(machine):
    works = machine.start()
    begin(works)
    for _ in range(15):
        machine.elapsed_ms += NOTE_EVERY_MS
        works.turn()
    left_ms = HOUR_MS - 15 * NOTE_EVERY_MS
    machine.is_trusted = False
    machine.reboot(5 * HOUR_MS)
    works = machine.start()
    machine.elapsed_ms += left_ms - 1
    works.turn()
    assert machine.flags["o3"] is Flag.MAINTENANCE
    machine.elapsed_ms += 1
    works.turn()
    assert machine.flags["o3"] is None


def test_a_clock_that_is_trusted_later_ends_what_is_over(machine):
    begin(machine.start())
    machine.is_trusted = False
    machine.reboot(5 * HOUR_MS)
    works = machine.start()
    assert machine.flags["o3"] is Flag.MAINTENANCE
    machine.is_trusted = True
    works.turn()
    assert machine.flags["o3"] is None


def test_a_wrong_clock_never_lengthens_it_beyond_what_was_left(machine):
    """It said so under a clock that was years ahead."""
    machine.wall_offset_ms += 100_000 * HOUR_MS
    begin(machine.start())
    machine.wall_offset_ms -= 100_000 * HOUR_MS
    machine.reboot(0)
    works = machine.start()
    machine.elapsed_ms += HOUR_MS
    works.turn()
    assert machine.flags["o3"] is None


@pytest.mark.parametrize("set_ms", [115 * 60_000, -115 * 60_000])
def test_a_clock_that_is_set_meanwhile_ends_it_neither_earlier_nor_later_after_a_reboot(machine, set_ms):
    """He puts it right while he works, and cuts the power later."""
    works = machine.start()
    begin(works, 2 * HOUR_MS / 1000)
    machine.elapsed_ms += 600_000
    works.turn()
    machine.elapsed_ms += 5_000
    machine.wall_offset_ms += set_ms
    works.turn()
    left_ms = 2 * HOUR_MS - 605_000
    assert works.portrait()[0]["until"] == module.iso(machine.wall_offset_ms + machine.elapsed_ms + left_ms)
    machine.reboot(60_000)
    works = machine.start()
    machine.elapsed_ms += left_ms - 60_001
    works.turn()
    assert machine.flags["o3"] is Flag.MAINTENANCE
    machine.elapsed_ms += 2
    works.turn()
    assert machine.flags["o3"] is None


def test_begun_under_an_untrusted_clock_it_has_no_time_until_that_is_known(machine):
    machine.is_trusted = False
    works = machine.start()
    begin(works)
    assert "until" not in machine.told[0]
    assert works.portrait()[0]["until"] is None
    assert "not known yet" in described(works.portrait()[0])
    machine.elapsed_ms += 5_000
    machine.wall_offset_ms += HOUR_MS
    machine.is_trusted = True
    works.turn()
    assert works.portrait()[0]["until"] == "2026-11-24T12:00:50.000Z"


def test_twice_rebooted_it_still_ends(machine):
    begin(machine.start())
    for _ in range(2):
        machine.reboot(60_000)
        machine.is_trusted = False
        works = machine.start()
        works.turn()
    machine.elapsed_ms += HOUR_MS
    works.turn()
    assert machine.flags["o3"] is None


def test_it_is_noted_each_minute_and_not_oftener(machine):
    works = machine.start()
    begin(works)
    machine.noted = "as it was"
    for _ in range(11):
        machine.elapsed_ms += 5_000
        works.turn()
    assert machine.noted == "as it was"
    machine.elapsed_ms += 5_000
    works.turn()
    assert json.loads(machine.noted)["works"][0]["left_ms"] == HOUR_MS - 60_000


def test_an_instrument_whose_file_is_gone_keeps_its_work_to_the_end(machine):
    begin(machine.start(), name="gone")
    works = machine.start()
    assert works.of("gone")
    machine.elapsed_ms += HOUR_MS
    works.turn()
    assert works.of("gone") is None


def test_what_is_noted_is_read_for_the_status(machine):
    begin(machine.start())
    (work,) = read(machine.noted)
    assert described(work.portrait()) == "o3: maintenance until 2026-11-24T11:00:50.000Z (li: new filter)"
    assert read("") == []
