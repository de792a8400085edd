"""What a fault is: each a context that begins and ends it. `part` tells apart what may go wrong at the same time."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.chaos.world import World

    Begin = Callable[[World], contextlib.AbstractContextManager[list[str]]]


class Fault(NamedTuple):
    """A fault by its name and module; its context gives the instruments concerned, none if it is not about them."""

    name: str
    part: str
    begin: Begin
    needs: Callable[[World], bool]
    module: str
    weight: float = 1.0


ALL: list[Fault] = []


def fault(
    name: str, part: str, needs: Callable[[World], bool] = lambda _: True, *, weight: float = 1.0
) -> Callable[[Callable[[World], Iterator[list[str]]]], Begin]:
    """Register a fault; `needs` says whether this machine can do it, `weight` how often it comes.

    What silences the station for a minute has little weight, or other faults would meet nothing but silence.
    """

    def register(begin: Callable[[World], Iterator[list[str]]]) -> Begin:
        context = contextlib.contextmanager(begin)
        ALL.append(Fault(name, part, context, needs, begin.__module__, weight))
        return context

    return register


def is_apart(world: World) -> bool:
    """Whether there are namespaces and a small disk."""
    return world.network.is_apart
