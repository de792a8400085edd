"""The registers of a simulated instrument, filled as its profile says: decoding turned round."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from agent.simulate.encode import raw_of, value_in, words_of
from agent.simulate.levels import level
from agent.simulate.states import groups
from drivers.places import BIT_TABLES
from drivers.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drivers.modbus import Block
    from drivers.places import Measured, Place, Profile
    from drivers.sample import Flag, Value

RESULT_S = 10
"""How often there is a new result, where results have a time."""
_DECIMALS = 2


class Memory:
    """All tables of one instrument. Only the registers that its profile names exist."""

    def __init__(self, name: str, profile: Profile) -> None:
        self._name, self._measured = name, profile.measured
        self._has_results = profile.result_time is not None
        self._states = groups(profile.statuses)
        self._words: dict[str, dict[int, bytes]] = {}
        for block, _ in profile.places:
            table = self._words.setdefault(block.table, {})
            table |= dict.fromkeys(range(block.start, block.start + block.count), b"\0\0")

    def can_say(self, flag: Flag | None) -> bool:
        """Say whether any status of the profile says this flag; None: any flag at all."""
        return any(state.can_say(flag) for state in self._states)

    def refresh(self, at_s: float, flag: Flag | None) -> None:
        """Measure anew; `flag` is what the statuses should say, if they can; None: that all is well."""
        at_s -= at_s % RESULT_S if self._has_results else 0
        for item in self._measured:
            self._measure(item, at_s)
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
        return [Sample(item.channel.name, self._said(item), tuple(self._flags(item))) for item in inside]

    def _measure(self, item: Measured, at_s: float) -> None:
        """Write a value, with what belongs to it: its decimals, its smaller part, what says that it is the one."""
        number, value = item.place.number, self._level(item, at_s)
        if item.decimals:
            self._write(item.decimals, _DECIMALS)
            value *= 10**_DECIMALS
        if item.plus:
            rest = round(value % 1, 3)
            self._write(item.plus, raw_of(item.plus.number, rest))
            value = round(value - rest)
        for identity in item.identities:
            self._write(identity.place, identity.value)
        self._write(item.place, at_s if number.format == "datetime" else raw_of(number, value))

    def _level(self, item: Measured, at_s: float) -> float:
        value = level(item.channel, self._name, at_s)
        if item.range:
            low, high = item.range
            margin = (high - low) / 100
            value = min(max(value, low + margin), high - margin)
        return value

    def _said(self, item: Measured) -> Value:
        """Give what a driver must make of a channel's places."""
        value = self._value(item.place)
        if any(state.is_absent(item.channel.name, self._value(state.place)) for state in self._states):
            return None
        if isinstance(value, str) or not (item.plus or item.decimals):
            return value
        plus, decimals = (self._value(place) if place else 0 for place in (item.plus, item.decimals))
        whole = (Decimal(str(value)) + Decimal(str(plus))).scaleb(-int(decimals))
        return int(whole) if whole == int(whole) and not decimals else float(whole)

    def _value(self, place: Place) -> float | str:
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
