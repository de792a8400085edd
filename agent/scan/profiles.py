"""Which profile may fit an instrument at a Modbus address: each is tried, and those whose values make sense are ranked.

That is a suggestion and no more. Registers do not say what they are, and two profiles may both read numbers that could
be true; only the display of the instrument can tell.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from agent.kit.by_hand import Cannot
from drivers import registry
from drivers.errors import ConfigError
from drivers.registers import ProfileDriver
from drivers.sample import Flag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agent.kit.reads import Reads, Tried
    from drivers.sample import Channel, Sample, Value

LEAST_SHARE = 0.6
"""A profile is named if so much of what it reads makes sense."""
BOUNDS = {
    "%": (-5, 110),
    "°C": (-60, 1500),
    "deg": (0, 360),
    "pH": (0, 14),
    "m/s": (-100, 100),
    "hPa": (0, 2000),
    "mbar": (0, 2000),
    "kPa": (0, 500),
    "inHg": (0, 150),
    "mmHg": (0, 2000),
    "V": (-1000, 1000),
    "ppb": (-1000, 1e5),
    "ppm": (-1000, 1e5),
    "µg/m³": (-1000, 1e6),
    "mg/m³": (-1000, 1e5),
    "mg/L": (-100, 1e5),
}
"""What a value of a unit can be at all, anywhere."""
_LEAST, _MOST = 1e-9, 1e9
_RANKED_MOST = 4


class Fit(NamedTuple):
    """A profile that may fit: how many of its channels make sense, how many of these are not 0, and some of them."""

    driver: str
    plausible: int
    telling: int
    total: int
    shown: str

    @property
    def described(self) -> str:
        """Say how well it fits."""
        zeros = self.plausible - self.telling
        return f"{self.plausible} of {self.total} values plausible{f', {zeros} of them 0' if zeros else ''}"


def names(site: Path | None) -> list[str]:
    """List the profiles of Modbus instruments, those of the site included."""
    return [name for name in registry.names(site) if registry.profile_file(name, site) and _is_modbus(name, site)]


def fits(reads: Reads, address: int, tried: list[str], timeout_s: float, step: Callable[[str], None]) -> list[Fit]:
    """Try profiles at an address and give those that may fit, the best first. Raises LineDown."""
    found = list(_fits(reads, address, tried, timeout_s, step))
    return sorted(found, key=lambda fit: (-fit.telling / fit.total, -fit.telling, -fit.plausible))[:_RANKED_MOST]


def _fits(reads: Reads, address: int, tried: list[str], timeout_s: float, step: Callable[[str], None]) -> Iterator[Fit]:
    for name in tried:
        step(name)
        try:
            fit = judged(name, reads.tried(name, address, timeout_s))
        except (Cannot, ConfigError):
            continue
        if fit and fit.plausible >= LEAST_SHARE * fit.total and fit.telling:
            yield fit


def judged(name: str, tried: Tried) -> Fit | None:
    """Judge what a profile read; None if it read nothing, or ended in an error."""
    if tried.error or not tried.samples:
        return None
    channels = {channel.name: channel for channel in tried.channels}
    good = [sample for sample in tried.samples if is_plausible(sample, channels[sample.channel])]
    telling = [sample for sample in good if sample.value]
    shown = ", ".join(f"{one.channel} {_short(one.value)} {channels[one.channel].unit}".rstrip() for one in good[:3])
    return Fit(name, len(good), len(telling), len(tried.samples), shown)


def is_plausible(sample: Sample, channel: Channel) -> bool:
    """Say whether a value could be true: one that was answered, is in its range, and is of a size that things have."""
    value = sample.value
    if value is None or {Flag.NO_COMM, Flag.OVER_RANGE} & set(sample.flags):
        return False
    if isinstance(value, str):
        return bool(value) and value.isascii()
    low, high = BOUNDS.get(channel.unit, (-_MOST, _MOST))
    return math.isfinite(value) and low <= value <= high and (value == 0 or abs(value) >= _LEAST)


def _is_modbus(name: str, site: Path | None) -> bool:
    try:
        return isinstance(registry.load(name, site=site), ProfileDriver)
    except ConfigError:
        return False


def _short(value: Value) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
