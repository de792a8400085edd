"""Slots lie on multiples of the interval on the wall clock, whatever the clock and the line do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.schedule import Schedule

WALL_S = 1_790_000_000.0
INTERVALS = st.sampled_from([0.1, 0.5, 1.0, 5.0, 60.0, 3600.0])


def off_grid(schedule, offset_s):
    """Give how far the next slot is from a multiple of the interval on the wall clock, in seconds."""
    wall_s = schedule.due_s + offset_s
    return abs(wall_s - round(wall_s / schedule.interval_s) * schedule.interval_s)


@given(INTERVALS, st.floats(0, 1e6))
def test_the_first_slot_is_the_next_multiple_of_the_interval_on_the_wall_clock(interval_s, monotonic_s):
    schedule = Schedule(interval_s, monotonic_s, WALL_S)
    assert off_grid(schedule, WALL_S) < 1e-5
    assert -1e-5 <= schedule.due_s - monotonic_s <= interval_s


@given(INTERVALS, st.lists(st.floats(0, 7.4), max_size=40))
def test_every_slot_is_asked_once_or_counted_as_skipped(interval_s, busy):
    """However long each poll takes (in intervals), asked and skipped slots add up, and none comes twice."""
    schedule = Schedule(interval_s, 100.0, WALL_S)
    first, now_s, skipped, asked = schedule.due_s, 100.0, 0, []
    for share in busy:
        asked.append(schedule.due_s)
        now_s = max(now_s, schedule.due_s) + share * interval_s
        skipped += schedule.advance(now_s, WALL_S)
    slots = [round((due_s - first) / interval_s) for due_s in [*asked, schedule.due_s]]
    assert slots == sorted(set(slots))
    assert slots[-1] == len(asked) + skipped
    assert off_grid(schedule, WALL_S) < 1e-5


def test_a_poll_that_takes_two_and_a_half_intervals_costs_one_slot_and_makes_one_late():
    schedule = Schedule(1.0, 100.0, 0.0)
    assert schedule.advance(102.5, 0.0) == 1
    assert schedule.due_s == 102.0


def test_a_poll_within_its_interval_skips_nothing():
    schedule = Schedule(5.0, 100.0, 0.0)
    assert schedule.advance(104.9, 0.0) == 0
    assert schedule.due_s == 105.0


@pytest.mark.parametrize("step_s", [-86_400.0, -3600.2, -7.4, -0.3, 0.3, 2.6, 59.9, 3600.4, 1e8 + 0.45])
def test_a_step_of_the_wall_clock_moves_the_next_slot_by_half_an_interval_at_most(step_s):
    schedule = Schedule(5.0, 100.0, WALL_S)
    before_s = schedule.due_s
    schedule.advance(before_s + 0.2, WALL_S + step_s)
    assert 2.5 - 1e-5 <= schedule.due_s - before_s <= 7.5 + 1e-5
    assert off_grid(schedule, WALL_S + step_s) < 1e-5


@given(st.lists(st.floats(-1e5, 1e5), max_size=30))
def test_slots_never_stand_still_or_run_back_while_the_wall_clock_is_stepped(steps_s):
    schedule = Schedule(1.0, 100.0, WALL_S)
    offset_s = WALL_S
    for step_s in steps_s:
        before_s = schedule.due_s
        offset_s += step_s
        schedule.advance(before_s, offset_s)
        assert 0.49 <= schedule.due_s - before_s <= 1.51


def test_a_clock_that_is_slewed_never_skips_or_repeats_a_slot():
    """A time service slews by up to half a millisecond a second; the slots follow the wall clock."""
    schedule = Schedule(1.0, 100.0, WALL_S + 0.3)
    offset_s, skipped = WALL_S + 0.3, 0
    walls = []
    for _ in range(2000):
        walls.append(round(schedule.due_s + offset_s, 3))
        offset_s += 0.0005
        skipped += schedule.advance(schedule.due_s + 0.01, offset_s)
    assert skipped == 0
    assert [wall - walls[0] for wall in walls] == pytest.approx(range(2000), abs=0.001)
