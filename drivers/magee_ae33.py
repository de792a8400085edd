r"""Magee Scientific AE33 aethalometer (also Teledyne API 633), black carbon: its newest line of data.

    > "$AE33:D1\r"
    < "2012/09/21 00:34:00 60 890416 524323 709193 … 833686 3325 1674 4999 101325 21.11 -1 30 40            manual
       0 0 10 10 00000 0 1150 1290 1242 … 1180 1225 1174 0.00133 … -0.00025 12 1 2 0 20.0 45 1090 21.1\r"

Its fields are parted by blanks; in the example the first line ends with field 31:

    0, 1      date and time of the result
    2         time base, s: a result comes once in it
    3 to 23   light: reference, spot 1, spot 2 of wavelength 1, then of 2 to 7
    24 to 26  flow of spot 1, of spot 2, and of both, mL/min
    27, 28    pressure (Pa) and temperature (°C) that the flows refer to
    29        biomass burning, %
    30, 31    temperature of controller and supply, °C
    32        status, a sum of codes, see below
    33 to 36  controller, detector (10 is good), LEDs (10 is good), valves
    37        temperature of the LEDs, °C
    38 to 58  black carbon, ng/m³: by spot 1, by spot 2, compensated, of wavelength 1, then of 2 to 7
    59 to 65  compensation of wavelength 1 to 7
    66        advances of the tape since the start
    67 to 69  which device is at COM1 to COM3, 0 if none; some lines end before these
    70 …      what those devices say, if there are any

So the number of fields varies. A line counts once, by its date and time.

Status, a sum: 1 the tape moves or the unit warms up, 2 the first measurement on a spot (both `calibration`: there is no
result), 3 stopped; 4 flow out of range (`fault`), 8 only says that it once was; 16 LEDs are being calibrated
(`calibration`), 32 and 48 their calibration failed (`fault`); 64 chamber (`fault`); 128 and 256 the tape is running
out, 384 it does not move (`fault`); 1024 stability test, 2048 clean air test, 4096 optical test (`calibration`), 3072
the tape is being changed (`maintenance`), as is any other sum of these three. Bits 9 (ball valve) and 13 to 15 are not
explained on the pages at hand: `fault`. Fields 33 to 36 are not read.

The channels are the compensated values of the seven wavelengths; 880 nm is what is called black carbon, 370 nm what is
called UVPM. `channels` of the instrument's file leaves out what is not wanted.

Line: serial, 115200 baud, 8N1. Set the port of the AE33 to Datalogger_AE33_protocol.

Evidence: manual
Source: Magee Scientific AE33 user manual, ver. 1.53 (section 5.6) and 1.55 (pages 56 and 106, manualslib.com), Teledyne
API 633 user manual 07645A (sections 4.2 and 4.5, manualsdump.com): command, fields, example line, status; 4096 by the
guide of AeroViz. The end of the answer (CR), the short line and the wavelengths by the open driver mageeae33 of
HagenTelg/forge. Not confirmed on hardware. Not read: TCP port 8002 (FETCH), and the Bayern-Hessen and Qair protocols of
the same unit.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

from drivers.driver import Exchange
from drivers.errors import BadAnswer
from drivers.fields import Table
from drivers.identity import Question
from drivers.line import until
from drivers.sample import Channel, Flag, Sample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from drivers.line import Line

OPTIONS = Table()
_REQUEST = b"$AE33:D1\r"
_LONGEST = 1024
_NUMBER = r"-?\d{1,9}(?:\.\d{1,9})?"
_WHOLE = r"-?\d{1,9}"
_SMALL = r"(?:0|-?\d\.\d{1,9}(?:E-\d\d)?|-?\dE-\d\d)"
"""Black carbon is whole, compensations are not: so a line that lost a field is known."""
_LINE = re.compile(
    r"(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) \d{1,4}"
    rf"(?: {_NUMBER}){{23}} (?P<flow>{_NUMBER})(?: {_NUMBER}){{5}}"
    rf" (?P<status>\d{{1,5}})(?: \d{{1,5}}){{4}} {_NUMBER}"
    rf" (?P<carbon>(?:{_WHOLE} ){{20}}{_WHOLE})(?: {_SMALL}){{7}}"
    rf" (?P<advances>\d{{1,6}})(?:(?: \d{{1,3}}){{3}}(?: {_NUMBER})*)?"
)
_WAVELENGTHS = (370, 470, 520, 590, 660, 880, 950)
_CODES: tuple[tuple[int, Mapping[int, Flag]], ...] = (
    (0x0003, {1: Flag.CALIBRATION, 2: Flag.CALIBRATION, 3: Flag.STOPPED}),
    (0x0004, {4: Flag.FAULT}),
    (0x0030, {16: Flag.CALIBRATION, 32: Flag.FAULT, 48: Flag.FAULT}),
    (0x0180, {384: Flag.FAULT}),
    (0x1C00, {1024: Flag.CALIBRATION, 2048: Flag.CALIBRATION, 4096: Flag.CALIBRATION}),
)
_TESTS, _ANY_IS_FAULT = 0x1C00, 0xE240

IDENTITY = (
    Question(
        lambda _: _REQUEST,
        re.compile(rb"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d +\d{1,4}(?: +-?\d{1,9}(?:\.\d{1,9})?){29}[ \r\n]"),
        lambda _: {},
    ),
)
"""What it is read with: its newest line of data."""


def driver(options: Mapping[str, Any]) -> MageeAe33:  # noqa: ARG001 - there are none
    """Build the driver from checked options."""
    return MageeAe33()


class MageeAe33:
    """One aethalometer; remembers the time of its newest result."""

    has_checksum = False
    channels = (
        *(Channel(f"bc_{nm}nm", f"BC_{nm}nm", "ng/m³") for nm in _WAVELENGTHS),
        Channel("sample_flow", "sample_flow", "mL/min"),
        Channel("tape_advances", "tape_advances", ""),
    )

    def __init__(self) -> None:
        self.newest_result = ""

    def read(self, line: Line, address: int) -> Sequence[Sample]:  # noqa: ARG002 - the only one on its line
        """Ask for the newest line; nothing if it was given before."""
        answer = line.ask(_REQUEST, until(b"\r", limit=_LONGEST)).decode("latin-1")
        found = _LINE.fullmatch(" ".join(answer.split()))
        if not found:
            raise BadAnswer("not a line of data")
        _check_time(found[1])
        last, self.newest_result = self.newest_result, found[1]
        return self._samples(found) if found[1] != last else []

    def _samples(self, found: re.Match[str]) -> list[Sample]:
        flags = _flags(int(found["status"]))
        compensated = found["carbon"].split()[2::3]
        texts = (*compensated, found["flow"])
        values = (*map(float, texts), int(found["advances"]))
        return [Sample(channel.name, value, flags) for channel, value in zip(self.channels, values, strict=True)]

    def plan(self, framer: str) -> Sequence[Exchange]:  # noqa: ARG002 - the same on every line
        """One request; the longest line with devices at all three ports."""
        return [Exchange("$AE33:D1", len(_REQUEST), 600)]


def _check_time(text: str) -> None:
    try:
        datetime.strptime(text, "%Y/%m/%d %H:%M:%S")  # noqa: DTZ007 - only whether there is such a time
    except ValueError:
        raise BadAnswer(f"no such time: {text}") from None


def _flags(status: int) -> tuple[Flag, ...]:
    held = [codes.get(status & mask) for mask, codes in _CODES]
    tests = status & _TESTS
    held += [Flag.MAINTENANCE if tests and held[-1] is None else None]
    held += [Flag.FAULT if status & _ANY_IS_FAULT else None]
    return tuple(dict.fromkeys(flag for flag in held if flag))
