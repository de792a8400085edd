"""What a status register must hold so that it says one flag and no other, or that all is well."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from drivers.registers import Place, Status
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

    def _held(self, raw: int) -> set[Flag]:
        return {flag for status in self._statuses for flag in status.flags(raw)}

    def _candidates(self) -> Iterator[int]:
        """Give raw values worth trying: all well first, then each bit turned alone, then each value that is named."""
        well = sum({1 << bit for status in self._statuses for bit in status.clear_bits})
        yield well
        for status in self._statuses:
            yield from (well ^ 1 << bit for bit in (*status.bits, *status.clear_bits))
            yield from status.values
        yield from _OTHER_VALUES


def groups(statuses: Iterable[Status]) -> list[State]:
    """Put together what stands in the same place."""
    found: dict[tuple[object, ...], list[Status]] = {}
    for status in statuses:
        block, number = status.place
        found.setdefault((block.table, block.start, number.format, number.order), []).append(status)
    return [State(same) for same in found.values()]
