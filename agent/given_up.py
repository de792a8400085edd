"""What was given up unsent, until the record that tells of it is delivered: if that is lost, salvage tells again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from agent.ranges import Ranges

if TYPE_CHECKING:
    from collections.abc import Sequence

NOTE = "given_up"
_ENTRIES, _RANGES = 20, 100


class GivenUp:
    """Ranges that were given up, each with the seqs of the commit that tells of it; `text` is what was noted.

    Only so many are kept; `is_whole` says that none was left out. Raises ValueError for a text that is none.
    """

    def __init__(self, text: str) -> None:
        found = json.loads(text or '{"whole": true, "entries": []}')
        self._left_out: list[int] | None = found.get("left_out", None if found["whole"] else [1, 1 << 62])
        self._entries: list[tuple[int, int, Ranges]] = [
            (first, last, Ranges((one, other) for one, other in ranges)) for first, last, ranges in found["entries"]
        ]

    def add(self, first: int, last: int, ranges: Sequence[tuple[int, int]], acknowledged: Ranges) -> None:
        """Note that the records from `first` to `last` tell of these ranges; what was told by now is forgotten."""
        self._entries = [one for one in self._entries if acknowledged.gap(one[0], one[1])]
        if self._left_out and not acknowledged.gap(*self._left_out):
            self._left_out = None
        self._entries.append((first, last, Ranges(ranges)))
        while len(self._entries) > _ENTRIES:
            (begin, _, older), (_, end, newer) = self._entries[:2]
            self._entries[:2] = [(begin, end, Ranges([*older, *newer]))]
        while sum(len(ranges) for *_, ranges in self._entries) > _RANGES and len(self._entries) > 1:
            begin, end, _ = self._entries.pop(0)
            self._left_out = [min(begin, *(self._left_out or [begin])), max(end, *(self._left_out or [end]))]

    @property
    def is_whole(self) -> bool:
        """Say whether all that was given up is known here or told for sure."""
        return self._left_out is None

    def told_until(self, settled: int, acknowledged: Ranges) -> int:
        """Give up to where, `settled` at most, nothing was given up that is not told of for sure."""
        untold = [next(iter(ranges))[0] for first, last, ranges in self._entries if acknowledged.gap(first, last)]
        return min([settled, *(first - 1 for first in untold)]) if self.is_whole else 0

    def told_by(self, lost: Ranges) -> Ranges:
        """Give what was given up and told of by records that may be among those that are lost."""
        return Ranges(one for first, last, ranges in self._entries if lost.within(first, last) for one in ranges)

    def text(self) -> str:
        """Give it as it is noted."""
        entries = [[first, last, list(ranges)] for first, last, ranges in self._entries]
        return json.dumps(
            {"whole": self.is_whole, "left_out": self._left_out, "entries": entries}, separators=(",", ":")
        )
