"""Ranges hold a set of numbers in few pieces and never say anything a plain set would not say."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from agent.spool.ranges import Ranges

NUMBER = st.integers(1, 60)
PAIRS = st.lists(st.tuples(NUMBER, st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=25)


def numbers(pairs):
    return {number for first, last in pairs for number in range(first, last + 1)}


@given(PAIRS)
def test_it_holds_the_numbers_of_every_range_put_in_and_no_others(pairs):
    held = Ranges(pairs)
    assert {number for number in range(80) if number in held} == numbers(pairs)


@given(PAIRS)
def test_its_ranges_are_sorted_and_never_touch(pairs):
    ranges = list(Ranges(pairs))
    assert all(first <= last for first, last in ranges)
    assert all(before[1] + 1 < after[0] for before, after in pairwise(ranges))


@given(PAIRS, NUMBER, NUMBER)
def test_the_gap_is_the_first_stretch_that_is_missing(pairs, one, other):
    first, last = min(one, other), max(one, other)
    missing = [number for number in range(first, last + 1) if number not in numbers(pairs)]
    gap = Ranges(pairs).gap(first, last)
    if gap is None:
        assert not missing
    else:
        assert gap[0] == missing[0]
        assert missing[: gap[1] - gap[0] + 1] == list(range(gap[0], gap[1] + 1))
        assert gap[1] == last or gap[1] + 1 in numbers(pairs)


@given(PAIRS, NUMBER, NUMBER)
def test_it_counts_what_is_missing_within_bounds(pairs, first, last):
    assert Ranges(pairs).missing(first, last) == len(set(range(first, last + 1)) - numbers(pairs))


def test_a_healthy_station_is_one_range_however_many_acknowledgements_came():
    ranges = Ranges()
    for seq in range(1, 1001):
        ranges.add(seq, seq)
    assert list(ranges) == [(1, 1000)]


def test_a_copy_goes_its_own_way():
    ranges = Ranges([(1, 3)])
    twin = ranges.copy()
    twin.add(4, 9)
    assert list(ranges) == [(1, 3)]
    assert list(twin) == [(1, 9)]


@given(PAIRS, NUMBER, NUMBER)
def test_what_is_taken_out_is_out_and_nothing_else(pairs, one, other):
    first, last = min(one, other), max(one, other)
    ranges = Ranges(pairs)
    ranges.remove(first, last)
    assert {number for number in range(80) if number in ranges} == numbers(pairs) - set(range(first, last + 1))
    assert all(before[1] + 1 < after[0] for before, after in pairwise(ranges))


@given(PAIRS, NUMBER, NUMBER)
def test_ranges_within_bounds_hold_what_is_in_the_set_there(pairs, one, other):
    first, last = min(one, other), max(one, other)
    within = [number for a, b in Ranges(pairs).within(first, last) for number in range(a, b + 1)]
    assert within == sorted(numbers(pairs) & set(range(first, last + 1)))
