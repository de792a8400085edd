"""Instruments with a protocol of their own: the questions by which drivers know theirs (`drivers.identity`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from drivers import identity
from drivers.clock import monotonic_s
from drivers.identity import MOST_S, QUIET_S
from drivers.registry import CODE_DRIVERS

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Iterator

    from agent.kit.reads import ThroughDaemon
    from drivers.identity import Question
    from drivers.port import Port

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
    """List what is to be asked: at the addresses that are wanted if they are few, else at those of new instruments.

    What ends a line comes first: behind half a line of another protocol it would not be understood.
    """
    wanted = few(addresses)
    found = [
        Asked(name, question, address)
        for name in CODE_DRIVERS
        for question in identity.of(name)
        for address in _addresses(question, wanted)
    ]
    return sorted(found, key=lambda asked: not asked.question.request(asked.address).endswith((b"\r", b"\n")))


def few(addresses: Iterable[int] | None) -> list[int] | None:
    """Give the addresses if they are few: a whole range is meant for Modbus, and would take too long for the others."""
    wanted = None if addresses is None else list(addresses)
    return wanted if wanted and len(wanted) <= FEW else None


def put(hear: Callable[[Question], bytes], asked: Asked) -> Known | None:
    """Put a question, and what follows from it. An answer counts if it comes twice: the first may be a late one."""

    def answer(question: Question) -> re.Match[bytes] | None:
        return question.answer.search(hear(question))

    question = asked.question
    if not answer(question):
        return None
    found = answer(question)
    if not found:
        return None
    options = dict(question.options(found))
    for more in question.then:
        if said := answer(more):
            options |= more.options(said)
    return Known(asked.driver, int(found.groupdict().get("address") or asked.address), options, found[0])


def over(port: Port, address: int, timeout_s: float) -> Callable[[Question], bytes]:
    """Give a way to put questions to an address over a port of one's own."""
    return lambda question: _heard(port, question.request(address), timeout_s)


def through(daemon: ThroughDaemon, asked: Asked, timeout_s: float) -> Callable[[Question], bytes]:
    """Give a way to have the daemon put them."""
    known = list(identity.numbered(identity.of(asked.driver)))
    return lambda question: daemon.heard(asked.driver, known.index(question), asked.address, timeout_s)


def _addresses(question: Question, wanted: list[int] | None) -> Iterable[int]:
    if wanted is None or len(question.allowed) == 1:
        return question.delivered
    return [address for address in wanted if address in question.allowed]


def _heard(port: Port, request: bytes, timeout_s: float) -> bytes:
    _drain(port)
    port.write(request)
    data = b""
    for piece in _pieces(port, timeout_s):
        data += piece
        if len(data) > _LIMIT:
            break
    return data


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
