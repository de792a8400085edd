"""Sets of sequence numbers as few ranges: what was acknowledged is one range on a healthy station."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Ranges:
    """A set of whole numbers kept as disjoint, sorted ranges with both ends included."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in ranges:
            self.add(first, last)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._firsts, self._lasts, strict=True))

    def __len__(self) -> int:
        """Count the ranges, not the numbers."""
        return len(self._firsts)

    def __contains__(self, number: int) -> bool:
        place = bisect_right(self._firsts, number) - 1
        return place >= 0 and number <= self._lasts[place]

    def add(self, first: int, last: int) -> None:
        """Put a range in, joining what touches it."""
        begin = bisect_left(self._lasts, first - 1)
        end = bisect_right(self._firsts, last + 1)
        if begin < end:
            first, last = min(first, self._firsts[begin]), max(last, self._lasts[end - 1])
        self._firsts[begin:end] = [first]
        self._lasts[begin:end] = [last]

    def remove(self, first: int, last: int) -> None:
        """Take a range out, whatever of it is in."""
        begin, end = bisect_left(self._lasts, first), bisect_right(self._firsts, last)
        if begin >= end:
            return
        left = (self._firsts[begin], first - 1)
        right = (last + 1, self._lasts[end - 1])
        kept = [one for one in (left, right) if one[0] <= one[1]]
        self._firsts[begin:end] = [one[0] for one in kept]
        self._lasts[begin:end] = [one[1] for one in kept]

    def within(self, first: int, last: int) -> list[tuple[int, int]]:
        """Give the ranges inside the bounds, cut at them."""
        begin, end = bisect_left(self._lasts, first), bisect_right(self._firsts, last)
        return [(max(first, self._firsts[place]), min(last, self._lasts[place])) for place in range(begin, end)]

    def gap(self, first: int, last: int) -> tuple[int, int] | None:
        """Give the first stretch within the bounds that is not in the set."""
        place = bisect_right(self._firsts, first) - 1
        if place >= 0 and first <= self._lasts[place]:
            first = self._lasts[place] + 1
        if first > last:
            return None
        follower = bisect_right(self._firsts, first)
        return first, min(last, self._firsts[follower] - 1) if follower < len(self._firsts) else last

    def gaps(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Give the stretches within the bounds that are not in the set."""
        while first <= last and (gap := self.gap(first, last)):
            yield gap
            first = gap[1] + 1

    def around(self, number: int) -> tuple[int, int]:
        """Give the range that a number of the set is in."""
        place = bisect_right(self._firsts, number) - 1
        return self._firsts[place], self._lasts[place]

    def missing(self, first: int, last: int) -> int:
        """Count the numbers within the bounds that are not in the set."""
        return max(0, last - first + 1) - sum(max(0, min(last, b) - max(first, a) + 1) for a, b in self)

    def count(self) -> int:
        """Count the numbers."""
        return sum(last - first + 1 for first, last in self)

    def hull(self) -> Ranges:
        """Give the set without its gaps."""
        return Ranges([(self._firsts[0], self._lasts[-1])] if self._firsts else [])

    def copy(self) -> Ranges:
        """Give a set of its own with the same numbers."""
        twin = Ranges()
        twin._firsts, twin._lasts = self._firsts[:], self._lasts[:]
        return twin
