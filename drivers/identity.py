"""How a code driver lets its instruments be found on a line where nobody knows what is connected.

A driver's module may have two things for `stationd scan`:

    IDENTITY              questions that only read, and what the answer of its instruments looks like
    options_for(heard)    the options with which its driver reads what was heard unasked on a line, None if none do

Both are about recognizing; reading is left to the driver. A question must change nothing at an instrument that
understands it, and mean nothing to one that does not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Iterator


class Question(NamedTuple):
    """One question.

    `answer` is sought in what comes, and matches only what no other protocol sends; a group `address` in it is the
    instrument's number. `delivered` are the addresses asked unless others are wanted, `allowed` all that the request
    can carry. `options` gives what the answer says of the driver's options. `then` is asked, at the same address, once
    this was answered, and may say more.
    """

    request: Callable[[int], bytes]
    answer: re.Pattern[bytes]
    options: Callable[[re.Match[bytes]], dict[str, Any]]
    delivered: tuple[int, ...] = (1,)
    allowed: range = range(1, 2)
    then: tuple[Question, ...] = ()


QUIET_S = 0.15
"""Who has begun to answer goes on until it has been silent for so long."""
MOST_S = 3.0
"""A list of test values takes so long at 9600 baud."""


def of(driver: str) -> tuple[Question, ...]:
    """Give the questions of a code driver."""
    found: tuple[Question, ...] = getattr(import_module(f"drivers.{driver}"), "IDENTITY", ())
    return found


def numbered(questions: Iterable[Question]) -> Iterator[Question]:
    """Give them and those that follow from them, in an order that stays."""
    for question in questions:
        yield question
        yield from numbered(question.then)


def unknown(name: str, unit: str = "") -> dict[str, str]:
    """Describe a channel of which nothing but its place is known."""
    return {"name": name, "parameter": "unknown", "unit": unit}
