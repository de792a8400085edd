"""Instruments that talk unasked: what was heard is given to every driver that listens, and those that read it count.

Nothing is known here of any of them. A driver is tried with every combination of the words that its options allow, and
with those that its own `options_for` makes of what was heard.
"""

from __future__ import annotations

from importlib import import_module
from itertools import islice, product
from typing import TYPE_CHECKING, Any, NamedTuple

from drivers import registry
from drivers.clock import monotonic_s
from drivers.errors import ConfigError, DriverError
from drivers.fields import REQUIRED, Choice, Key
from drivers.line import Line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from drivers.driver import Driver
    from drivers.port import Port
    from drivers.sample import Channel, Sample

MOST_BYTES = 16_384
COMBINATIONS_MOST = 200
_PIECE = 64
_TURN_S = 0.2


class Heard(NamedTuple):
    """A driver that reads what was heard, the options it needs, and what it made of it."""

    driver: str
    options: dict[str, Any]
    channels: Sequence[Channel]
    samples: Sequence[Sample]
    has_checksum: bool


def listen(port: Port, seconds: float) -> Iterator[bytes]:
    """Give what comes unasked, in turns; an empty one where nothing came."""
    end_s, total = monotonic_s() + seconds, 0
    while (left := end_s - monotonic_s()) > 0 and total < MOST_BYTES:
        data = port.read(min(left, _TURN_S))
        total += len(data)
        yield data


def readers(data: bytes, site: Path | None = None) -> list[Heard]:
    """Name the drivers that read it, those that check a sum first."""
    found = [heard for name in registry.names(site) if (heard := _first(name, _drivers(name, data, site), data))]
    return sorted(found, key=lambda heard: not heard.has_checksum)


def _first(name: str, tried: Iterable[tuple[dict[str, Any], Driver]], data: bytes) -> Heard | None:
    for options, driver in tried:
        if getattr(driver, "unsolicited", False) and (samples := _samples(driver, data)):
            return Heard(name, options, driver.channels, samples, getattr(driver, "has_checksum", False))
    return None


def _samples(driver: Driver, data: bytes) -> list[Sample]:
    """Have a driver read what was heard; nothing of what it may send goes anywhere."""
    port = _Heard(data)
    try:
        samples = list(driver.read(Line("heard", port, now_s=port.now_s), 1))
    except DriverError:
        return []
    return samples if any(sample.value is not None for sample in samples) else []


def _drivers(name: str, data: bytes, site: Path | None) -> Iterator[tuple[dict[str, Any], Driver]]:
    for options in _options(name, data, site):
        try:
            yield options, registry.load(name, options, site)
        except ConfigError:
            continue  # options that do not go together, or a profile that is wrong


def _options(name: str, data: bytes, site: Path | None) -> Iterator[dict[str, Any]]:
    if registry.profile_file(name, site):
        yield {}
        return
    module = import_module(f"drivers.{name}")
    if hasattr(module, "options_for") and (suggested := module.options_for(data)) is not None:
        yield suggested
    yield from combinations(module.OPTIONS.keys.values())


def combinations(keys: Iterable[Key]) -> Iterator[dict[str, Any]]:
    """Give every combination of the options that are words, the defaults first; only what differs from them."""
    choices = [(key, _in_order(key)) for key in keys if isinstance(key.kind, Choice)]
    for words in islice(product(*(allowed for _, allowed in choices)), COMBINATIONS_MOST):
        pairs = zip(choices, words, strict=True)
        yield {key.name: word for (key, _), word in pairs if word != key.default}


def _in_order(key: Key) -> list[str]:
    assert isinstance(key.kind, Choice)  # noqa: S101 - for mypy
    words = list(key.kind.words)
    return words if key.default is REQUIRED else sorted(words, key=lambda word: word != key.default)


class _Heard:
    """A port at which what was heard arrives once more, in a time of its own."""

    where = "heard"
    is_network = False

    def __init__(self, data: bytes) -> None:
        self._data, self._time_s = data, 0.0

    def now_s(self) -> float:
        return self._time_s

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def write(self, data: bytes) -> None:
        """Send nothing."""

    def read(self, timeout_s: float) -> bytes:
        """Give a piece to whoever waits for one; to nobody who only looks whether something is there."""
        if timeout_s <= 0:
            return b""
        piece, self._data = self._data[:_PIECE], self._data[_PIECE:]
        self._time_s += 0.001 if piece else timeout_s
        return piece
