"""The daemon killed, at random and at chosen points, and what its clock does."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from bench.chaos.calls import is_traceable, spoilt
from bench.chaos.faults import fault
from bench.chaos.gate import PUBACK, PUBLISH, kind
from bench.process import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.chaos.gate import Connection
    from bench.chaos.world import World


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


def _kill_in(world: World, why: str, call: str, most: int) -> Iterator[list[str]]:
    """Kill the daemon as it enters one of its next system calls of a sort."""
    world.station.expected = why
    pid = world.station.pid
    with spoilt(world, call, f"{call}:signal=SIGKILL:when={world.chance.randint(1, most)}"):
        yield []
    if world.station.pid == pid:
        world.station.kill(why)


@fault("daemon killed while it writes a commit", "daemon", is_traceable)
def _in_write(world: World) -> Iterator[list[str]]:
    yield from _kill_in(world, "killed while writing", "pwrite64", 12)


@fault("daemon killed before a commit is on disk", "daemon", is_traceable)
def _before_commit(world: World) -> Iterator[list[str]]:
    yield from _kill_in(world, "killed before fdatasync", "fdatasync", 3)


@fault("daemon killed right after a commit", "daemon", is_traceable)
def _after_commit(world: World) -> Iterator[list[str]]:
    with spoilt(world, "fdatasync", "fdatasync:delay_exit=1500000") as tracer:
        log = world.folder / "strace.log"
        if tracer is not None:
            wait_until(lambda: b"fdatasync(" in log.read_bytes(), 3)
            time.sleep(0.2)
        world.station.kill("killed after fdatasync")
    yield []


@fault("daemon killed as it trims", "daemon")
def _in_trim(world: World) -> Iterator[list[str]]:
    """Wait for the oldest record to change, as far as that happens soon: deleting goes on in batches for a while."""
    oldest = world.observer.oldest
    if wait_until(lambda: world.observer.oldest != oldest, 6, every_s=0.01):
        world.station.kill("killed while trimming")
    yield []


@fault("clock of the station stepped", "clock", lambda world: world.station.clock.can_step)
def _stepped(world: World) -> Iterator[list[str]]:
    world.station.clock.step(world.chance.choice((-3600.0, 3600.0, -90.0, 5.0)))
    yield []
    world.station.clock.step(0.0)
