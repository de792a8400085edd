"""A conversation that somebody asked for: what went over the line, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from drivers.clock import monotonic_s, now
from drivers.errors import DriverError, LineDown
from drivers.sample import Flag, Sample
from drivers.trace import written

if TYPE_CHECKING:
    from collections.abc import Callable

    from drivers.line import Line, Timing, Trace

    Talk = Callable[[Line], Any]

TRACE_BYTES = 128 * 1024
"""So much of the bytes is kept; an answer that is right is never so long."""
_CUT = "# more bytes came; they are left out"


class Outcome(NamedTuple):
    """What a conversation gave: its bytes as a transcript has them, and the answer.

    `answer` is what was asked for, None if it failed. Then `samples` are what was answered before that, `error` is the
    name of the exception, `reason` its word in records and `text` what it says.
    """

    at_ms: int
    took_s: float
    trace: tuple[str, ...]
    answer: Any = None
    samples: tuple[Sample, ...] = ()
    error: str = ""
    reason: str = ""
    text: str = ""
    raised: DriverError | LineDown | None = None


def converse(line: Line, timing: Timing, talk: Talk, check: Callable[[bytes], None] | None = None) -> Outcome:
    """Talk on a line that nobody else uses meanwhile. `check` sees each request first and may raise a DriverError."""
    kept = _Kept(line.trace, check)
    line.trace, line.timing = kept, timing
    begin, begin_s = now(), monotonic_s()
    answer, failed = None, None
    try:
        answer = talk(line)
    except (DriverError, LineDown) as error:
        failed = error
    finally:
        line.trace = kept.usual
    outcome = Outcome(begin.wall_ms, monotonic_s() - begin_s, tuple(kept.lines), answer)
    if failed is None:
        return outcome
    samples = failed.samples if isinstance(failed, DriverError) else ()
    name = type(failed).__name__
    return outcome._replace(samples=samples, error=name, reason=failed.reason, text=str(failed), raised=failed)


class _Kept:
    """Keeps what goes over a line, and hands it on to whoever traces it anyway."""

    def __init__(self, usual: Trace | None, check: Callable[[bytes], None] | None) -> None:
        self.usual, self._check = usual, check
        self.lines: list[str] = []
        self._left = TRACE_BYTES

    def __call__(self, direction: str, data: bytes) -> None:
        if direction == ">" and self._check:
            self._check(data)
        if self.usual:
            self.usual(direction, data)
        if self._left >= 0:
            self._left -= len(data)
            self.lines.append(f"{direction} {written(data)}" if self._left >= 0 else _CUT)


def listed(samples: tuple[Sample, ...] | list[Sample]) -> list[list[Any]]:
    """Write samples as JSON has them: channel, value, flags."""
    return [[sample.channel, sample.value, list(sample.flags)] for sample in samples]


def sampled(written_down: list[list[Any]]) -> tuple[Sample, ...]:
    """Read what `listed` wrote."""
    return tuple(Sample(channel, value, tuple(map(Flag, flags))) for channel, value, flags in written_down)
