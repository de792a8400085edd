"""Two ways to put the questions of other protocols: over a port of one's own, or through the daemon that holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from agent.scan import questions, text_profiles
from drivers.errors import LineDown

if TYPE_CHECKING:
    from agent.kit.reads import ThroughDaemon
    from agent.scan.questions import Asked, Known
    from agent.scan.streams import Heard
    from agent.scan.text_profiles import Poll
    from drivers.port import Port


class Asker(Protocol):
    """A way to ask; None where nobody answers as expected. Raises LineDown where it is better to ask no more."""

    def known(self, asked: Asked) -> Known | None:
        """Put the question of a code driver."""

    def polled(self, poll: Poll) -> Heard | None:
        """Make the poll of a text profile."""


class OverPort:
    """Who hangs up because of a question is called again for the next."""

    def __init__(self, port: Port, timeout_s: float) -> None:
        self._port, self._timeout_s = port, timeout_s

    def known(self, asked: Asked) -> Known | None:
        """Put the question of a code driver."""
        try:
            return questions.put(questions.over(self._port, asked.address, self._timeout_s), asked)
        except LineDown:
            self._call_again()
            return None

    def polled(self, poll: Poll) -> Heard | None:
        """Make the poll of a text profile."""
        try:
            return text_profiles.put(self._port, poll, self._timeout_s)
        except LineDown:
            self._call_again()
            return None

    def _call_again(self) -> None:
        self._port.close()
        self._port.open()


class OverDaemon:
    """Who hangs up is asked no more: the daemon, which measures over that connection, would lose it each time."""

    def __init__(self, daemon: ThroughDaemon, timeout_s: float) -> None:
        self._daemon, self._timeout_s = daemon, timeout_s

    def known(self, asked: Asked) -> Known | None:
        """Put the question of a code driver."""
        return questions.put(questions.through(self._daemon, asked, self._timeout_s), asked)

    def polled(self, poll: Poll) -> Heard | None:
        """Make the poll of a text profile."""
        return text_profiles.put_through(self._daemon, poll, self._timeout_s)
