"""What happens to the connection between station and broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.chaos.faults import fault, is_apart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.chaos.world import World


@fault("network cut", "network", is_apart)
def _cut(world: World) -> Iterator[list[str]]:
    world.network.is_cut = True
    yield []
    world.network.heal()


@fault("network cut one way: acknowledgements are lost", "network", is_apart)
def _one_way(world: World) -> Iterator[list[str]]:
    world.network.is_one_way = True
    yield []
    world.network.heal()


@fault("network loses 20 % and delays by 0.1 to 0.5 s, out of order", "network", is_apart)
def _bad_network(world: World) -> Iterator[list[str]]:
    world.network.loss, world.network.delay_s, world.network.jitter_s = 0.2, 0.1, 0.4
    yield []
    world.network.heal()


@fault("connections half open: nothing passes, nobody is told", "gate")
def _half_open(world: World) -> Iterator[list[str]]:
    world.gate.freeze()
    yield []
    world.gate.reset()
    world.gate.calm()


@fault("connections reset, new ones refused", "gate")
def _refused(world: World) -> Iterator[list[str]]:
    world.gate.is_shut = True
    world.gate.reset()
    yield []
    world.gate.calm()
