"""What happens to the card: full, failing, slow, and damaged while nobody looks."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from typing import TYPE_CHECKING

from bench.chaos.calls import is_traceable, spoilt
from bench.chaos.faults import fault, is_apart
from bench.process import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.chaos.world import World

PAGE = 4096
KNOWN_WITHIN_S = 5.0


@fault("disk filled by another file", "disk", is_apart)
def _full(world: World) -> Iterator[list[str]]:
    other = world.disk / "other"
    _fill(other)
    yield []
    other.unlink()


def _fill(other: Path) -> None:
    with other.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(PAGE))


@fault("disk gives an error at each fdatasync", "disk", is_traceable)
def _sync_fails(world: World) -> Iterator[list[str]]:
    with spoilt(world, "fdatasync", "fdatasync:error=EIO"):
        yield []


@fault("disk gives one error at a write", "disk", is_traceable)
def _write_fails(world: World) -> Iterator[list[str]]:
    error = world.chance.choice(("EIO", "ENOSPC"))
    with spoilt(world, "pwrite64", f"pwrite64:error={error}:when={world.chance.randint(1, 20)}"):
        yield []


@fault("disk is full as far as writes go", "disk", is_traceable)
def _no_space(world: World) -> Iterator[list[str]]:
    with spoilt(world, "pwrite64", "pwrite64:error=ENOSPC"):
        yield []


@fault("disk takes a second for each fdatasync", "disk", is_traceable)
def _slow(world: World) -> Iterator[list[str]]:
    with spoilt(world, "fdatasync", "fdatasync:delay_enter=1000000"):
        yield []


def _damage(world: World, spoil: Callable[[World], None]) -> Iterator[list[str]]:
    """Damage the file while the daemon is dead and has something that is not delivered.

    Before that everything committed is noted and folded into one file.
    """
    world.gate.is_shut = True
    world.gate.reset()
    time.sleep(world.chance.uniform(0.5, 2.5))
    world.station.hold()
    turns = world.observer.turns
    wait_until(lambda: world.observer.turns > turns + 1, KNOWN_WITHIN_S)
    world.observer.is_paused = True
    wait_until(lambda: world.observer.is_at_rest, KNOWN_WITHIN_S)
    keep_copy(world)
    fold(world)
    try:
        spoil(world)
    except OSError as error:  # the other fault has filled the disk
        print(f"         not damaged: {error}")
    world.observer.is_paused = False
    world.station.release()
    world.gate.calm()
    yield []


def keep_copy(world: World) -> None:
    """Keep the file as it was before, to find out what went wrong."""
    for file in (world.folder / "before").glob("*"):
        file.unlink()
    (world.folder / "before").mkdir(exist_ok=True)
    for file in world.disk.glob("spool.db*"):
        shutil.copy(file, world.folder / "before")


def fold(world: World) -> None:
    """Bring the write-ahead log back into the file, so that damage of the file hits records."""
    try:
        with sqlite3.connect(world.station.spool) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
    except sqlite3.Error as error:
        print(f"         not folded: {error}")


def _flip(world: World) -> None:
    """Flip bits in some places that are not the first page."""
    size = world.station.spool.stat().st_size
    with world.station.spool.open("r+b") as file:
        for _ in range(world.chance.randint(1, 6)):
            place = world.chance.randrange(PAGE, max(size, PAGE + 1))
            file.seek(place)
            byte = file.read(1) or b"\0"
            file.seek(place)
            file.write(bytes([byte[0] ^ 1 << world.chance.randrange(8)]))


def _zero(world: World) -> None:
    """Zero a page, as worn cards do."""
    pages = world.station.spool.stat().st_size // PAGE
    with world.station.spool.open("r+b") as file:
        file.seek(world.chance.randrange(1, max(pages, 2)) * PAGE)
        file.write(bytes(PAGE))


def _head(world: World) -> None:
    """Overwrite the head of the file."""
    with world.station.spool.open("r+b") as file:
        file.write(b"\xff" * 64)


def _truncate(world: World) -> None:
    """Lose the end of the file."""
    size = world.station.spool.stat().st_size
    os.truncate(world.station.spool, max(PAGE, size - world.chance.randint(1, 4 * PAGE)))


@fault("bits of the spool flipped while the daemon is dead", "gate", is_apart)
def _flipped(world: World) -> Iterator[list[str]]:
    yield from _damage(world, _flip)


@fault("a page of the spool zeroed while the daemon is dead", "gate", is_apart)
def _zeroed(world: World) -> Iterator[list[str]]:
    yield from _damage(world, _zero)


@fault("head of the spool overwritten while the daemon is dead", "gate", is_apart)
def _overwritten(world: World) -> Iterator[list[str]]:
    yield from _damage(world, _head)


@fault("spool truncated while the daemon is dead", "gate", is_apart)
def _truncated(world: World) -> Iterator[list[str]]:
    yield from _damage(world, _truncate)


@fault("head of the spool overwritten and the disk filled while the daemon is dead", "gate", is_apart)
def _overwritten_and_filled(world: World) -> Iterator[list[str]]:
    """Others have taken the room of the ballast before."""
    others = world.disk / "others"

    def spoil(world: World) -> None:
        _head(world)
        world.station.spool.with_name("spool.db.ballast").unlink(missing_ok=True)
        _fill(others)

    yield from _damage(world, spoil)
    others.unlink(missing_ok=True)
