"""Errors, named by what the poller does next.

DriverError            this instrument, this cycle: flag its channels, go on with the next
├─ NoAnswer            silence or too little: again next cycle, with back-off
├─ BadAnswer           bytes came, but wrong length, address, sum or sense: as NoAnswer, counted apart
└─ Refused             a well-formed no: said once, asked less often, never given up
LineDown               the port or socket is gone: flag every instrument on it, reopen with back-off
ConfigError            carries all problems at once
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from drivers.sample import Sample


class DriverError(Exception):
    """The instrument gave no usable answer this time. `samples` are what it did answer before that."""

    reason = "driver_error"

    def __init__(self, text: str, samples: Sequence[Sample] = ()) -> None:
        super().__init__(text)
        self.samples = tuple(samples)


class NoAnswer(DriverError):
    """Silence, or less than a whole answer, until the deadline."""

    reason = "no_answer"


class BadAnswer(DriverError):
    """Bytes came, but of the wrong length, address, checksum or sense."""

    reason = "bad_answer"


class Refused(DriverError):
    """The instrument understood and said no; `code` is its own number for why."""

    reason = "refused"

    def __init__(self, text: str, code: int = 0, samples: Sequence[Sample] = ()) -> None:
        super().__init__(text, samples)
        self.code = code


class LineDown(Exception):
    """The port or the connection is gone; every instrument on the line is out of reach."""

    reason = "line_down"


class Problem(NamedTuple):
    """One mistake in a file: where it stands, what was found there and what is allowed."""

    file: Path
    line: int
    key: str
    found: str
    allowed: str

    def __str__(self) -> str:
        file = printable(str(self.file))
        place = f"{file}:{self.line}" if self.line else file
        key = f" {self.key}:" if self.key else ""
        found = f" found {self.found};" if self.found else ""
        return f"{place}:{key}{found} {self.allowed}"


class ConfigError(Exception):
    """All problems of a file or of a whole configuration at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def printable(text: str) -> str:
    """Write what would break a line or steer a terminal, in text from files or their names, as an escape."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
