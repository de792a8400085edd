"""Values that stand in two places, and values beside which something must stand that says what they are."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from drivers.places import Identity, Place, Profile

UNREAD: Any = object()
"""Stands in a row where nothing was read."""
_MOST_DECIMALS = 9


class Beside:
    """The places of a profile in the order of a row: values, statuses, and what belongs to single values."""

    def __init__(self, profile: Profile) -> None:
        self.places = [item.place for item in profile.measured] + [item.place for item in profile.statuses]
        self._parts: list[tuple[int, int, Callable[[Any, Any], Any]]] = []
        self._identities: list[tuple[int, int, Identity, str]] = []
        for index, item in enumerate(profile.measured):
            for place, join in ((item.plus, _sum), (item.decimals, _with_decimals)):
                if place:
                    self._parts.append((index, self._put(place), join))
            for identity in item.identities:
                self._identities.append((index, self._put(identity.place), identity, item.channel.name))

    def _put(self, place: Place) -> int:
        self.places.append(place)
        return len(self.places) - 1

    def put_together(self, row: list[Any]) -> None:
        """Make the values that stand in two places."""
        for index, other, join in self._parts:
            pair = row[index], row[other]
            row[index] = UNREAD if UNREAD in pair else None if None in pair else join(*pair)

    def doubtful(self, row: list[Any]) -> set[int]:
        """Give the values beside which something else stands than their identity, or nothing that could be read."""
        return {
            index
            for index, other, identity, _ in self._identities
            if row[index] is not UNREAD and row[other] != identity.value
        }

    def complaint(self, row: list[Any]) -> str:
        """Say of the first doubtful value what stands beside it."""
        for index, other, identity, name in self._identities:
            found = row[other]
            if row[index] is not UNREAD and found != identity.value:
                block = identity.place.block
                shown = "nothing that could be read" if found is UNREAD else repr(found)
                return f"{name}: {block.table} {block.start} holds {shown}, expected {identity.value!r}"
        return ""


def _sum(value: float, other: float) -> float:
    """Add as decimals: 12 and 0.3 are 12.3."""
    if isinstance(value, int) and isinstance(other, int):
        return value + other
    return float(Decimal(repr(value)) + Decimal(repr(other)))


def _with_decimals(value: int, decimals: int) -> float | None:
    if abs(decimals) > _MOST_DECIMALS:
        return None
    return value / 10**decimals if decimals > 0 else value * int(10**-decimals)
