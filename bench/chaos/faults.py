"""The faults: each a context that begins and ends it. `part` tells apart what may go wrong at the same time."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from bench.chaos.broker import FORGETFUL
from bench.chaos.gate import PUBACK, PUBLISH, kind
from bench.chaos.instruments import GOOD, lies_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.chaos.gate import Connection
    from bench.chaos.world import World

    Begin = Callable[[World], contextlib.AbstractContextManager[list[str]]]


class Fault(NamedTuple):
    """A fault by its name; its context gives the names of the instruments concerned, none if it is not about them."""

    name: str
    part: str
    begin: Begin
    needs: Callable[[World], bool]


ALL: list[Fault] = []


def fault(
    name: str, part: str, needs: Callable[[World], bool] = lambda _: True
) -> Callable[[Callable[[World], Iterator[list[str]]]], Begin]:
    """Register a fault in the order of the file; `needs` says whether this machine can do it."""

    def register(begin: Callable[[World], Iterator[list[str]]]) -> Begin:
        context = contextlib.contextmanager(begin)
        ALL.append(Fault(name, part, context, needs))
        return context

    return register


def is_apart(world: World) -> bool:
    """Whether there are namespaces and a small disk."""
    return world.network.is_apart


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


@fault("daemon killed at random", "daemon")
def _killed(world: World) -> Iterator[list[str]]:
    time.sleep(world.chance.uniform(0, 1.5))
    world.station.kill("killed at random")
    yield []


def _kill_at(world: World, which: int, *, is_passed: bool) -> Iterator[list[str]]:
    """Kill the daemon at one packet of its next few, before or after that packet passes."""
    left = [world.chance.randint(1, 4)]
    where = f"killed {'after' if is_passed else 'before'} {'PUBLISH' if which == PUBLISH else 'PUBACK'}"

    def rule(connection: Connection, to_broker: bool, packet: bytes) -> bool:  # noqa: FBT001  the form of a rule
        del connection
        if kind(packet) != which or to_broker != (which == PUBLISH):
            return True
        left[0] -= 1
        if left[0] == 0:
            if is_passed:
                threading.Timer(0.0, world.station.kill, [where]).start()
                return True
            world.station.kill(where)
        return left[0] > 0 or is_passed

    world.gate.rule = rule
    yield []
    world.gate.calm()


@fault("daemon killed before a PUBLISH is out", "gate")
def _before_publish(world: World) -> Iterator[list[str]]:
    yield from _kill_at(world, PUBLISH, is_passed=False)


@fault("daemon killed after a PUBLISH", "gate")
def _after_publish(world: World) -> Iterator[list[str]]:
    yield from _kill_at(world, PUBLISH, is_passed=True)


@fault("daemon killed before a PUBACK reaches it", "gate")
def _before_puback(world: World) -> Iterator[list[str]]:
    yield from _kill_at(world, PUBACK, is_passed=False)


@fault("daemon killed after a PUBACK", "gate")
def _after_puback(world: World) -> Iterator[list[str]]:
    yield from _kill_at(world, PUBACK, is_passed=True)


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
