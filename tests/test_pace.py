"""So much in a second and no more."""

import pytest

from agent.delivery import pace as pace_module
from agent.delivery.pace import Pace


class Clock:
    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(pace_module, "monotonic_s", clock)
    return clock


def spend_for(pace, clock, seconds, amount):
    """Spend as soon as it is allowed; gives how much that was."""
    end_s, spent = clock.now_s + seconds, 0
    while clock.now_s < end_s:
        if wait_s := pace.wait_s():
            clock.now_s += wait_s
        else:
            pace.spend(amount)
            spent += amount
    return spent


@pytest.mark.parametrize("amount", [1, 30, 700])
def test_over_time_the_rate_is_kept_whatever_the_portions(clock, amount):
    assert spend_for(Pace(100), clock, 1000, amount) == pytest.approx(100_000, rel=0.02)


def test_after_a_rest_one_burst_may_go_at_once_and_no_more(clock):
    pace = Pace(100, burst_s=2)
    clock.now_s += 1000
    spent = 0
    while not pace.wait_s():
        pace.spend(10)
        spent += 10
    assert spent == 200


def test_a_portion_larger_than_the_burst_is_paid_back_by_waiting(clock):
    pace = Pace(100)
    pace.spend(1100)
    assert pace.wait_s() == pytest.approx(10, abs=0.01)
