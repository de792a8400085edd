"""A clock is believed only for a reason, and records of another time are dated once or marked unsure."""

import json
import os
from pathlib import Path

import pytest

from agent import timekeeper
from agent.record import event
from agent.spool.spool import Reader
from agent.timekeeper import BUILT_MS, Timekeeper, boot_id
from agent.times import iso
from drivers.clock import Moment

HOLD_S = 900.0
GOOD_MS = BUILT_MS + 40 * 86_400_000


class Clock:
    """Both clocks of a machine, moved by hand."""

    def __init__(self, wall_ms):
        self.wall_ms, self.elapsed_ms = wall_ms, 5_000

    def now(self):
        return Moment(self.wall_ms, self.elapsed_ms)

    def monotonic_s(self):
        return self.elapsed_ms / 1000

    def run(self, seconds):
        self.wall_ms += int(seconds * 1000)
        self.elapsed_ms += int(seconds * 1000)

    def step(self, seconds):
        self.wall_ms += int(seconds * 1000)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock(GOOD_MS)
    monkeypatch.setattr(timekeeper, "now", clock.now)
    monkeypatch.setattr(timekeeper, "monotonic_s", clock.monotonic_s)
    return clock


class Services:
    """The traces that time services leave on a machine."""

    def __init__(self, folder, monkeypatch):
        self.timesyncd, self.chrony, self._bin = folder / "timesync", folder / "chronyd.pid", folder / "bin"
        self._bin.mkdir()
        monkeypatch.setattr(timekeeper, "_TIMESYNCD", self.timesyncd)
        monkeypatch.setattr(timekeeper, "_CHRONY", self.chrony)
        monkeypatch.setenv("PATH", f"{self._bin}:/usr/bin:/bin")

    def run_timesyncd(self, *, is_synchronised):
        self.timesyncd.mkdir(exist_ok=True)
        if is_synchronised:
            (self.timesyncd / "synchronized").touch()

    def run_chrony(self, leap_status):
        """Put a chronyc there that prints what chronyc 4.3 prints for `-c tracking`, with that leap status."""
        self.chrony.touch()
        command = self._bin / "chronyc"
        command.write_text(
            f"#!/bin/sh\necho 'A29FC801,162.159.200.1,4,1795428000.1,0.0,0,0,0,0,0,0.02,0.001,64.6,{leap_status}'\n"
        )
        command.chmod(0o755)


@pytest.fixture
def services(tmp_path, monkeypatch):
    return Services(tmp_path, monkeypatch)


def is_trusted(trust, newest_ms=None):
    return Timekeeper(trust, HOLD_S, newest_ms).trusted()


# ---- what makes a clock trusted


def test_always_believes_any_clock(clock, services):
    clock.wall_ms = 0
    services.run_timesyncd(is_synchronised=False)
    assert is_trusted("always")


@pytest.mark.parametrize("trust", ["auto", "rtc"])
def test_without_a_time_service_a_plausible_clock_is_believed(clock, services, trust):
    assert is_trusted(trust)
    assert is_trusted(trust, newest_ms=GOOD_MS - 1)


@pytest.mark.parametrize("trust", ["auto", "rtc"])
def test_a_clock_before_the_build_or_before_the_newest_record_is_not_believed(clock, services, trust):
    assert not is_trusted(trust, newest_ms=GOOD_MS + 1)
    clock.wall_ms = BUILT_MS - 1
    assert not is_trusted(trust)


def test_ntp_waits_where_no_time_service_runs(clock, services):
    assert not is_trusted("ntp")


@pytest.mark.parametrize("trust", ["auto", "ntp"])
def test_timesyncd_is_waited_for_until_it_says_synchronised(clock, services, trust):
    services.run_timesyncd(is_synchronised=False)
    assert not is_trusted(trust)
    services.run_timesyncd(is_synchronised=True)
    assert is_trusted(trust)


@pytest.mark.parametrize("trust", ["auto", "ntp"])
@pytest.mark.parametrize(
    ("leap_status", "believed"), [("Normal", True), ("Insert second", True), ("Not synchronised", False)]
)
def test_chrony_is_asked_where_it_runs(clock, services, trust, leap_status, believed):
    services.run_chrony(leap_status)
    assert is_trusted(trust) is believed


def test_a_chrony_that_cannot_be_asked_is_not_believed(clock, services, monkeypatch):
    services.run_chrony("Normal")
    monkeypatch.setenv("PATH", "/nowhere")
    assert not is_trusted("auto")


@pytest.fixture
def nobody():
    """Be somebody to whom folders can be closed."""
    if os.geteuid() == 0:
        os.seteuid(65_534)
        yield
        os.seteuid(0)
    else:
        yield


@pytest.fixture
def closed(tmp_path):
    """Give a folder that is open to its owner alone, and he is away."""
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "chronyd.pid").touch()
    folder.chmod(0)
    yield folder
    folder.chmod(0o700)


def test_a_folder_of_chrony_that_is_closed_to_others_means_that_it_runs(clock, services, closed, nobody, monkeypatch):
    """Debian gives /run/chrony to chrony alone; a clock must not be believed for want of a look inside."""
    monkeypatch.setattr(timekeeper, "_CHRONY", closed / "chronyd.pid")
    monkeypatch.setattr(timekeeper, "_TIMESYNCD", Path("/nowhere"))
    with pytest.raises(PermissionError):
        (closed / "chronyd.pid").stat()
    assert timekeeper._chrony_runs()
    monkeypatch.setenv("PATH", "/nowhere")
    assert not is_trusted("auto")


def test_without_a_folder_of_chrony_none_runs(clock, services, tmp_path, monkeypatch):
    monkeypatch.setattr(timekeeper, "_CHRONY", tmp_path / "away" / "chronyd.pid")
    assert not timekeeper._chrony_runs()
    assert is_trusted("auto")


def test_a_record_from_the_future_does_not_outvote_a_time_service(clock, services):
    services.run_timesyncd(is_synchronised=True)
    assert is_trusted("auto", newest_ms=GOOD_MS + 10**10)


def test_a_time_service_that_says_1970_is_not_believed(clock, services):
    services.run_timesyncd(is_synchronised=True)
    clock.wall_ms = 1000
    assert not is_trusted("ntp")


def test_the_time_service_is_asked_again_every_few_seconds_and_not_each_time(clock, services):
    services.run_timesyncd(is_synchronised=False)
    keeper = Timekeeper("auto", HOLD_S, None)
    assert not keeper.trusted()
    services.run_timesyncd(is_synchronised=True)
    clock.run(1)
    assert not keeper.trusted()
    clock.run(5)
    assert keeper.trusted()


def test_a_clock_once_trusted_stays_so_until_the_process_ends(clock, services):
    keeper = Timekeeper("auto", HOLD_S, None)
    assert keeper.trusted()
    services.run_timesyncd(is_synchronised=False)
    clock.step(-(10**9))
    clock.run(60)
    assert keeper.trusted()


# ---- steps


def body(record):
    return json.loads(b"{" + record.body + b"}")


@pytest.mark.parametrize("step_s", [-3600.0, -1.5, 1.5, 86_400.0])
def test_a_step_of_the_clock_is_recorded_once_with_both_times(clock, services, step_s):
    keeper = Timekeeper("always", HOLD_S, None)
    keeper.trusted()
    clock.run(100)
    expected = iso(clock.wall_ms)
    clock.step(step_s)
    (record,) = keeper.steps()
    assert body(record) == {
        "kind": "event",
        "event": "clock_step",
        "before": expected,
        "after": iso(clock.wall_ms),
        "step_ms": step_s * 1000,
    }
    clock.run(100)
    assert keeper.steps() == []


def test_a_clock_that_drifts_or_is_slewed_has_made_no_step(clock, services):
    keeper = Timekeeper("always", HOLD_S, None)
    keeper.trusted()
    for _ in range(100):
        clock.run(2)
        clock.step(0.4)
        assert keeper.steps() == []


def test_becoming_right_is_no_step(clock, services):
    services.run_timesyncd(is_synchronised=False)
    clock.wall_ms = 1000
    keeper = Timekeeper("auto", HOLD_S, None)
    assert not keeper.trusted()
    clock.run(30)
    clock.step(GOOD_MS / 1000)
    assert keeper.steps() == []
    services.run_timesyncd(is_synchronised=True)
    assert keeper.trusted()
    assert keeper.steps() == []


# ---- dating what was held


def stored(path):
    reader = Reader(path)
    try:
        return reader.records(1, 1 << 40, 1 << 20)
    finally:
        reader.close()


def measure(spool, clock):
    spool.commit([event("start", clock.now())], held=True)


def test_held_records_get_their_true_time_once_the_clock_is_right(clock, services, spool, path):
    services.run_timesyncd(is_synchronised=False)
    clock.wall_ms = 1000
    keeper = Timekeeper("auto", HOLD_S, None)
    keeper.recover(spool)
    measure(spool, clock)
    clock.run(60)
    measure(spool, clock)
    assert not keeper.settle(spool)
    assert stored(path) == []
    clock.run(30)
    clock.wall_ms = GOOD_MS
    services.run_timesyncd(is_synchronised=True)
    keeper.trusted()
    assert keeper.settle(spool)
    assert [(one.at_ms, one.doubt) for one in stored(path)] == [(GOOD_MS - 90_000, None), (GOOD_MS - 30_000, None)]
    assert not keeper.settle(spool)


def test_records_that_waited_too_long_are_sent_as_unsure_with_the_bounds(clock, services, spool, path):
    services.run_timesyncd(is_synchronised=False)
    keeper = Timekeeper("auto", HOLD_S, GOOD_MS - 5000)
    measure(spool, clock)
    clock.run(HOLD_S - 1)
    assert not keeper.settle(spool)
    clock.run(1)
    assert keeper.settle(spool)
    (one,) = stored(path)
    assert one.at_ms == GOOD_MS
    assert one.doubt.unsure
    assert (one.doubt.earliest_ms, one.doubt.latest_ms) == (GOOD_MS - 5000, None)


def test_what_was_sent_as_unsure_never_changes_when_the_clock_becomes_right(clock, services, spool, path):
    services.run_timesyncd(is_synchronised=False)
    keeper = Timekeeper("auto", 0.0, None)
    measure(spool, clock)
    keeper.settle(spool)
    before = stored(path)
    clock.step(1000)
    services.run_timesyncd(is_synchronised=True)
    clock.run(10)
    keeper.trusted()
    keeper.settle(spool)
    assert stored(path) == before


def test_records_held_by_an_earlier_boot_are_marked_unsure_at_start(clock, services, spool, path, monkeypatch):
    monkeypatch.setenv("STATIOND_BOOT_ID", "boot-1")
    Timekeeper("auto", HOLD_S, None).recover(spool)
    measure(spool, clock)
    monkeypatch.setenv("STATIOND_BOOT_ID", "boot-2")
    clock.run(10)
    Timekeeper("auto", HOLD_S, None).recover(spool)
    (one,) = stored(path)
    assert one.doubt.unsure
    assert (one.doubt.earliest_ms, one.doubt.latest_ms) == (BUILT_MS, clock.wall_ms)
    assert spool.held() is None


def test_records_held_by_the_same_boot_can_still_be_dated_after_a_restart(clock, services, spool, path, monkeypatch):
    monkeypatch.setenv("STATIOND_BOOT_ID", "boot-1")
    services.run_timesyncd(is_synchronised=False)
    clock.wall_ms = 1000
    Timekeeper("auto", HOLD_S, None).recover(spool)
    measure(spool, clock)
    clock.run(60)
    keeper = Timekeeper("auto", HOLD_S, None)
    keeper.recover(spool)
    assert spool.held() == (1, 1)
    services.run_timesyncd(is_synchronised=True)
    clock.wall_ms = GOOD_MS
    clock.run(10)
    keeper.trusted()
    assert keeper.settle(spool)
    assert [one.at_ms for one in stored(path)] == [GOOD_MS + 10_000 - 70_000]


def test_the_boot_is_named_by_the_unit_or_else_by_the_kernel(monkeypatch):
    monkeypatch.delenv("STATIOND_BOOT_ID", raising=False)
    assert len(boot_id()) == 36
    monkeypatch.setenv("STATIOND_BOOT_ID", "from-the-unit")
    assert boot_id() == "from-the-unit"
