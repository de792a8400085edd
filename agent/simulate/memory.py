"""The registers of a simulated instrument, filled as its profile says: decoding turned round."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.simulate.encode import raw_of, value_in, words_of
from agent.simulate.levels import level
from agent.simulate.states import groups
from drivers.registers import BIT_TABLES
from drivers.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from drivers.modbus import Block
    from drivers.registers import Measured, Place, Status
    from drivers.sample import Flag


class Memory:
    """All tables of one instrument. Only the registers that its profile names exist."""

    def __init__(self, name: str, measured: Sequence[Measured], statuses: Sequence[Status]) -> None:
        self._name, self._measured = name, measured
        self._states = groups(statuses)
        self._words: dict[str, dict[int, bytes]] = {}
        for block in (*(item.place.block for item in measured), *(item.place.block for item in statuses)):
            table = self._words.setdefault(block.table, {})
            table |= dict.fromkeys(range(block.start, block.start + block.count), b"\0\0")

    def can_say(self, flag: Flag | None) -> bool:
        """Say whether any status of the profile says this flag; None: any flag at all."""
        return any(state.can_say(flag) for state in self._states)

    def refresh(self, at_s: float, flag: Flag | None) -> None:
        """Measure anew; `flag` is what the statuses should say, if they can; None: that all is well."""
        for item in self._measured:
            self._write(item.place, self._raw(item, at_s))
        for state in self._states:
            self._write(state.place, state.raw(flag))

    def read(self, block: Block) -> bytes | None:
        """Give the data bytes of an answer, or None where an address does not exist."""
        table = self._words.get(block.table, {})
        found = [table.get(address) for address in range(block.start, block.start + block.count)]
        words = [word for word in found if word is not None]
        if not words or len(words) < len(found):
            return None
        if block.table not in BIT_TABLES:
            return b"".join(words)
        whole = sum(word[1] << place for place, word in enumerate(words))
        return whole.to_bytes((block.count + 7) // 8, "little")

    def samples(self, block: Block) -> list[Sample]:
        """Say what a driver must make of an answer: each channel that lies in it, with every flag that holds."""
        inside = [item for item in self._measured if _is_within(item.place.block, block)]
        return [Sample(item.channel.name, self._value(item.place), tuple(self._flags(item))) for item in inside]

    def _raw(self, item: Measured, at_s: float) -> int | float | str:
        value = level(item.channel, self._name, at_s)
        if item.range:
            low, high = item.range
            margin = (high - low) / 100
            value = min(max(value, low + margin), high - margin)
        return raw_of(item.place.number, value)

    def _value(self, place: Place) -> float | str | None:
        words = self._words[place.block.table]
        here = [words[address] for address in _addresses(place.block)]
        if place.block.table in BIT_TABLES:
            return sum(word[1] << bit for bit, word in enumerate(here))
        return value_in(place.number, b"".join(here))

    def _flags(self, item: Measured) -> Iterable[Flag]:
        for state in self._states:
            yield from state.flags(item.channel.name, self._value(state.place))

    def _write(self, place: Place, raw: float | str) -> None:
        block, words = place.block, self._words[place.block.table]
        if block.table in BIT_TABLES:
            for bit, address in enumerate(_addresses(block)):
                words[address] = bytes([0, int(raw) >> bit & 1])
            return
        data = words_of(place.number, raw, b"".join(words[address] for address in _addresses(block)))
        for index, address in enumerate(_addresses(block)):
            words[address] = data[2 * index : 2 * index + 2]


def _addresses(block: Block) -> range:
    return range(block.start, block.start + block.count)


def _is_within(inner: Block, outer: Block) -> bool:
    return inner.table == outer.table and set(_addresses(inner)) <= set(_addresses(outer))
