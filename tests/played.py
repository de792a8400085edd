"""Plays transcripts against drivers; the tests of drivers are made of it."""

from __future__ import annotations

import copyreg
import pickle
import struct
from contextlib import suppress
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import pytest

from drivers import registry, transcript
from drivers.errors import DriverError
from drivers.line import Line
from drivers.report import Report
from drivers.transcript import Entry, Poll, Transcript, TranscriptPort

if TYPE_CHECKING:
    from drivers.driver import Driver
    from drivers.sample import Sample

files = transcript.files
_UNUSED: dict[tuple[str, str], bytes] = {}
"""Profiles' drivers that have read nothing yet, by name and options: a file takes a hundred times longer to read."""
_OPTIONS: dict[tuple[str, str], dict[str, Any]] = {}
"""Options of code drivers, checked."""
_BEFORE: WeakKeyDictionary[Poll, bytes] = WeakKeyDictionary()
"""Drivers that have read what comes before a read; a copy costs less than those reads."""
copyreg.pickle(struct.Struct, lambda one: (struct.Struct, (one.format,)))


class Played(NamedTuple):
    """What a read gave: samples, and the name of the error it ended with."""

    samples: list[Sample]
    error: str


def driver_of(case: Transcript) -> Driver:
    """Give a fresh driver of the kind that a transcript is about, with its options."""
    name = Path(case.name).parent.name
    key = name, repr(case.options)
    if name in registry.CODE_DRIVERS:
        return _code_driver(key, case)
    if key not in _UNUSED:
        _UNUSED[key] = pickle.dumps(registry.load(name, case.options))
    driver: Driver = pickle.loads(_UNUSED[key])
    return driver


def driver_before(case: Transcript, poll: Poll) -> Driver:
    """Give a driver of its own that has read what comes before a read: it may have been told, or learned."""
    if poll in _BEFORE:
        known: Driver = pickle.loads(_BEFORE[poll])
        return known
    driver = driver_of(case)
    for earlier in poll.before:
        line, _ = line_over(case, earlier.entries)
        read(driver, line, case.address)
    with suppress(AttributeError, pickle.PicklingError):  # one that holds a function is made anew each time
        _BEFORE[poll] = pickle.dumps(driver)
    return driver


def _code_driver(key: tuple[str, str], case: Transcript) -> Driver:
    module = import_module(f"drivers.{key[0]}")
    if key not in _OPTIONS:
        registry.load(key[0], case.options)  # raises for options that are wrong
        _OPTIONS[key] = module.OPTIONS.read(case.options, ("options",), Report(None))
    driver: Driver = module.driver(deepcopy(_OPTIONS[key]))
    return driver


def line_over(
    case: Transcript, entries: list[Entry], kind: type[TranscriptPort] = TranscriptPort
) -> tuple[Line, TranscriptPort]:
    """Put a line over a played conversation; transaction numbers go on from the recorded ones."""
    port = kind(entries, case.name)
    line = Line("played", port, framer=case.framer, now_s=port.now_s)
    first = next((entry.data for entry in entries if entry.mark == ">"), b"")
    if case.framer == "tcp" and first:
        line.transaction = int.from_bytes(first[:2], "big") - 1
    return line, port


def read(driver: Driver, line: Line, address: int) -> Played:
    """Read once; any error but a DriverError goes through."""
    try:
        return Played(list(driver.read(line, address)), "")
    except DriverError as error:
        return Played(list(error.samples), type(error).__name__)


def assert_same(found: list[Sample], expected: list[Sample]) -> None:
    """Compare samples: values within what the text of a float32 leaves open, flags and order exactly."""
    assert [(s.channel, sorted(s.flags)) for s in found] == [(s.channel, sorted(s.flags)) for s in expected]
    for one, other in zip(found, expected, strict=True):
        if one.value == other.value:
            continue
        exact = not isinstance(other.value, float | int)
        assert one.value == (other.value if exact else pytest.approx(other.value, rel=1e-6, abs=1e-9)), one.channel


def load(path: Path) -> Transcript:
    """Read a transcript of ours."""
    return transcript.load(path)
