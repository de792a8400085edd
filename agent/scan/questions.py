"""Instruments with a protocol of their own: the questions by which drivers know theirs (`drivers.identity`)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from drivers.clock import monotonic_s
from drivers.registry import CODE_DRIVERS

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Iterator

    from drivers.identity import Question
    from drivers.port import Port

QUIET_S = 0.15
"""Who has begun to answer goes on until it has been silent for so long."""
MOST_S = 3.0
"""A list of test values takes so long at 9600 baud."""
_DRAIN_S = 0.5
_LIMIT = 8192
FEW = 16


class Asked(NamedTuple):
    """A question that can be put to one address."""

    driver: str
    question: Question
    address: int


class Known(NamedTuple):
    """An instrument that gave the expected answer: its driver, address, options, and the answer."""

    driver: str
    address: int
    options: dict[str, Any]
    answer: bytes


def questions(addresses: Iterable[int] | None) -> list[Asked]:
    """List what is to be asked: at the addresses that are wanted if they are few, else at those of new instruments."""
    wanted = few(addresses)
    return [
        Asked(name, question, address)
        for name in CODE_DRIVERS
        for question in getattr(import_module(f"drivers.{name}"), "IDENTITY", ())
        for address in _addresses(question, wanted)
    ]


def few(addresses: Iterable[int] | None) -> list[int] | None:
    """Give the addresses if they are few: a whole range is meant for Modbus, and would take too long for the others."""
    wanted = None if addresses is None else list(addresses)
    return wanted if wanted and len(wanted) <= FEW else None


def put(port: Port, asked: Asked, timeout_s: float) -> Known | None:
    """Put a question, and what follows from it. An answer counts if it comes twice: the first may be a late one."""
    question, address = asked.question, asked.address
    if not _answer(port, question, address, timeout_s):
        return None
    found = _answer(port, question, address, timeout_s)
    if not found:
        return None
    options = dict(question.options(found))
    for more in question.then:
        if said := _answer(port, more, address, timeout_s):
            options |= more.options(said)
    return Known(asked.driver, int(found.groupdict().get("address") or address), options, found[0])


def _addresses(question: Question, wanted: list[int] | None) -> Iterable[int]:
    if wanted is None or len(question.allowed) == 1:
        return question.delivered
    return [address for address in wanted if address in question.allowed]


def _answer(port: Port, question: Question, address: int, timeout_s: float) -> re.Match[bytes] | None:
    _drain(port)
    port.write(question.request(address))
    data = b""
    for piece in _pieces(port, timeout_s):
        data += piece
        if len(data) > _LIMIT:
            break
    return question.answer.search(data)


def _pieces(port: Port, timeout_s: float) -> Iterator[bytes]:
    """Give what comes, until it has been quiet; the first byte may take the whole time."""
    end_s = monotonic_s() + timeout_s
    most_s = end_s + MOST_S
    while (left := min(end_s, most_s) - monotonic_s()) > 0:
        if piece := port.read(left):
            yield piece
            end_s = monotonic_s() + QUIET_S


def _drain(port: Port) -> None:
    """Let what still comes go by, for a moment."""
    end_s = monotonic_s() + _DRAIN_S
    while monotonic_s() < end_s and port.read(0):
        pass
