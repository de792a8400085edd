"""The real daemon while somebody turns its wall clock: nothing is lost, reordered or asked at another pace."""

import itertools
import json
import time

import pytest
from daemons import Daemon
from instrument_peers import TcpInstrument
from waiting import until

from agent.times import milliseconds
from bench.chaos.station import Clock

HOUR_S, YEAR_S = 3600.0, 365 * 86_400.0
INTERVAL_MS = 200


@pytest.fixture
def clock(tmp_path):
    clock = Clock(tmp_path / "clock")
    if not clock.can_step:
        pytest.skip("this test needs a C compiler")
    return clock


@pytest.fixture
def daemon(tmp_path, broker):
    instrument = TcpInstrument("tcp")
    daemon = Daemon(tmp_path, broker.port, {"rack": f'tcp = "127.0.0.1:{instrument.port}"'})
    yield daemon
    daemon.close()
    instrument.stop()


def arrived(platform):
    """Give each record once, in order of seq."""
    return [record for _, record in sorted({record["seq"]: record for record in platform.records()}.items())]


def polls(records):
    return [record for record in records if record.get("instrument") == "rack" and record["kind"] == "raw"]


def paces(records):
    """Give the milliseconds from each poll to the next, as the clock of the station showed them."""
    return [after - before for before, after in itertools.pairwise(milliseconds(one["at"]) for one in polls(records))]


def test_steps_by_an_hour_and_by_years_lose_and_reorder_nothing(daemon, clock, platform):
    offsets = [0.0, -HOUR_S, 0.0, 9 * YEAR_S, 0.0]
    daemon.start(**clock.environment)
    for offset_s in offsets:
        clock.step(offset_s)
        seen = len(polls(arrived(platform)))
        until(lambda seen=seen: len(polls(arrived(platform))) >= seen + 8)
    daemon.stop()
    newest, acknowledged = daemon.stored()
    until(lambda: len(arrived(platform)) == newest)
    assert list(acknowledged) == [(1, newest)]
    records = arrived(platform)
    assert [record["seq"] for record in records] == list(range(1, newest + 1))

    steps_ms = [round((after - before) * 1000) for before, after in itertools.pairwise(offsets)]
    told = [record["step_ms"] for record in records if record.get("event") == "clock_step"]
    assert told == pytest.approx(steps_ms, abs=20)

    jumps = [pace for pace in paces(records) if abs(pace) > HOUR_S * 500]
    assert jumps == pytest.approx(steps_ms, abs=1500)
    elapsed = [pace for pace in paces(records) if abs(pace) <= HOUR_S * 500]
    elapsed += [pace - step for pace, step in zip(jumps, steps_ms, strict=True)]
    assert min(elapsed) > 0
    assert sorted(elapsed)[len(elapsed) // 2] == pytest.approx(INTERVAL_MS, abs=20)
    slots = sum(record["slots"] for record in records if record["kind"] == "outage" and "slots" in record)
    assert sum(elapsed) / INTERVAL_MS == pytest.approx(len(elapsed) + slots, abs=len(steps_ms) + 2)
    assert daemon.troubles == []


def test_what_was_measured_under_an_untrusted_clock_is_dated_once_and_only_then_sent(daemon, clock, platform):
    clock.step(-2 * YEAR_S)
    begin_ms = time.time() * 1000
    daemon.start(**clock.environment)
    until(lambda: daemon.stored()[0] >= 20)
    assert platform.records() == []
    assert platform.of("state")[-1].document["clock"] == "untrusted"
    clock.step(0.0)
    until(lambda: len(polls(arrived(platform))) >= 40, 20)
    daemon.stop()
    end_ms = time.time() * 1000
    newest, _ = daemon.stored()
    until(lambda: len(arrived(platform)) == newest)
    records = arrived(platform)
    assert [record["seq"] for record in records] == list(range(1, newest + 1))
    times = [milliseconds(record["at"]) for record in polls(records)]
    assert begin_ms < times[0] < times[-1] < end_ms
    assert 0 < min(paces(records)) <= max(paces(records)) < 1500
    assert not any("clock" in record or record.get("event") == "clock_step" for record in records)
    shown = [json.loads(line) for line in daemon.command("spool", "show").stdout.splitlines()]
    assert shown == records
