"""What instruments and their lines do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.chaos.faults import fault
from bench.chaos.instruments import GOOD, lies_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.chaos.world import World


def _moody(world: World, mood: str | None) -> Iterator[list[str]]:
    """Give a third of the instruments a mood; None: each a lie of its own."""
    chosen = world.chance.sample(sorted(world.instruments), 4)
    for name in chosen:
        world.instruments[name].mood = mood or lies_for(world.instruments[name], world.chance)
    yield chosen
    for name in chosen:
        world.instruments[name].mood = GOOD


@fault("instruments silent", "instruments")
def _silent(world: World) -> Iterator[list[str]]:
    yield from _moody(world, "silent")


@fault("instruments slow", "instruments")
def _slow(world: World) -> Iterator[list[str]]:
    yield from _moody(world, "slow")


@fault("instruments babble", "instruments")
def _babble(world: World) -> Iterator[list[str]]:
    yield from _moody(world, "babble")


@fault("instruments lie", "instruments")
def _lie(world: World) -> Iterator[list[str]]:
    yield from _moody(world, None)


@fault("lines unplugged, serial ones come back under another number", "lines")
def _unplugged(world: World) -> Iterator[list[str]]:
    chosen = world.chance.sample(world.lines, 4)
    for line in chosen:
        line.unplug()
    yield [one.name for line in chosen for one in line.instruments]
    for line in chosen:
        line.plug()
