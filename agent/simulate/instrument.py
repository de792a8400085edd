"""A simulated instrument: a voice that knows what to answer, and a mood that decides what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from agent.simulate.damage import babble, damaged
from agent.simulate.mood import Mood

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from agent.simulate.damage import Sum
    from agent.simulate.truth import Truth
    from drivers.sample import Flag, Sample

_BABBLE_EVERY_S, _BABBLES = 0.02, 20


class Piece(NamedTuple):
    """Bytes to send after a time in seconds."""

    after_s: float
    data: bytes


class Reply(NamedTuple):
    """An answer, in its arrivals, and what a driver must make of it."""

    data: tuple[bytes, ...]
    samples: Sequence[Sample] = ()


class Voice(Protocol):
    """What an instrument answers.

    `about` says in a few words where that is from. One that talks unasked does so `every_s` seconds. `sum` is how a
    driver notices that an answer of it is damaged.
    """

    about: str
    every_s: float | None
    sum: Sum

    def request_in(self, data: bytes) -> int:
        """Give the length of a request to this instrument that the data begins with.

        0: it begins with none; -1: it may become one when more has come.
        """

    def can(self, mood: Mood, flag: Flag | None) -> bool:
        """Say whether it has an answer for this mood, REFUSE or FLAG; `flag`: with this one."""

    def reply(self, request: bytes, mood: Mood, flag: Flag | None) -> Reply | None:
        """Answer a whole request, an empty one if it talks unasked."""


class Instrument:
    """One instrument of the configuration."""

    def __init__(self, name: str, voice: Voice, truth: Truth, dice: random.Random) -> None:
        self.name, self.voice = name, voice
        self.mood, self.delay_s = Mood.WELL, 0.0
        self.flag: Flag | None = None
        self._truth, self._dice = truth, dice

    def be(self, mood: Mood, *, flag: Flag | None = None, delay_s: float = 0.0) -> None:
        """Behave so from now on."""
        self.mood, self.flag, self.delay_s = mood, flag, delay_s

    def answers(self, request: bytes = b"") -> list[Piece]:
        """Give what is sent upon a request, or unasked, and note what was meant by it."""
        if self.mood is Mood.SILENT:
            return []
        if self.mood is Mood.BABBLE:
            return [Piece(_BABBLE_EVERY_S * turn, babble(self._dice)) for turn in range(_BABBLES)]
        reply = self.voice.reply(request, self.mood, self.flag)
        if reply is None:
            return []
        self._truth.said(self.name, reply.samples, self.mood, self.delay_s)
        if self.mood is Mood.GARBLE:
            return [Piece(0.0, damaged(b"".join(reply.data), self.voice.sum, self._dice))]
        return [Piece(self.delay_s, data) for data in reply.data]
