"""What happens to the broker, and what it will not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.chaos.broker import FORGETFUL
from bench.chaos.faults import fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.chaos.world import World


@fault("broker stopped in order", "broker")
def _stopped(world: World) -> Iterator[list[str]]:
    world.broker.stop()
    yield []
    world.broker.start()


@fault("broker killed, comes back with what it had on disk", "broker")
def _broker_killed(world: World) -> Iterator[list[str]]:
    world.broker.kill()
    yield []
    world.broker.start()


@fault("broker killed, comes back without memory", "broker")
def _broker_forgets(world: World) -> Iterator[list[str]]:
    world.broker.kill()
    world.broker.forget()
    yield []
    world.broker.start(FORGETFUL)


@fault("broker frozen", "broker")
def _frozen(world: World) -> Iterator[list[str]]:
    world.broker.freeze()
    yield []
    world.broker.thaw()
