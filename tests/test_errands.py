"""Conversations that somebody asks for are held between the slots, and the slots do not notice."""

import json
import math
from itertools import pairwise

import pytest
from simulated_station import START_WALL_S, Simulation, TenRegisters, prompt, silent

from agent import conversation, errands
from agent.errands import PATIENCE_S, Errand
from drivers.line import Timing
from drivers.modbus import Block, read_block
from drivers.sample import Flag

TIMING = Timing(1.0, 0.004)


@pytest.fixture
def simulate(monkeypatch):
    """Give a function that makes a line with its poller, in simulated time."""

    def make(*words, **settings):
        station = Simulation(monkeypatch, *words, **settings)
        monkeypatch.setattr(errands, "monotonic_s", station.clock.monotonic_s)
        monkeypatch.setattr(conversation, "monotonic_s", station.clock.monotonic_s)
        monkeypatch.setattr(conversation, "now", station.clock.now)
        return station

    return make


def poll(number):
    """Build a poll by hand, as the daemon does; it expects what a quick answer takes."""
    driver = TenRegisters(100 * number)
    errand = Errand(lambda line: driver.read(line, number), TIMING)
    errand.expected_s = 0.05
    return errand


def ask(station, errand, at_s):
    """Have an errand done from then on."""

    def act():
        errand.since_s = station.clock.monotonic_s()
        station.poller._errands.waiting.append(errand)

    station.at(at_s, act)
    return errand


def times(station, number):
    return [record["t"] for record in station.of(number)]


def test_a_poll_by_hand_gives_bytes_and_samples_and_is_no_record(simulate):
    station = simulate(2)
    errand = ask(station, poll(1), 5.5)
    station.run(10)
    outcome = errand.outcome(0, 0)
    assert [sample.value for sample in outcome.answer] == list(range(100, 110))
    assert [line[0] for line in outcome.trace] == [">", "<"]
    assert (outcome.error, outcome.samples) == ("", ())
    assert abs(outcome.at_ms / 1000 - START_WALL_S) < 20
    for number in (1, 2):
        assert len(station.of(number)) == 10


def test_polls_by_hand_that_fit_into_gaps_move_no_slot(simulate):
    """Ten instruments once a second, and as many polls by hand as there are gaps."""
    plain, disturbed = simulate(10).run(60), None
    disturbed = simulate(10)
    asked = [ask(disturbed, poll(number % 10 + 1), 0.3 + number) for number in range(50)]
    disturbed.run(60)
    assert all(errand.outcome(0, 0).answer for errand in asked)
    for number in range(1, 11):
        assert times(disturbed, number) == pytest.approx(times(plain, number), abs=0.003)


def test_a_silent_instrument_polled_by_hand_without_end_costs_the_others_no_more_than_a_failing_one(simulate):
    station = simulate(5)
    station.wire.instruments[9] = silent
    asked = []

    def again():
        if not asked or asked[-1]._outcome.qsize():
            driver = TenRegisters()
            asked.append(Errand(lambda line: driver.read(line, 9), TIMING))
            station.poller._errands.waiting.append(asked[-1])

    for tick in range(5900):
        station.at(tick / 10, again)
    station.run(600)
    assert 3 < len(asked) < 600
    for number in range(1, 6):
        assert len(station.good(number)) >= 0.94 * 600
        assert station.slots(number) >= 599  # the last one may be late
    late = [time for time in times(station, 1) if time % 1 > 0.3]
    assert len(late) <= 0.05 * 600


def test_errands_that_take_longer_than_was_believed_take_no_more_than_that_share_either(simulate):
    """A driver that waits in its own time for what nobody says, tried again and again."""
    station = simulate(1)
    asked = []

    def again():
        if not asked or asked[-1]._outcome.qsize():
            asked.append(Errand(lambda line: line.listen(lambda data: 0, timeout_s=5.0), TIMING))
            asked[-1].expected_s, asked[-1].longest_s = 0.05, math.inf
            station.poller._errands.waiting.append(asked[-1])

    for tick in range(5900):
        station.at(tick / 10, again)
    station.run(600)
    assert 3 < len(asked) < 600
    assert len(station.good(1)) >= 0.94 * 600


def test_a_wait_for_a_late_answer_that_fits_into_the_gap_costs_nothing():
    errands_ = errands.Errands()
    errand = Errand(lambda line: line, TIMING)
    errand.expected_s = 0.0
    errand.do = lambda line: setattr(errand, "late_s", 3.0)
    errands_.take(errand)
    assert errands_.turn(None, 10.0)
    assert errands_._again_s == 0.0


def test_on_a_line_without_gaps_a_poll_by_hand_finds_room_all_the_same(simulate):
    station = simulate(30)  # needs 1.3 s each second
    errand = ask(station, poll(1), 10)
    station.run(30)
    assert errand.outcome(0, 0).answer
    assert errand.outcome(0, 0) is None


def test_one_that_does_not_fit_waits_a_moment_for_a_gap_and_is_done_then(simulate):
    station = simulate(1)
    errand = ask(station, poll(1), 3.2)
    errand.expected_s = 30.0
    done_at = []
    usual = errand.do
    errand.do = lambda line: (done_at.append(station.clock.monotonic_s() - station.begin_s), usual(line))
    station.run(10)
    assert 3.2 + PATIENCE_S <= done_at[0] < 3.2 + PATIENCE_S + 1


def test_an_errand_that_nobody_waits_for_any_more_is_not_done(simulate):
    station = simulate(1)
    errand = ask(station, poll(1), 3.2)
    errand.is_dropped = True
    station.run(6)
    assert not errand.has_begun
    assert not station.poller._errands.waiting


def test_waiting_in_vain_drops_it():
    errand = poll(1)
    assert errand.outcome(0.01, 1) is None
    assert errand.is_dropped


def test_a_failed_poll_by_hand_changes_nothing_about_when_and_how_the_instrument_is_asked(simulate, lines):
    """Neither back-off nor outage nor a word in the log."""
    station = simulate(2)

    def unheard(line):
        station.wire.instruments[1] = silent
        try:
            return TenRegisters(100).read(line, 1)
        finally:
            station.wire.instruments[1] = prompt

    errand = ask(station, Errand(unheard, TIMING), 5.3)
    station.run(20)
    outcome = errand.outcome(0, 0)
    assert (outcome.error, outcome.reason) == ("NoAnswer", "no_answer")
    (polled, _) = station.poller.instruments
    assert (polled.failures, polled.backoff.failures) == (0, 0)
    assert lines() == []
    assert {record["reason"] for record in station.of(1, "outage")} <= {"line_busy"}  # the wait for a late answer
    assert station.slots(1) == station.slots(2) == 20


def test_a_failed_one_pays_for_the_wait_that_a_late_answer_costs_the_next_slot(simulate):
    station = simulate(1)
    failing = ask(station, Errand(lambda line: TenRegisters().read(line, 1), TIMING), 2.5)
    failing.late_s = 3.0
    station.set(1, silent, at_s=2.6)
    station.set(1, prompt, at_s=8.0)
    station.run(10)
    assert failing.outcome(0, 0).error == "NoAnswer"
    assert station.poller._errands._again_s >= station.begin_s + 2.5 + 3.0 / 0.05


def test_a_good_poll_by_hand_does_not_end_a_back_off(simulate):
    station = simulate(1)
    station.set(1, silent)
    station.set(1, prompt, at_s=100.0)
    errand = ask(station, poll(1), 100.1)
    station.run(160)
    assert errand.outcome(0, 0).answer
    (first, *_) = station.good(1)
    assert first["t"] > errand.since_s - station.begin_s + 5
    assert station.slots(1) == 160


def test_what_goes_over_the_line_is_traced_as_before_too(simulate):
    station = simulate(1)
    traced = []
    station.line.trace = lambda direction, data: traced.append(direction)
    errand = ask(station, poll(1), 1.5)
    station.run(4)
    assert traced == [">", "<"] * 5
    assert len(errand.outcome(0, 0).trace) == 2


def test_a_flood_is_cut_in_what_is_kept(simulate):
    station = simulate(1)
    kept = conversation._Kept(None, None)
    for _ in range(100):
        kept("<", bytes(4096))
    assert len(kept.lines) == conversation.TRACE_BYTES // 4096 + 1
    assert kept.lines[-1].startswith("# more bytes came")
    assert station


def test_registers_are_read_as_an_errand(simulate):
    station = simulate(1)
    errand = ask(station, Errand(lambda line: read_block(line, 1, Block("input", 7, 2)), TIMING), 2.5)
    station.run(6)
    assert errand.outcome(0, 0).answer == bytes([0, 7, 0, 8])


def test_samples_written_down_are_read_again():
    samples = TenRegisters().channels
    whole = [conversation.Sample(c.name, 1.5, (Flag.FAULT, Flag.MAINTENANCE)) for c in samples]
    assert list(conversation.sampled(json.loads(json.dumps(conversation.listed(whole))))) == whole


def test_the_flag_of_a_work_is_added_to_every_sample_and_the_worst_one_counts(simulate):
    station = simulate(2)
    (first, _) = station.poller.instruments
    station.at(4.5, lambda: setattr(first, "work", Flag.MAINTENANCE))
    station.at(8.5, lambda: setattr(first, "work", None))
    station.set(1, silent, at_s=6.5)
    station.set(1, prompt, at_s=7.5)
    station.run(12)
    flags = [set(record.get("flags", {}).values()) for record in station.of(1)]
    assert flags[:5] == [set()] * 5
    assert flags[5:7] == [{"maintenance"}] * 2
    assert {"no_comm"} in flags
    assert flags[-1] == set()
    assert all("flags" not in record for record in station.of(2))
    assert all(one <= other for one, other in pairwise(times(station, 1)))


class Talker(TenRegisters):
    """An instrument that talks unasked, as far as the agent knows."""

    unsolicited = True


def test_who_overhears_an_instrument_is_told_what_the_station_gets_and_asks_nothing(simulate):
    station = simulate(2, drivers=[Talker(100), TenRegisters(200)])
    (first, _) = station.poller.instruments
    errands_ = [poll(1), poll(1)]
    for errand in errands_:
        errand.overhears = first.overhearing
    station.at(3.5, lambda: [station.poller._errands.take(errand) for errand in errands_])
    station.run(8)
    for errand in errands_:
        outcome = errand.outcome(0, 0)
        assert [sample.value for sample in outcome.answer] == list(range(100, 110))
        assert [line[0] for line in outcome.trace] == [">", "<"]
    assert len(station.of(1)) == len(station.of(2)) == 8
    assert first.overhearing == []


def test_what_is_overheard_fails_for_the_station_too(simulate):
    station = simulate(1)
    (first,) = station.poller.instruments
    errand = poll(1)
    errand.overhears = first.overhearing
    station.poller._errands.take(errand)
    station.set(1, silent)
    station.run(1)
    assert errand.outcome(0, 0).error == "NoAnswer"
    assert station.of(1)[0]["error"] == "no_answer"
