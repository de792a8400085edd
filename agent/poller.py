"""The thread of one line: asks its instruments on time, one after the other, and makes a record of every slot."""

from __future__ import annotations

from queue import Empty, SimpleQueue
from types import MappingProxyType
from typing import TYPE_CHECKING

from agent.conversation import converse
from agent.errands import Errands
from agent.polled import Polled
from agent.record import measured, unanswered
from drivers.clock import between, monotonic_s, now, wall_s
from drivers.errors import DriverError, LineDown, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent.errands import Errand
    from agent.record import Record
    from agent.say import Say
    from agent.settings import InstrumentSettings, LineSettings
    from agent.timekeeper import Timekeeper
    from drivers.clock import Moment
    from drivers.line import Line
    from drivers.sample import Sample

TURN_S = 5.0
TIMEOUTS_A_POLL = 10
"""One poll may take so many: waiting for late answers, several requests, answers that come in drips."""
FAILURES_BEFORE_A_WORD = 2
"""One damaged answer is counted and stored, not logged."""
_NO_NOTES: Mapping[str, str] = MappingProxyType({})


class Poller:
    """Polls the instruments of one line and hands each record to `append`, with what must be noted in its commit.

    `stagger_s` shifts this line's slots by a moment, so that lines do not all want the interpreter at once.
    """

    def __init__(
        self,
        line: Line,
        settings: LineSettings,
        instruments: Sequence[InstrumentSettings],
        append: Callable[[Record, Mapping[str, str]], None],
        timekeeper: Timekeeper,
        say: Say,
        stagger_s: float = 0.0,
    ) -> None:
        self.turned_s = monotonic_s()
        self.line, self._stagger_s = line, stagger_s
        self._append, self._timekeeper, self._say = append, timekeeper, say
        self._inbox: SimpleQueue[Errand | None] = SimpleQueue()
        self._errands = Errands()
        self._is_given_up = False
        offset_s = wall_s() - monotonic_s()
        self.instruments = [Polled(one, settings, monotonic_s(), offset_s) for one in instruments]
        self.longest_poll_s = max(map(_longest_poll_s, self.instruments))

    def stop(self) -> None:
        """End `run` after the poll in progress."""
        self._inbox.put(None)

    def give_up(self) -> None:
        """Account for the slots of a poll that the end of the daemon does not wait for; for another thread."""
        self._settle()
        self._is_given_up = True

    def do(self, errand: Errand) -> None:
        """Have an errand done between two slots, from any thread."""
        self._inbox.put(errand)

    def run(self) -> None:
        """Poll until stopped."""
        while True:
            self.turned_s = monotonic_s()
            due = min(self.instruments, key=_due_s)
            wait_s = due.schedule.due_s + self._stagger_s - self.turned_s
            if self._errands.waiting and self._errands.turn(self.line, wait_s):
                continue
            try:
                errand = self._inbox.get(timeout=min(max(wait_s, 0.0), TURN_S))
                if errand is None:
                    break
                self._errands.take(errand)
            except Empty:
                if wait_s <= TURN_S:
                    self._slot(due)
        self._end()

    def _slot(self, polled: Polled) -> None:
        """Ask an instrument in its slot, unless it must wait, and go on to its next slot."""
        if reason := self._obstacle(polled):
            self._put(polled.missed(now(), reason, dated=self._dated))
        else:
            self._put(polled.asked_again(now(), dated=self._dated))
            self._poll(polled)
        skipped = polled.schedule.advance(monotonic_s(), wall_s() - monotonic_s())
        if skipped:
            self._put(polled.late(skipped, now(), dated=self._dated))

    def _obstacle(self, polled: Polled) -> str:
        if self.line.reopens_in_s > 0:
            return LineDown.reason
        return "back_off" if polled.backoff.ask_again_s > monotonic_s() else ""

    def _poll(self, polled: Polled) -> None:
        self.line.timing = polled.timing
        begin, begin_s = now(), monotonic_s()
        try:
            samples = self._read(polled) if polled.overhearing else polled.driver.read(self.line, polled.address)
        except DriverError as error:
            cost_s = 0.0 if self._listens_alone(polled) else monotonic_s() - begin_s
            self._failed(polled, error, begin, cost_s)
        except LineDown as error:
            self._say.broke(f"line {self.line.name}", f"line {self.line.name}: {error}")
            self._failed(polled, error, begin, 0.0)
        else:
            end = now()
            moment = end if getattr(polled.driver, "unsolicited", False) else between(begin, end)
            record = measured(polled.name, self._chosen(polled, samples), moment)
            self._put(record, polled.to_remember() if samples else {})
            self._answered(polled, monotonic_s() - begin_s)

    def _read(self, polled: Polled) -> Sequence[Sample]:
        """Read while others listen."""
        outcome = converse(self.line, polled.timing, lambda line: polled.driver.read(line, polled.address))
        for errand in polled.overhearing:
            errand.tell(outcome)
        polled.overhearing.clear()
        if outcome.raised:
            raise outcome.raised
        samples: Sequence[Sample] = outcome.answer
        return samples

    def _listens_alone(self, polled: Polled) -> bool:
        """Say whether waiting in vain costs nobody anything: it talks unasked, on a line of its own."""
        return len(self.instruments) == 1 and getattr(polled.driver, "unsolicited", False)

    def _answered(self, polled: Polled, cost_s: float) -> None:
        polled.backoff.answered(cost_s)
        polled.cost_s = cost_s
        self._say.mended(f"line {self.line.name}", f"line {self.line.name}: {self.line.where} is back")
        if polled.failing_since:
            since_s = (now().elapsed_ms - polled.failing_since.elapsed_ms) / 1000
            text = f"{polled.name}: answers again after {since_s:.0f} s and {polled.failures} failed polls"
            self._say.mended(f"instrument {polled.name}", text)
            polled.failing_since, polled.failures, polled.last_error = None, 0, ""

    def _failed(self, polled: Polled, error: DriverError | LineDown, begin: Moment, cost_s: float) -> None:
        samples = self._chosen(polled, error.samples) if isinstance(error, DriverError) else ()
        self._put(unanswered(polled.name, polled.channels, samples, error.reason, now()))
        polled.failing_since = polled.failing_since or begin
        polled.failures += 1
        polled.last_error = error.reason
        if isinstance(error, LineDown):
            return
        if isinstance(error, Refused):
            polled.backoff.refused(monotonic_s())
        else:
            polled.backoff.failed(monotonic_s(), cost_s)
        if polled.failures >= FAILURES_BEFORE_A_WORD:
            text = f"{polled.name} (line {self.line.name}, address {polled.address}): {error}"
            self._say.broke(f"instrument {polled.name}", text)

    def _chosen(self, polled: Polled, samples: Sequence[Sample]) -> Sequence[Sample]:
        if not polled.publishes_all:
            samples = [sample for sample in samples if sample.channel in polled.published]
        if flag := polled.work:
            samples = [sample._replace(flags=(*sample.flags, flag)) for sample in samples]
        return samples

    def _end(self) -> None:
        """Close what is open."""
        self._settle()
        self.line.close()

    def _settle(self) -> None:
        """Account for every slot up to now: an outage ends here because nobody will count its slots any more."""
        for polled in self.instruments:
            self._put(polled.asked_again(now(), dated=self._dated))
            self._put(polled.left_over(monotonic_s(), now(), dated=self._dated))

    @property
    def _dated(self) -> bool:
        return self._timekeeper.is_trusted

    def _put(self, record: Record | None, notes: Mapping[str, str] = _NO_NOTES) -> None:
        if record and not self._is_given_up:
            self._append(record, notes)


def _longest_poll_s(polled: Polled) -> float:
    """Bound one poll; `patience_s` is how long a driver waits for what comes in the instrument's own time."""
    return TIMEOUTS_A_POLL * polled.timing.timeout_s + getattr(polled.driver, "patience_s", 0.0)


def _due_s(polled: Polled) -> float:
    return polled.schedule.due_s
