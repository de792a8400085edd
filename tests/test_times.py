"""Times in messages are UTC with milliseconds, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.times import iso, milliseconds

LAST_MS = 253_402_300_799_999


@given(st.integers(0, LAST_MS))
def test_what_is_written_is_read_back_to_the_millisecond(wall_ms):
    assert milliseconds(iso(wall_ms)) == wall_ms


@given(st.integers(0, LAST_MS))
def test_every_time_has_the_same_length_and_sorts_as_text(wall_ms):
    text = iso(wall_ms)
    assert len(text) == len("2026-11-23T10:00:05.012Z")
    assert iso(max(0, wall_ms - 1)) <= text


def test_a_time_is_written_in_utc_with_three_decimals():
    assert iso(1_795_428_005_012) == "2026-11-23T10:00:05.012Z"


@pytest.mark.parametrize(("wall_ms", "text"), [(-5, "1970-01-01T00:00:00.000Z"), (1 << 62, "9999-12-31T23:59:59.999Z")])
def test_a_mad_clock_gives_a_time_all_the_same(wall_ms, text):
    assert iso(wall_ms) == text


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-23T10:00:05.012", "2026-13-01T00:00:00Z"])
def test_a_text_that_is_no_time_with_a_zone_is_refused(text):
    with pytest.raises(ValueError):
        milliseconds(text)
