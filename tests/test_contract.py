"""What holds of every driver and every profile, with no exemptions. The cases are the transcripts."""

from __future__ import annotations

import random
from importlib import import_module
from itertools import groupby
from typing import TYPE_CHECKING

import played
import pytest

from drivers import registry
from drivers.errors import DriverError
from drivers.line import Line
from drivers.sample import Flag
from drivers.transcript import EVIDENCE, Entry, Poll, Transcript, TranscriptPort

if TYPE_CHECKING:
    from pathlib import Path

    from drivers.sample import Sample

DRIVERS = registry.names()
FILES = played.files()


def case_id(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


every_driver = pytest.mark.parametrize("name", DRIVERS)
every_transcript = pytest.mark.parametrize("path", FILES, ids=case_id)


def good_polls(case: Transcript) -> list[Poll]:
    """Give the reads that bring values, each of their answers in one piece, and with the reads `before` them."""
    polls = []
    for number, poll in enumerate(case.polls):
        if not poll.error and not poll.is_unchanged:
            joined = Poll()
            joined.before = case.polls[:number]
            joined.samples = poll.samples
            for mark, run in groupby(poll.entries, key=lambda entry: entry.mark):
                entries = list(run)
                joined.entries += entries if mark == ">" else [Entry("<", b"".join(e.data for e in entries), 0)]
            polls.append(joined)
    return polls


def answers(poll: Poll) -> list[int]:
    """Give the places of the answers among the entries."""
    return [index for index, entry in enumerate(poll.entries) if entry.mark == "<"]


class Unforeseen(TranscriptPort):
    """A port that meets a question beyond the recorded ones with silence: what is asked may depend on an answer."""

    def write(self, data: bytes) -> None:
        if self.left:
            super().write(data)


def outcome(case: Transcript, poll: Poll, index: int, answer: bytes) -> played.Played:
    """Read with a driver that has read nothing but what comes before, one answer replaced."""
    entries = list(poll.entries)
    entries[index] = Entry("<", answer, 0)
    line, _ = played.line_over(case, entries, Unforeseen)
    return played.read(played.driver_before(case, poll), line, case.address)


def assert_same_or_error(result: played.Played, poll: Poll, damage: str) -> None:
    """Hold that a damaged answer gives the values of the good one, or a DriverError with some of them at most."""
    try:
        if result.error:
            assert_part(result.samples, poll.samples)
        else:
            played.assert_same(result.samples, poll.samples)
    except AssertionError as error:
        raise AssertionError(f"{damage}: {error}") from error


def assert_part(found: list[Sample], whole: list[Sample]) -> None:
    """Hold that samples which an error brings along are those of the good answer; `no_comm` where that is not known."""
    known = [sample for sample in found if Flag.NO_COMM not in sample.flags]
    names = [sample.channel for sample in known]
    played.assert_same(known, [sample for sample in whole if sample.channel in names])
    unsure = [sample for sample in found if sample.channel not in names and sample.value is not None]
    values = {sample.channel: sample for sample in whole}
    played.assert_same(unsure, [values[sample.channel]._replace(flags=sample.flags) for sample in unsure])


@every_driver
def test_every_driver_says_where_it_is_from_and_how_it_was_checked(name):
    """A docstring, or a profile's first comment, names the source and what was confirmed."""
    if name in registry.CODE_DRIVERS:
        text = import_module(f"drivers.{name}").__doc__
    else:
        text = (registry.SHIPPED / f"{name}.toml").read_text(encoding="utf-8").partition("\n[")[0]
        assert text.startswith("# ")
    words = text.lower()
    assert "manual" in words or "source" in words
    assert "confirmed" in words or "checked" in words


@every_driver
def test_every_driver_has_a_good_and_a_fault_case(name):
    """Its transcripts show at least one clean read, and one flagged value or failed read."""
    polls = [poll for path in played.files(name) for poll in played.load(path).polls]
    assert any(poll.samples and not poll.error and not any(s.flags for s in poll.samples) for poll in polls)
    assert any(poll.error or any(sample.flags for sample in poll.samples) for poll in polls)


def test_every_transcript_belongs_to_a_driver():
    """No folder of transcripts is left over from a driver that was renamed."""
    assert {path.parent.name for path in FILES} <= set(DRIVERS)


@every_transcript
def test_a_transcript_says_how_it_was_obtained(path):
    """Its head says captured, manual, built or invented."""
    assert played.load(path).evidence in EVIDENCE


@every_transcript
def test_a_transcript_plays_as_written(path):
    """Bytes asked, values, flags, order and errors are those of the file, and no byte is left over."""
    case = played.load(path)
    driver = played.driver_of(case)
    line, port = played.line_over(case, [entry for poll in case.polls for entry in poll.entries])
    left = port.left
    for number, poll in enumerate(case.polls, 1):
        result = played.read(driver, line, case.address)
        left -= len(poll.entries)
        assert (number, result.error) == (number, poll.error)
        played.assert_same(result.samples, poll.samples)
        assert port.left == left, f"read {number} took other bytes"
    port.finish()


@every_transcript
def test_samples_come_one_a_channel_in_their_order(path):
    """A successful read gives exactly the channels the driver announces, each value or null with a known flag."""
    case = played.load(path)
    names = [channel.name for channel in played.driver_of(case).channels]
    assert len(set(names)) == len(names)
    for poll in good_polls(case):
        assert [sample.channel for sample in poll.samples] == names
        for sample in poll.samples:
            assert Flag.SUSPECT not in sample.flags
            assert Flag.OK not in sample.flags
            assert sample.value is not None or sample.flags


@every_transcript
def test_the_plan_counts_at_least_what_is_asked(path):
    """`check` plans no fewer bytes than a real read takes."""
    case = played.load(path)
    plan = played.driver_of(case).plan(case.framer)
    for poll in good_polls(case):
        asked = [entry.data for entry in poll.entries if entry.mark == ">"]
        assert sum(exchange.sent for exchange in plan) >= sum(map(len, asked[: len(plan)]))


@every_transcript
def test_silence_is_no_answer(path):
    """An instrument that says nothing raises NoAnswer, whichever of its answers is missing."""
    case = played.load(path)
    for poll in good_polls(case):
        for index in answers(poll):
            line, _ = played.line_over(case, poll.entries[:index])
            assert played.read(played.driver_before(case, poll), line, case.address).error == "NoAnswer"


@every_transcript
def test_every_prefix_of_an_answer_is_an_error_or_the_same_values(path):
    """An answer that was cut off is never a value of its own."""
    case = played.load(path)
    for poll in good_polls(case):
        for index in answers(poll):
            whole = poll.entries[index].data
            for length in range(len(whole)):
                result = outcome(case, poll, index, whole[:length])
                assert_same_or_error(result, poll, f"cut after {length} bytes")


@every_transcript
@pytest.mark.no_cover
def test_every_damaged_bit_is_an_error_or_the_same_values(path):
    """One flipped bit never makes another value, wherever the protocol has a sum (TCP brings its own)."""
    case = played.load(path)
    if case.framer == "tcp":
        return
    has_checksum = getattr(played.driver_of(case), "has_checksum", True)
    for poll in good_polls(case):
        for index in answers(poll):
            whole = poll.entries[index].data
            for bit in range(8 * len(whole)):
                damaged = bytearray(whole)
                damaged[bit // 8] ^= 1 << bit % 8
                result = outcome(case, poll, index, bytes(damaged))
                if has_checksum:
                    assert_same_or_error(result, poll, f"bit {bit % 8} of byte {bit // 8}")


@every_transcript
@pytest.mark.parametrize("garbage", [b"\x00", b"\xff\xff\xff", b"\x80", b"\r\n", b"\x02", b"noise 12.5 ppb\r", b":0"])
def test_garbage_around_an_answer_is_an_error_or_the_same_values(path, garbage):
    """Noise before or after the frame costs at most the answer."""
    case = played.load(path)
    has_checksum = getattr(played.driver_of(case), "has_checksum", True)
    for poll in good_polls(case):
        for index in answers(poll):
            whole = poll.entries[index].data
            for damaged in (garbage + whole, whole + garbage):
                result = outcome(case, poll, index, damaged)
                if has_checksum:
                    assert_same_or_error(result, poll, repr(garbage))


@every_transcript
def test_random_bytes_are_never_values(path):
    """Whatever noise comes instead of an answer, it is a DriverError."""
    case = played.load(path)
    dice = random.Random(path.name)
    for poll in good_polls(case)[:1]:
        for length in (1, 2, 7, 8, 64, 300, 5000):
            result = outcome(case, poll, answers(poll)[0], dice.randbytes(length))
            assert result.error


class Flood:
    """A port that delivers the same bytes again and again, and never takes a breath."""

    where = "flood"
    is_network = False

    def __init__(self, data: bytes, chunk: int) -> None:
        self._data = data * (chunk // len(data) + 1)
        self._chunk = chunk
        self.delivered = 0

    def open(self) -> None: ...

    def close(self) -> None: ...

    def write(self, data: bytes) -> None: ...

    def read(self, timeout_s: float) -> bytes:
        if timeout_s <= 0:
            return b""
        self.delivered += self._chunk
        return self._data[: self._chunk]


@every_transcript
@pytest.mark.parametrize("data", [b"\x00", b"\xff", b"0", b" ", b":", b"\x02", b"lrec "])
def test_a_never_ending_answer_is_an_error_after_a_bounded_read(path, data):
    """70 kB and more without an end are given up, before they fill the memory."""
    case = played.load(path)
    port = Flood(data, 700)
    line = Line("flood", port, framer=case.framer)
    with pytest.raises(DriverError):
        played.driver_of(case).read(line, case.address)
    assert port.delivered < 70_000 + 700


class Deaf:
    """A port that gives a recorded conversation's answers whatever is asked."""

    where = "deaf"
    is_network = False

    def __init__(self, poll: Poll) -> None:
        self._answers = [poll.entries[index].data for index in answers(poll)]
        self._is_due = not any(entry.mark == ">" for entry in poll.entries)
        self.time_s = 0.0

    def open(self) -> None: ...

    def close(self) -> None: ...

    def write(self, data: bytes) -> None:
        self._is_due = True

    def read(self, timeout_s: float) -> bytes:
        if self._answers and self._is_due and timeout_s > 0:
            self._is_due = False
            return self._answers.pop(0)
        self.time_s += max(timeout_s, 0) + 1e-6
        return b""


@every_transcript
def test_an_answer_of_another_address_is_an_error(path):
    """Where the answer names its sender, the one of another instrument is not taken; else it cannot be told apart."""
    case = played.load(path)
    for poll in good_polls(case):
        port = Deaf(poll)
        line = Line("deaf", port, framer=case.framer, now_s=lambda port=port: port.time_s)
        result = played.read(played.driver_before(case, poll), line, case.address + 1)
        if case.framer == "none":
            assert_same_or_error(result, poll, "another address")
        else:
            assert result.error in {"BadAnswer", "NoAnswer"}
