"""How long a line is busy: bytes at its baud rate, silences, and an allowance for the instruments to answer.

Time-outs and repetitions come on top; a line that is full without them can never catch up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.settings import Config, InstrumentSettings, LineSettings
    from drivers.driver import Exchange


class Asking(NamedTuple):
    """One exchange of an instrument's cycle, and how long the line is busy with it."""

    exchange: Exchange
    seconds: float


class Cycle(NamedTuple):
    """All that one instrument is asked in one poll."""

    instrument: InstrumentSettings
    askings: tuple[Asking, ...]

    @property
    def seconds(self) -> float:
        """How long the line is busy with one poll; what is sent only at the start does not count."""
        return sum(asking.seconds for asking in self.askings if not asking.exchange.is_once)

    @property
    def share(self) -> float:
        """The part of the line's time that it takes, 1 being all."""
        return self.seconds / self.instrument.interval_s


class LinePlan(NamedTuple):
    """A line and the cycles of its instruments."""

    line: LineSettings
    cycles: tuple[Cycle, ...]

    @property
    def seconds(self) -> float:
        """How long it takes if all are due at once."""
        return sum(cycle.seconds for cycle in self.cycles)

    @property
    def share(self) -> float:
        """The part of the line's time that is used, 1 being all."""
        return sum(cycle.share for cycle in self.cycles)

    @property
    def shortest_s(self) -> float:
        """The shortest interval on the line."""
        return min((cycle.instrument.interval_s for cycle in self.cycles), default=0.0)

    def overload(self) -> str:
        """Say what cannot fit, or nothing."""
        if self.share <= 1:
            return ""
        return f"{self.line.name} needs {self.share * self.shortest_s:.3g} s of every {self.shortest_s:g} s"

    def lateness(self) -> str:
        """Say who will be late now and then though the line is not full, or nothing."""
        if self.share > 1 or self.seconds <= self.shortest_s:
            return ""
        hurt = [one.instrument.name for one in self.cycles if one.instrument.interval_s < self.seconds]
        return (
            f"{self.line.name} takes {self.seconds:.3g} s when all are due at once: {', '.join(hurt)} will miss slots"
        )


def line_plans(config: Config) -> tuple[LinePlan, ...]:
    """Plan every line that has instruments."""
    plans = [
        plan(line, (one for one in config.instruments.values() if one.line == name))
        for name, line in config.lines.items()
    ]
    return tuple(one for one in plans if one.cycles)


def plan(line: LineSettings, instruments: Iterable[InstrumentSettings]) -> LinePlan:
    """Plan one line."""
    return LinePlan(line, tuple(_cycle(line, instrument) for instrument in instruments))


def exchange_s(exchange: Exchange, line: LineSettings, extra_silence_s: float = 0.0) -> float:
    """Give how long the line is busy with an exchange; who talks unasked needs no time to answer."""
    wire_s = (exchange.sent + exchange.received) * line.char_time_s
    return wire_s + line.silence_s + extra_silence_s + (line.answer_delay_s if exchange.sent else 0.0)


def _cycle(line: LineSettings, instrument: InstrumentSettings) -> Cycle:
    exchanges = instrument.driver.plan(line.framer)
    return Cycle(instrument, tuple(Asking(one, exchange_s(one, line, instrument.silence_s)) for one in exchanges))
