"""What a status register must hold so that it says one flag and no other, or that all is well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.simulate.encode import fits
from drivers.places import BIT_TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from drivers.places import Place, Status
    from drivers.sample import Flag, Value

_OTHER_VALUES = range(256)


class State:
    """One register, or several bits, and every status of the profile that is in it."""

    def __init__(self, statuses: Sequence[Status]) -> None:
        self.place: Place = max((one.place for one in statuses), key=lambda place: place.block.count)
        self._statuses = statuses
        self._known: dict[Flag | None, int] = {}
        for raw in self._candidates():
            held = self._held(raw)
            if len(held) <= 1:
                self._known.setdefault(next(iter(held), None), raw)
            for flag in held:
                self._known.setdefault(flag, raw)

    def can_say(self, flag: Flag | None) -> bool:
        """Say whether it can say this flag; None: any."""
        return flag in self._known if flag else bool(self._known.keys() - {None})

    def raw(self, flag: Flag | None) -> int:
        """Give what it holds to say a flag, or that all is well where it cannot."""
        well = self._known.get(None, 0)
        return self._known.get(flag, well)

    def flags(self, channel: str, raw: Value) -> Iterator[Flag]:
        """Give what it says of a channel."""
        for status in self._statuses:
            if status.channels is None or channel in status.channels:
                yield from status.flags(int(raw or 0))

    def is_absent(self, channel: str, raw: Value) -> bool:
        """Say whether it means that a channel has no value."""
        mine = (one for one in self._statuses if one.channels is None or channel in one.channels)
        return any(raw in one.absent for one in mine)

    def _held(self, raw: int) -> set[Flag]:
        return {flag for status in self._statuses for flag in status.flags(raw)}

    def _candidates(self) -> Iterator[int]:
        """Give raw values worth trying: all well first, then each bit turned alone, then each value that is named."""
        well = sum({1 << bit for status in self._statuses for bit in status.clear_bits})
        yield from filter(self._fits, self._worth_trying(well))

    def _fits(self, raw: int) -> bool:
        block, number = self.place
        return raw >> block.count == 0 if block.table in BIT_TABLES else fits(number, raw)

    def _worth_trying(self, well: int) -> Iterator[int]:
        yield well
        for status in self._statuses:
            yield from (well ^ 1 << bit for bit in (*status.bits, *status.clear_bits))
            yield from (*status.values, *sorted(status.good))
        yield from _OTHER_VALUES


def groups(statuses: Iterable[Status]) -> list[State]:
    """Put together what stands in the same place."""
    found: dict[tuple[object, ...], list[Status]] = {}
    for status in statuses:
        block, number = status.place
        found.setdefault((block.table, block.start, number.format, number.order, number.mask), []).append(status)
    return [State(same) for same in found.values()]
