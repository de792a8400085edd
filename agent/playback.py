"""Plays recorded polls back with their driver: to know that a transcript plays, and what may stand in its answers."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from agent import masks
from drivers import registry
from drivers.errors import DriverError, LineDown
from drivers.line import Line
from drivers.transcript import Entry, Mismatch, TranscriptPort

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from agent.by_hand import About
    from agent.conversation import Outcome
    from agent.masks import Secret
    from drivers.driver import Driver
    from drivers.sample import Sample

    Taught = Callable[[], Driver]


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


def taught(about: About, site: Path, polls: Iterable[Recorded]) -> Driver:
    """Build a driver that knows what it knew after these polls."""
    driver = registry.load(about.driver, dict(about.options), site)
    for poll in polls:
        play(driver, about, poll.entries)
    return driver


def tidied(taught: Taught, about: About, entries: list[Entry], outcome: Outcome) -> Recorded | None:
    """Put each answer into one piece if it plays so, else leave it in its pieces; None if it does not play."""
    expected = tuple(outcome.samples if outcome.answer is None else outcome.answer), outcome.error
    joined = [_joined(mark, list(run)) for mark, run in groupby(entries, key=lambda entry: entry.mark)]
    for shape in ([one for run in joined for one in run], entries):
        tidy = _without_echo(shape) if about.echo == "local" else shape
        played = play(taught(), about, tidy)
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


def play(driver: Driver, about: About, entries: Sequence[Entry]) -> Recorded | None:
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


def masked(taught: Taught, about: About, recorded: Recorded, secrets: Sequence[Secret]) -> Recorded:
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
        played = play(self._driver, self._about, entries)
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
