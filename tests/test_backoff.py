"""An instrument that fails may cost its line a share of the time, and no more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.backoff import MOST_S, REFUSED_S, SHARE, BackOff


def spent_s(answers, cost_s, interval_s, until_s):
    """Ask an instrument on its slots for a while; gives the seconds that its failures took, and how often it was asked.

    `answers(n)` says whether the n-th poll is answered.
    """
    backoff, now_s, spent, asked = BackOff(), 1000.0, 0.0, 0
    end_s = now_s + until_s
    while now_s < end_s:
        slot_s = now_s
        if backoff.ask_again_s <= now_s:
            asked += 1
            if answers(asked):
                backoff.answered(0.02)
            else:
                now_s += cost_s
                spent += cost_s
                backoff.failed(now_s, cost_s)
        now_s = max(slot_s + interval_s, now_s)
    return spent, asked


@pytest.mark.parametrize("cost_s", [0.05, 0.3, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("interval_s", [0.5, 1.0, 5.0])
def test_a_dead_instrument_takes_no_more_than_its_share_of_the_line(cost_s, interval_s):
    hour_s = 3600.0
    spent, _ = spent_s(lambda _: False, cost_s, interval_s, hour_s)
    assert spent <= SHARE * hour_s + 3 * cost_s


@pytest.mark.parametrize("good_in_a_row", [1, 2, 3, 7])
@pytest.mark.parametrize("cost_s", [0.05, 1.0, 3.0])
def test_a_flapping_instrument_takes_no_more_than_its_share_of_the_line(good_in_a_row, cost_s):
    hour_s = 3600.0
    spent, _ = spent_s(lambda poll: poll % (good_in_a_row + 1), cost_s, 1.0, hour_s)
    assert spent <= SHARE * hour_s + 4 * cost_s


@given(st.lists(st.booleans(), min_size=1, max_size=50), st.floats(0.01, 20), st.sampled_from([0.5, 1.0, 60.0]))
def test_no_pattern_of_answers_gets_more_than_the_share(pattern, cost_s, interval_s):
    spent, _ = spent_s(lambda poll: pattern[poll % len(pattern)], cost_s, interval_s, 3600.0)
    assert spent <= SHARE * 3600.0 + 4 * cost_s


def test_a_single_failure_costs_no_slot():
    backoff = BackOff()
    backoff.failed(100.0, 1.0)
    assert backoff.ask_again_s <= 100.0


def test_an_occasional_failure_never_costs_a_slot():
    _, asked = spent_s(lambda poll: poll % 100, 1.0, 1.0, 1000.0)
    assert asked >= 990


def test_the_wait_doubles_up_to_a_minute():
    backoff, now_s, waits = BackOff(), 1000.0, []
    for _ in range(9):
        backoff.failed(now_s, 0.5)
        waits.append(max(0.0, backoff.ask_again_s - now_s))
        now_s = max(now_s, backoff.ask_again_s)
    assert waits == [0.0, 10.0, 20.0, 40.0, MOST_S, MOST_S, MOST_S, MOST_S, MOST_S]


def test_an_instrument_with_a_long_timeout_waits_longer_than_a_minute_rather_than_take_more_than_its_share():
    backoff = BackOff()
    for _ in range(5):
        backoff.failed(backoff.ask_again_s + 10.0, 10.0)
        last_s = backoff.ask_again_s
    backoff.failed(last_s, 10.0)
    assert backoff.ask_again_s - last_s == pytest.approx(10.0 / SHARE)


def test_an_answer_ends_the_waiting():
    backoff = BackOff()
    for _ in range(6):
        backoff.failed(100.0, 1.0)
    backoff.answered(0.02)
    assert (backoff.failures, backoff.ask_again_s) == (0, 0.0)


def test_a_refusal_is_repeated_less_and_less_but_never_given_up():
    backoff, now_s, waits = BackOff(), 1000.0, []
    for _ in range(12):
        backoff.refused(now_s)
        waits.append(max(0.0, backoff.ask_again_s - now_s))
        now_s = max(now_s, backoff.ask_again_s)
    assert waits[:4] == [0.0, 4.0, 8.0, 16.0]
    assert waits[-1] == REFUSED_S


def test_the_wait_for_late_answers_after_a_failure_counts_as_its_cost_too():
    backoff, now_s = BackOff(), 1000.0
    costs = []
    for turn in range(3000):
        if backoff.ask_again_s <= now_s:
            costs.append(1.0)
            if turn % 2:
                backoff.answered(1.0)
            else:
                backoff.failed(now_s, 1.0)
        now_s += 1.0
    assert sum(costs) <= 1.1 * SHARE * 3000 + 10
