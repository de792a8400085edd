"""A lane is left alone for a minute; the backlog is sent ever more carefully while sessions die of it."""

import pytest

from agent.delivery import refusals as refusals_module
from agent.delivery.refusals import ACKNOWLEDGED_BEFORE_COURAGE, Refusals


@pytest.fixture
def clock(monkeypatch):
    now_s = [1000.0]
    monkeypatch.setattr(refusals_module, "monotonic_s", lambda: now_s[0])
    return now_s


def test_a_barred_lane_is_tried_again_after_a_minute_and_the_other_is_free(clock):
    refusals = Refusals(64_000)
    refusals.bar("backfill")
    assert (refusals.is_barred("backfill"), refusals.is_barred("data")) == (True, False)
    clock[0] += 61
    assert not refusals.is_barred("backfill")


def test_one_lost_session_changes_nothing(clock):
    refusals = Refusals(64_000)
    assert not refusals.session_lost(300)
    assert (refusals.message_bytes, refusals.is_careful) == (64_000, False)


def test_sessions_that_die_of_one_record_lead_to_that_record_and_to_no_other(clock):
    """Messages shrink with each lost session until the one that kills it stands alone."""
    refusals = Refusals(64_000)
    records, lost = 640, 0
    while not refusals.session_lost(records):
        lost += 1
        assert lost < 20
        records = max(1, refusals.message_bytes // 100)
    assert records == 1
    assert refusals.is_careful


def test_acknowledgements_bring_courage_back_step_by_step(clock):
    refusals = Refusals(64_000)
    for _ in range(3):
        refusals.session_lost(300)
    assert refusals.message_bytes == 4_000
    for _ in range(2 * ACKNOWLEDGED_BEFORE_COURAGE):
        refusals.acknowledged()
    assert (refusals.message_bytes, refusals.is_careful) == (64_000, False)


def test_what_was_set_aside_is_tried_again_once_an_hour(clock):
    refusals = Refusals(64_000)
    assert not refusals.is_time_to_try_again()
    clock[0] += 3601
    assert refusals.is_time_to_try_again()
    assert not refusals.is_time_to_try_again()
