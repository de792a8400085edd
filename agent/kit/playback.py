"""Plays recorded polls back with their driver: to know that a transcript plays, and what may stand in its answers."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from agent.kit import masks
from drivers import registry
from drivers.errors import DriverError, LineDown
from drivers.line import Line
from drivers.transcript import Entry, Mismatch, TranscriptPort

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.conversation import Outcome
    from agent.kit.by_hand import About
    from agent.kit.masks import Secret
    from drivers.driver import Driver
    from drivers.sample import Sample

_ASKED = (Entry(">", b"", 0),)


class Recorded(NamedTuple):
    """One poll: the bytes, and what the driver makes of them."""

    entries: tuple[Entry, ...]
    samples: tuple[Sample, ...]
    error: str


def renumbered(data: bytes, numbers: dict[bytes, bytes]) -> bytes:
    """Put other transaction numbers into the frames of Modbus TCP."""
    whole, place = bytearray(data), 0
    while len(frame := data[place : place + 6]) == 6:
        whole[place : place + 2] = numbers.get(frame[:2], frame[:2])
        place += 6 + int.from_bytes(frame[4:], "big")
    return bytes(whole)


class Before(NamedTuple):
    """The polls before one: what the driver knew when it came, and whether the line had been used."""

    about: About
    site: Path
    polls: tuple[Recorded, ...] = ()

    @property
    def was_asked(self) -> bool:
        """Whether anything had been sent."""
        return any(entry.mark == ">" for poll in self.polls for entry in poll.entries)

    def driver(self) -> Driver:
        """Build a driver that has read these polls."""
        driver = registry.load(self.about.driver, dict(self.about.options), self.site)
        for place, poll in enumerate(self.polls):
            self._replace(polls=self.polls[:place]).play(driver, poll.entries)
        return driver

    def play(self, driver: Driver, entries: Sequence[Entry]) -> Recorded | None:
        """Read once more, from recorded bytes; None if it goes another way."""
        port = TranscriptPort([*_ASKED, *entries] if self.was_asked else list(entries), "recording")
        if self.was_asked:
            port.write(b"")
        line = Line("recording", port, framer=self.about.framer, now_s=port.now_s)
        asked = next((entry.data for entry in entries if entry.mark == ">"), b"")
        line.transaction = int.from_bytes(asked[:2], "big") - 1 if self.about.framer == "tcp" and asked else 0
        try:
            samples, error = driver.read(line, self.about.address), ""
        except DriverError as failed:
            samples, error = failed.samples, type(failed).__name__
        except (LineDown, Mismatch):
            return None
        return None if port.left else Recorded(tuple(entries), tuple(samples), error)


def tidied(before: Before, entries: list[Entry], outcome: Outcome) -> Recorded | None:
    """Put each answer into one piece if it plays so, else leave it in its pieces; None if it does not play."""
    expected = tuple(outcome.samples if outcome.answer is None else outcome.answer), outcome.error
    joined = [_joined(mark, list(run)) for mark, run in groupby(entries, key=lambda entry: entry.mark)]
    for shape in ([one for run in joined for one in run], entries):
        tidy = _without_echo(shape) if before.about.echo == "local" else shape
        played = before.play(before.driver(), tidy)
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


def masked(before: Before, recorded: Recorded, secrets: Sequence[Secret]) -> Recorded:
    """Mask each answer in turn, so that everything that is no secret reads as before."""
    for place, entry in enumerate(recorded.entries):
        if entry.mark == "<" and (found := masks.spans(entry.data, secrets)):
            fitting = _Fitting(before, recorded, place, secrets)
            masks.masked(entry.data, found, before.about.framer, fitting.fits)
            recorded = fitting.recorded
    return recorded


class _Fitting:
    """Tries other bytes in place of one answer; `recorded` is the poll with the last ones that fitted."""

    def __init__(self, before: Before, recorded: Recorded, place: int, secrets: Sequence[Secret]) -> None:
        self.recorded = recorded
        self._before, self._place, self._secrets = before, place, secrets
        self._driver = before.driver()

    def fits(self, data: bytes) -> bool:
        """Say whether the driver reads all but the secrets as before; only a failed read leaves it as it was."""
        entries = list(self.recorded.entries)
        entries[self._place] = entries[self._place]._replace(data=data)
        played = self._before.play(self._driver, entries)
        if played is None or played.error != self.recorded.error:
            return False
        self._driver = self._before.driver()
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
