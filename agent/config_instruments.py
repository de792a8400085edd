"""What instruments/<name>.toml says: each file by itself, then all of them against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from agent.config_definitions import DAY_S, INSTRUMENT, NAMES
from agent.settings import InstrumentSettings
from drivers import registry, toml_file
from drivers.errors import ConfigError, Problem
from drivers.fields import Report, did_you_mean
from drivers.registers import ProfileDriver
from drivers.report import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from agent.settings import LineSettings
    from drivers.registry import Found

Raw = dict[str, Any]

_DAY_MS = DAY_S * 1000
MODBUS_ADDRESSES = 256
OWN_NAME = "station"
"""The instrument that the station itself is (own_channels)."""


class Surroundings(NamedTuple):
    """What an instrument's file refers to: the lines (one is None: wrong; all: unknown) and the site's profiles."""

    lines: Mapping[str, LineSettings | None] | None
    profiles: Path


class Read(NamedTuple):
    """What came of one file: settings, unless a problem cost them or the instrument is inactive."""

    name: str
    problems: list[Problem]
    settings: InstrumentSettings | None = None
    document: toml_file.Document | None = None
    is_inactive: bool = False


def read(file: Path, around: Surroundings) -> Read:
    """Read one instrument's file."""
    name = registry.named(file)
    if name is None:
        return Read(file.stem, [Problem(file, 0, "", shown(file.name), f"allowed as a name: {NAMES}")])
    if name == OWN_NAME:
        return Read(
            name, [Problem(file, 0, "", shown(name), "is the name of the station's own channels; take another")]
        )
    try:
        document = toml_file.load(file)
    except ConfigError as error:
        return Read(name, list(error.problems))
    report = Report(document)
    raw = INSTRUMENT.read(document.data, (), report) or {}
    settings = _settings(name, raw, around, report)
    if report.problems or settings is None:
        return Read(name, report.problems, None, document)
    is_inactive = raw["state"] == "inactive"
    return Read(name, [], None if is_inactive else settings, document, is_inactive)


def doubles(found: Iterable[Read]) -> list[Problem]:
    """Report instruments that ask the same thing twice: one driver, over Modbus, at one address of one line."""
    first: dict[tuple[str, str, int], str] = {}
    problems = []
    for settings, document in ((one.settings, one.document) for one in found):
        if settings is None or document is None or not isinstance(settings.driver, ProfileDriver):
            continue
        key = (settings.driver_name, settings.line, settings.address)
        other = first.setdefault(key, settings.name)
        if other != settings.name:
            report = Report(document)
            allowed = f"{other} is the same driver at this address of {settings.line} already"
            report.add(("address",), settings.address, allowed)
            problems += report.problems
    return problems


def _settings(name: str, raw: Raw, around: Surroundings, report: Report) -> InstrumentSettings | None:
    _check_interval(raw["interval"], report)
    line = _line(raw["line"], around.lines, report)
    found = _driver(raw, line, around.profiles, report)
    if found is None or line is None:
        return None
    _check_conversation(raw, found, line, report)
    channels = _channels(raw["channels"], found, report)
    if report.problems:
        return None
    return InstrumentSettings(
        name=name,
        driver_name=raw["driver"],
        driver=found.driver,
        line=line.name,
        address=raw["address"],
        interval_s=raw["interval"],
        timeout_s=raw["timeout"] or found.timeout_s,
        silence_s=found.silence_s if raw["silence"] is None else raw["silence"],
        channels=channels,
        options=raw["options"],
        reads=found.reads,
    )


def _check_interval(interval_s: float | None, report: Report) -> None:
    """Demand a grid that begins anew at each midnight (UTC), so that every day has the same slots."""
    if interval_s is None:
        return
    interval_ms = round(interval_s * 1000)
    if abs(interval_ms - interval_s * 1000) > 1e-6 or _DAY_MS % interval_ms:
        shown = " or ".join(_near(interval_ms))
        report.add(("interval",), f"{interval_s:g}s", f"must divide 24 hours evenly; {shown} would")


def _near(interval_ms: int) -> list[str]:
    """Give the next shorter and longer interval, of whole seconds if possible, that divides a day."""
    step = 1000 if interval_ms > 1000 else 1
    fitting = [ms for ms in range(step, 2 * interval_ms + step, step) if _DAY_MS % ms == 0]
    shorter = max((ms for ms in fitting if ms < interval_ms), default=step)
    longer = min((ms for ms in fitting if ms > interval_ms), default=_DAY_MS)
    return [f'"{ms // 1000}s"' if ms % 1000 == 0 else f'"{ms}ms"' for ms in (shorter, longer)]


def _line(name: str | None, lines: Mapping[str, LineSettings | None] | None, report: Report) -> LineSettings | None:
    if name is None or lines is None:
        return None
    if name not in lines:
        known = f"lines of station.toml: {', '.join(lines) or 'none'}"
        report.add(("line",), name, f"unknown line; {known}{did_you_mean(name, lines)}")
    return lines.get(name)


def _driver(raw: Raw, line: LineSettings | None, profiles: Path, report: Report) -> Found | None:
    if raw["driver"] is None or raw["options"] is None:
        return None
    limit = {"max_block": line.max_block} if line else {}
    return registry.read(raw["driver"], raw["options"], profiles, report, **limit)


def _check_conversation(raw: Raw, found: Found, line: LineSettings, report: Report) -> None:
    """Find a driver on a line that speaks something else, and an address that Modbus has not."""
    name = raw["driver"]
    if line.kind == "udp" and not getattr(found.driver, "unsolicited", False):
        allowed = f"{name} must be asked, and lines.{line.name} only listens: udp is for instruments that talk unasked"
        report.add(("line",), line.name, allowed)
    elif found.speaks_modbus and not line.speaks_modbus:
        report.add(("line",), line.name, f'{name} speaks Modbus: lines.{line.name} needs framer = "rtu" or "ascii"')
    elif found.speaks_modbus and raw["address"] is not None and raw["address"] >= MODBUS_ADDRESSES:
        report.add(("address",), raw["address"], "allowed on a Modbus line: 0 to 255")
    elif line.framer == "tcp" and not found.speaks_modbus:
        report.add(("line",), line.name, f'{name} speaks no Modbus: lines.{line.name} needs framer = "none"')
    if found.addresses is not None and raw["address"] is not None and raw["address"] not in found.addresses:
        first, last = found.addresses[0], found.addresses[-1]
        report.add(("address",), raw["address"], f"allowed for {name}: {first} to {last}")


def _channels(wanted: list[str | None] | None, found: Found, report: Report) -> tuple[str, ...]:
    known = [channel.name for channel in found.driver.channels]
    for index, name in enumerate(wanted or ()):
        if name is not None and name not in known:
            allowed = f"unknown channel; there are: {', '.join(known)}{did_you_mean(name, known)}"
            report.add(("channels", str(index)), name, allowed)
    return tuple(name for name in known if wanted is None or name in wanted)
