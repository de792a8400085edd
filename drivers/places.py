"""What a profile says, checked: where values, statuses and what belongs to them stand, and what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from drivers.sample import Channel, Flag
from drivers.start import Start

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drivers.modbus import Block
    from drivers.number import Number

BIT_TABLES = frozenset({"coil", "discrete"})


class Place(NamedTuple):
    """A number and the registers it fills; coils and inputs make one whole number, the first its bit 0."""

    block: Block
    number: Number


class Identity(NamedTuple):
    """What must stand beside a value, that it is the one that is meant."""

    place: Place
    value: int | str


class Measured(NamedTuple):
    """One channel: where its value stands, and the measuring range outside of which it is `over_range`.

    `plus` is added to the value; `decimals` says by how many digits the decimal point moves to the left.
    """

    channel: Channel
    place: Place
    range: tuple[float, float] | None = None
    plus: Place | None = None
    decimals: Place | None = None
    identities: tuple[Identity, ...] = ()

    @property
    def places(self) -> list[Place]:
        """All that is read for it."""
        beside = [self.plus, self.decimals, *(identity.place for identity in self.identities)]
        return [self.place, *(place for place in beside if place)]


class Status(NamedTuple):
    """Registers or inputs that say how an instrument or some of its channels (None: all) are.

    A flag holds while its bit is set, while its bit is clear, or while the whole number has its value. Where some
    values are `good` or `absent`, one that is neither good nor in `values` is a fault. While it is `absent`, what
    stands in the place of the channel's value is none.
    """

    place: Place
    bits: Mapping[int, Flag]
    clear_bits: Mapping[int, Flag]
    values: Mapping[int, Flag]
    channels: frozenset[str] | None = None
    good: frozenset[int] = frozenset()
    absent: frozenset[int] = frozenset()

    def flags(self, raw: int | None) -> list[Flag]:
        """Give the flags that hold; a status that is no number (NaN) is a fault."""
        if raw is None:
            return [Flag.FAULT]
        held = [flag for bit, flag in self.bits.items() if raw >> bit & 1]
        held += [flag for bit, flag in self.clear_bits.items() if not raw >> bit & 1]
        if raw in self.values:
            return [*held, self.values[raw]]
        is_fault = raw not in self.good if self.good else raw in self.absent
        return [*held, Flag.FAULT] if is_fault else held


class Profile(NamedTuple):
    """All that a profile says of an instrument; `result_time` names the channel that changes with each result."""

    measured: tuple[Measured, ...]
    statuses: tuple[Status, ...] = ()
    start: Start = Start()
    result_time: str | None = None

    @property
    def places(self) -> list[Place]:
        """Where anything is read."""
        return [place for item in self.measured for place in item.places] + [item.place for item in self.statuses]
