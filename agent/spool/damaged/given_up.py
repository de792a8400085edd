"""What was given up unsent, until the record that tells of it is delivered: if that is lost, salvage tells again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from agent.spool.ranges import Ranges

if TYPE_CHECKING:
    from collections.abc import Sequence

NOTE = "given_up"
_ENTRIES, _RANGES = 20, 100


class GivenUp:
    """Ranges that were given up, each with the seqs of the commit that tells of it; `text` is what was noted.

    Where there are too many, the gaps between the oldest are closed: some that arrived are named then, none is left
    out. Raises one of `database.NONSENSE` for a text that is none.
    """

    def __init__(self, text: str) -> None:
        entries = json.loads(text)["entries"] if text else []
        self._entries: list[tuple[int, int, Ranges]] = [
            (first, last, Ranges((one, other) for one, other in ranges)) for first, last, ranges in entries
        ]

    def add(self, first: int, last: int, ranges: Sequence[tuple[int, int]], acknowledged: Ranges) -> None:
        """Note that the records from `first` to `last` tell of these ranges; what was told by now is forgotten."""
        self._entries = [one for one in self._entries if acknowledged.gap(one[0], one[1])]
        self._entries.append((first, last, Ranges(ranges)))
        while len(self._entries) > _ENTRIES:
            (begin, _, older), (_, end, newer) = self._entries[:2]
            self._entries[:2] = [(begin, end, Ranges([*older, *newer]))]
        for place, (begin, end, found) in enumerate(self._entries):
            if sum(len(ranges) for *_, ranges in self._entries) <= _RANGES:
                break
            self._entries[place] = begin, end, found.hull()

    def told_until(self, settled: int, acknowledged: Ranges) -> int:
        """Give up to where, `settled` at most, nothing was given up that is not told of for sure."""
        untold = [next(iter(ranges))[0] for first, last, ranges in self._entries if acknowledged.gap(first, last)]
        return min([settled, *(first - 1 for first in untold)])

    def told_by(self, lost: Ranges) -> Ranges:
        """Give what was given up and told of by records that may be among those that are lost."""
        return Ranges(one for first, last, ranges in self._entries if lost.within(first, last) for one in ranges)

    def text(self) -> str:
        """Give it as it is noted."""
        entries = [[first, last, list(ranges)] for first, last, ranges in self._entries]
        return json.dumps({"entries": entries}, separators=(",", ":"))
