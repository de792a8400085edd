"""`stationd record`: polls a live instrument and writes a transcript that is ready to be a test.

It is played back with the driver before it is written, so that it is known to play, and looked through for what was to
be masked, so that it is known not to be there.
"""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING, NamedTuple

from agent.config import load
from agent.kit import masks
from agent.kit.by_hand import Cannot, Either
from agent.kit.playback import Before, masked, renumbered, tidied
from agent.kit.poll import head, ticks
from agent.toml_value import toml_value
from drivers.errors import LineDown
from drivers.trace import bytes_of, written
from drivers.transcript import Entry, Transcript, sample_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from agent.conversation import Outcome
    from agent.kit.by_hand import About
    from agent.kit.masks import Secret
    from agent.kit.playback import Recorded

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
    starts: bool = False


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
        before = Before(about, site, tuple(polls))
        entries, number = _entries(about, outcome, number)
        if (recorded := tidied(before, entries, outcome)) is None:
            why = about.remark or "noise before a request, or a late answer"
            raise NotRecordable(f"poll {place} does not play as it was: {why}")
        polls.append(masked(before, recorded, secrets))
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
    if wanted.file and not wanted.file.absolute().parent.is_dir():
        return f"{wanted.file.parent}: no such folder"
    return f"{wanted.file}: is there already" if wanted.file and wanted.file.exists() else ""


def _polled(directory: Path, wanted: Wanted) -> tuple[About, list[Outcome]]:
    by_hand = Either(load(directory), wanted.instrument, starts=wanted.starts)
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
        entries.append(entry._replace(data=renumbered(entry.data, numbers)) if numbers else entry)
    return entries, number


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
    before = Before(about._replace(options=case.options), site)
    driver = before.driver()
    for number, poll in enumerate(case.polls, 1):
        played = before.play(driver, poll.entries)
        if played is None or (list(played.samples), played.error) != (poll.samples, poll.error):
            raise NotRecordable(f"poll {number} does not play as it was written down; nothing was written")
        before = before._replace(polls=(*before.polls, played))


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
