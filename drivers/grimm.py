r"""Grimm EDM 180, 11-R and 1.10x, talking unasked in mass mode: a line for each thing, its letter first.

    < "P 14 9 23 12 56 1 0 0 100 25 64 4 0 0 0 6 …" CR LF       once a minute, or at the end of each interval
       │ year month day hour minute
       │                │ place, gravimetric factor
       │                    error bits
       │                      supply %, pump or valve %, inputs, interval, …: not looked at
    < "N0,  200  150  100" CR LF                     every 6 s: PM10, PM2.5, PM1 in 0.1 µg/m³
    < "N_,  187  141   96" CR LF                     "_": mean of the interval, right behind its P line
        │ the comma means a factor of 10; lines without it are something else
    < "C0: …"  "c0; …"  "K …"  "V …"                 counts, calibration, volume: passed over

`record = "interval"` waits for a P line and the next mass line behind it, so that its errors are known; that takes up
to a minute, so poll once a minute or less. `fast` takes the next mass line; errors are known, and flagged, only if
a P line came just before it. A line that began before the read does not begin with its letter, and is passed over.

Error bits: 1, 2 and 3 flow, 4 pump current, 32 nozzle, 128 self-test are a fault; 8 and 16 battery, 64 memory card
leave the values alone. `errors` publishes the number (with `interval`).

There is no sum. Line: 9600 8N1, a line of its own. The instrument echoes what it is sent; nothing is sent: set it to
mass mode ("F") and run ("R") on its panel.

Evidence: manual
Source: Grimm 11-R manual, 5.1.5 (P line above and its fields), EDM 180 manual, 8.4 ("N", "_", ","; the 0.1 µg/m³);
forge, acquire_grimm110xopc (order of the three, error bits, 6 s). Not confirmed on hardware. Not found, so not
covered: the error bits of an EDM 180 (those above are taken for it too), and a mass line of a real instrument. An EDM
180 can be set to Gesytec instead (9.3 of its manual, values in ng/m³): that is `bayern_hessen`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from drivers.driver import Exchange
from drivers.errors import BadAnswer
from drivers.fields import Choice, Key, Table, duration
from drivers.sample import Channel, Flag, Sample

if TYPE_CHECKING:
    from drivers.line import Line

_FAULTS = 1 | 2 | 4 | 32 | 128
_MASSES = (
    Channel("pm10", "PM10", "µg/m³"),
    Channel("pm25", "PM2.5", "µg/m³"),
    Channel("pm1", "PM1", "µg/m³"),
)
_ERRORS = Channel("errors", "status_word", "")
OPTIONS = Table(
    Key("record", Choice("interval", "fast"), "interval", doc="the mean with its errors, or the next 6 s"),
    Key("patience", duration(1, 80), None, doc="a record comes at least this often; default: 70 s, fast: 15 s"),
)
_PATIENCE_S = {"interval": 70.0, "fast": 15.0}
_LINE_END = re.compile(rb"[\r\n]+")
_MASS = re.compile(r"N[0-9_],((?: +\d{1,6}){3}) *")
_STATUS = re.compile(r"P:?((?: +\d{1,4}){10})(?: .*)?")
_DATE = ((0, 99), (1, 12), (1, 31), (0, 23), (0, 59))
_ERROR_PLACE = 7
_LONGEST = 200
_LIMIT = 16_384


def driver(options: dict[str, Any]) -> Grimm:
    """Build the driver from checked options."""
    return Grimm(options)


class Grimm:
    """One aerosol spectrometer."""

    has_checksum = False
    unsolicited = True

    def __init__(self, options: dict[str, Any]) -> None:
        self._needs_status = options["record"] == "interval"
        self.patience_s = options["patience"] or _PATIENCE_S[options["record"]]
        self.channels = (*_MASSES, _ERRORS) if self._needs_status else _MASSES

    def read(self, line: Line, address: int) -> list[Sample]:
        """Wait for the next mass line, with the P line that it belongs to."""
        del address  # the instrument talks unasked
        answer = line.listen(self._complete, timeout_s=self.patience_s)
        *before, mass = _lines(answer)
        errors = self._errors(before)
        flags = (Flag.FAULT,) if errors & _FAULTS else ()
        samples = [
            Sample(channel.name, value / 10, flags) for channel, value in zip(_MASSES, _masses(mass), strict=True)
        ]
        return [*samples, Sample(_ERRORS.name, errors)] if self._needs_status else samples

    def plan(self, framer: str) -> list[Exchange]:
        """Nothing is sent; the wait for a line is not the line's time."""
        del framer
        return [Exchange("listen", 0, _LONGEST)]

    def _errors(self, before: list[str]) -> int:
        """Give the error bits of the newest P line, 0 if a fast record has none."""
        said = next((text for text in reversed(before) if text.startswith("P")), None)
        if said is None and not self._needs_status:
            return 0
        found = _STATUS.fullmatch(said or "")
        numbers = [int(word) for word in found[1].split()] if found else []
        if not found or any(not least <= number <= most for number, (least, most) in zip(numbers, _DATE, strict=False)):
            raise BadAnswer(f"not a P line: {(said or '')[:60]!r}")
        if numbers[_ERROR_PLACE] > 0xFF:
            raise BadAnswer(f"{numbers[_ERROR_PLACE]} is no sum of error bits")
        return numbers[_ERROR_PLACE]

    def _complete(self, data: bytes) -> int:
        """Find the end of the mass line."""
        has_status = not self._needs_status
        begin = 0
        for end in _LINE_END.finditer(data):
            text = data[begin : end.start()]
            has_status = has_status or text.startswith(b"P")
            if has_status and text.startswith(b"N") and text[2:3] == b",":
                return end.end()
            begin = end.end()
        if len(data) > _LIMIT:
            raise BadAnswer(f"{len(data)} bytes without a mass line")
        return 0


def _lines(data: bytes) -> list[str]:
    """Give the lines that are whole."""
    return [text.decode("latin-1") for text in _LINE_END.split(data)[:-1]]


def _masses(text: str) -> list[int]:
    found = _MASS.fullmatch(text)
    if not found:
        raise BadAnswer(f"not a mass line: {text[:40]!r}")
    return [int(word) for word in found[1].split()]
