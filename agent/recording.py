"""`stationd record`: polls a live instrument and writes a transcript that is ready to be a test.

It is played back with the driver before it is written, so that it is known to play, and looked through for what was to
be masked, so that it is known not to be there.
"""

from __future__ import annotations

import re
from functools import partial
from itertools import groupby
from typing import IO, TYPE_CHECKING, NamedTuple

from agent import masks
from agent.by_hand import Cannot, Either
from agent.config import load
from agent.poll import head, ticks
from agent.toml_value import toml_value
from drivers import registry
from drivers.errors import DriverError, LineDown
from drivers.line import Line
from drivers.trace import bytes_of, written
from drivers.transcript import Entry, Mismatch, Transcript, TranscriptPort, sample_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from agent.by_hand import About
    from agent.conversation import Outcome
    from agent.masks import Secret
    from drivers.driver import Driver
    from drivers.sample import Sample

    Taught = Callable[[], Driver]

POLLS_MOST = 100
EVERY_MOST_S = 50.0
"""The daemon hangs up on whoever asks less often."""
_LONG_NUMBER = re.compile(rb"(?<![\d.])\d{5,}(?![\d.])")


class Wanted(NamedTuple):
    """What the command was told."""

    instrument: str
    polls: int
    every_s: float
    masks: tuple[str, ...]
    file: Path | None


class Recorded(NamedTuple):
    """One poll: the bytes, and what the driver makes of them."""

    entries: tuple[Entry, ...]
    samples: tuple[Sample, ...]
    error: str


class NotRecordable(Exception):
    """There will be no transcript; says why."""


def record(directory: Path, wanted: Wanted, out: IO[str]) -> int:
    """Poll and write the transcript; gives the exit status."""
    if wrong := _wrong(wanted):
        print(wrong, file=out)
        return 2
    try:
        about, outcomes = _polled(directory, wanted)
        text, remarks = transcript(about, outcomes, wanted.masks, directory / "profiles")
    except (Cannot, NotRecordable) as error:
        print(error, file=out)
        return 1
    if wanted.file is None:
        print(text, end="", file=out)
        return 0
    with wanted.file.open("x", encoding="utf-8") as file:
        file.write(text)
    print(f"{wanted.file}: {len(outcomes)} polls of {about.instrument}", *remarks, sep="\n", file=out)
    return 0


def transcript(about: About, outcomes: Sequence[Outcome], given: Sequence[str], site: Path) -> tuple[str, list[str]]:
    """Write a transcript that plays and holds no secret, and what is to be said about it. Raises NotRecordable."""
    secrets = _secrets(about, outcomes, given)
    _check_requests(about, outcomes, secrets)
    polls: list[Recorded] = []
    number = 0
    for place, outcome in enumerate(outcomes, 1):
        taught = partial(_taught, about, site, tuple(polls))
        entries, number = _entries(about, outcome, number)
        if (recorded := _tidied(taught, about, entries, outcome)) is None:
            raise NotRecordable(f"poll {place} does not play as it was: noise before a request, or a late answer")
        polls.append(_masked(taught, about, recorded, secrets))
    text = "\n".join(_text(about, outcomes[0].at_ms, polls, is_masked=bool(secrets))) + "\n"
    _check(text, about, secrets, site)
    return text, _remarks(polls)


def _wrong(wanted: Wanted) -> str:
    if not 1 <= wanted.polls <= POLLS_MOST:
        return f"--polls {wanted.polls}: allowed: 1 to {POLLS_MOST}"
    if wanted.every_s > EVERY_MOST_S:
        return f"--every: {EVERY_MOST_S:g}s at most"
    if short := [text for text in wanted.masks if masks.secret(text, "none", is_given=True) is None]:
        return f"--mask {short[0]}: allowed: a text of {masks.LEAST_LENGTH} characters at least"
    return f"{wanted.file}: is there already" if wanted.file and wanted.file.exists() else ""


def _polled(directory: Path, wanted: Wanted) -> tuple[About, list[Outcome]]:
    by_hand = Either(load(directory), wanted.instrument)
    try:
        about, first = by_hand.poll()
        outcomes = [first]
        waits = zip(range(wanted.polls - 1), ticks(wanted.every_s), strict=False)
        outcomes += [by_hand.poll()[1] for _ in waits]
    finally:
        by_hand.close()
    if down := next((one for one in outcomes if one.error == LineDown.__name__), None):
        raise NotRecordable(f"nothing to record: {down.text}")
    return about, outcomes


def _secrets(about: About, outcomes: Iterable[Outcome], given: Iterable[str]) -> list[Secret]:
    """Collect the values of channels that say which instrument it is, and what was given."""
    named = {
        channel.name
        for channel in about.channels.values()
        if masks.IDENTITY.search(channel.name) or masks.IDENTITY.search(channel.parameter)
    }
    samples = [sample for outcome in outcomes for sample in (outcome.answer or outcome.samples)]
    values = [str(one.value) for one in samples if one.channel in named and isinstance(one.value, int | str)]
    found = [masks.secret(text, about.framer, is_given=False) for text in dict.fromkeys(values)]
    told = [masks.secret(text, about.framer, is_given=True) for text in given]
    return [one for one in (*found, *told) if one]


def _entries(about: About, outcome: Outcome, number: int) -> tuple[list[Entry], int]:
    """Take the bytes of a poll out of its trace; Modbus TCP's transaction numbers count on from `number`."""
    entries: list[Entry] = []
    numbers: dict[bytes, bytes] = {}
    for line in outcome.trace:
        if line.startswith("#"):
            raise NotRecordable("too many bytes came for a transcript")
        entry = Entry(line[0], bytes_of(line[2:]), 0)
        if about.framer == "tcp" and entry.mark == ">":
            number += 1
            numbers[entry.data[:2]] = number.to_bytes(2, "big")
        entries.append(entry._replace(data=_renumbered(entry.data, numbers)) if numbers else entry)
    return entries, number


def _renumbered(data: bytes, numbers: dict[bytes, bytes]) -> bytes:
    """Put other transaction numbers into the frames of Modbus TCP."""
    whole, place = bytearray(data), 0
    while len(frame := data[place : place + 6]) == 6:
        whole[place : place + 2] = numbers.get(frame[:2], frame[:2])
        place += 6 + int.from_bytes(frame[4:], "big")
    return bytes(whole)


def _taught(about: About, site: Path, polls: Iterable[Recorded]) -> Driver:
    """Build a driver that knows what it knew after these polls."""
    driver = registry.load(about.driver, dict(about.options), site)
    for poll in polls:
        _play(driver, about, poll.entries)
    return driver


def _tidied(taught: Taught, about: About, entries: list[Entry], outcome: Outcome) -> Recorded | None:
    """Put each answer into one piece if it plays so, else leave it in its pieces; None if it does not play."""
    expected = tuple(outcome.samples if outcome.answer is None else outcome.answer), outcome.error
    joined = [_joined(mark, list(run)) for mark, run in groupby(entries, key=lambda entry: entry.mark)]
    for shape in ([one for run in joined for one in run], entries):
        tidy = _without_echo(shape) if about.echo == "local" else shape
        played = _play(taught(), about, tidy)
        if played and played[1:] == expected:
            return played
    return None


def _joined(mark: str, run: list[Entry]) -> list[Entry]:
    return run if mark == ">" else [Entry("<", b"".join(entry.data for entry in run), 0)]


def _without_echo(entries: Sequence[Entry]) -> list[Entry]:
    """Leave out what the adapter heard of itself; a transcript's line has none."""
    left, request = [], b""
    for entry in entries:
        data = entry.data.removeprefix(request) if entry.mark == "<" else entry.data
        request = entry.data if entry.mark == ">" else b""
        if data:
            left.append(entry._replace(data=data))
    return left


def _play(driver: Driver, about: About, entries: Sequence[Entry]) -> Recorded | None:
    """Read once from recorded bytes; None if it goes another way."""
    port = TranscriptPort(list(entries), "recording")
    line = Line("recording", port, framer=about.framer, now_s=port.now_s)
    asked = next((entry.data for entry in entries if entry.mark == ">"), b"")
    line.transaction = int.from_bytes(asked[:2], "big") - 1 if about.framer == "tcp" and asked else 0
    try:
        samples, error = driver.read(line, about.address), ""
    except DriverError as failed:
        samples, error = failed.samples, type(failed).__name__
    except (LineDown, Mismatch):
        return None
    return None if port.left else Recorded(tuple(entries), tuple(samples), error)


def _masked(taught: Taught, about: About, recorded: Recorded, secrets: Sequence[Secret]) -> Recorded:
    """Mask each answer in turn, so that everything that is no secret reads as before."""
    for place, entry in enumerate(recorded.entries):
        if entry.mark == "<" and (found := masks.spans(entry.data, secrets)):
            fitting = _Fitting(taught, about, recorded, place, secrets)
            masks.masked(entry.data, found, about.framer, fitting.fits)
            recorded = fitting.recorded
    return recorded


class _Fitting:
    """Tries other bytes in place of one answer; `recorded` is the poll with the last ones that fitted."""

    def __init__(self, taught: Taught, about: About, recorded: Recorded, place: int, secrets: Sequence[Secret]) -> None:
        self.recorded = recorded
        self._taught, self._about, self._place, self._secrets = taught, about, place, secrets
        self._driver = taught()

    def fits(self, data: bytes) -> bool:
        """Say whether the driver reads all but the secrets as before; only a failed read leaves it as it was."""
        entries = list(self.recorded.entries)
        entries[self._place] = entries[self._place]._replace(data=data)
        played = _play(self._driver, self._about, entries)
        if played is None or played.error != self.recorded.error:
            return False
        self._driver = self._taught()
        if not self._is_like(played):
            return False
        self.recorded = played
        return True

    def _is_like(self, played: Recorded) -> bool:
        if len(played.samples) != len(self.recorded.samples):
            return False
        return all(
            (one.channel, one.flags) == (other.channel, other.flags)
            and (one.value == other.value or any(secret.text in str(other.value) for secret in self._secrets))
            for one, other in zip(played.samples, self.recorded.samples, strict=True)
        )


def _text(about: About, at_ms: int, polls: Iterable[Recorded], *, is_masked: bool) -> list[str]:
    title, *settings = head(about, at_ms)
    text = [title]
    if is_masked:
        text.append("# masked: serial numbers, by others of the same length; sums of Modbus frames were written anew")
    text += settings
    for poll in polls:
        channels = [about.channels[sample.channel] for sample in poll.samples]
        text += ["", *(f"{entry.mark} {written(entry.data)}" for entry in poll.entries)]
        text += [
            f"{sample_line(sample)}   # {channel.parameter} {channel.unit}".rstrip()
            for sample, channel in zip(poll.samples, channels, strict=True)
        ]
        text += [f"! {poll.error}"] if poll.error else [] if poll.samples else ["="]
    return text


def _check_requests(about: About, outcomes: Iterable[Outcome], secrets: Iterable[Secret]) -> None:
    """Find out early what can never be masked: what the driver itself says. Raises NotRecordable."""
    sent = b"\n".join(bytes_of(line[2:]) for one in outcomes for line in one.trace if line.startswith(">"))
    options = toml_value(dict(about.options))
    for secret in secrets:
        if secret.text.encode("latin-1", "replace").lower() in sent.lower() or secret.text in options:
            raise NotRecordable(f"{secret.text} cannot be masked: it stands in a request, or in the options")


def _check(text: str, about: About, secrets: Iterable[Secret], site: Path) -> None:
    """Hold the whole text against what is promised: it plays, and has no secret in it. Raises NotRecordable."""
    case = Transcript(text)
    answers = b"\n".join(entry.data for poll in case.polls for entry in poll.entries)
    for secret in secrets:
        plain = secret.text.lower()
        if plain in text.lower() or plain.encode("latin-1", "replace") in answers.lower():
            why = "it stands in a measured value too, or nothing was found that the driver takes in its place"
            raise NotRecordable(f"{secret.text} cannot be masked: {why}; nothing was written")
    driver = registry.load(about.driver, case.options, site)
    for number, poll in enumerate(case.polls, 1):
        played = _play(driver, about, poll.entries)
        if played is None or (list(played.samples), played.error) != (poll.samples, poll.error):
            raise NotRecordable(f"poll {number} does not play as it was written down; nothing was written")


def _remarks(polls: Iterable[Recorded]) -> list[str]:
    """Name long numbers in text answers: nobody but the technician knows which of them is a serial number."""
    found: set[str] = set()
    for poll in polls:
        values = " ".join(str(sample.value) for sample in poll.samples)
        for entry in poll.entries:
            if entry.mark == "<" and written(entry.data).startswith('"'):
                numbers = [match[0].decode() for match in _LONG_NUMBER.finditer(entry.data)]
                found |= {number for number in numbers if number.lstrip("0") and number not in values}
    return [f"is one of these a serial number? then record with --mask: {', '.join(sorted(found))}"] if found else []
