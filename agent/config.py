"""Reads the configuration directory: `station.toml`, `instruments/*.toml`, and `profiles/*.toml` of the site."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

from agent import config_instruments, config_lines, config_station
from agent.config_definitions import STATION
from agent.config_instruments import Surroundings
from agent.secret_files import secret_problems
from agent.settings import (
    BrokerSettings,
    ClockSettings,
    Config,
    InstrumentSettings,
    LineSettings,
    SpoolSettings,
    StationSettings,
)
from drivers import registry, toml_file
from drivers.errors import ConfigError, Problem, printable
from drivers.fields import Report

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = [
    "BrokerSettings",
    "ClockSettings",
    "Config",
    "InstrumentSettings",
    "LineSettings",
    "SpoolSettings",
    "StationSettings",
    "load",
    "secret_problems",
]


class _Station(NamedTuple):
    """What came of station.toml: its values as read, its lines (one is None: wrong; all: unknown), its problems."""

    raw: dict[str, Any]
    lines: Mapping[str, LineSettings | None] | None
    problems: list[Problem]


def load(directory: Path) -> Config:
    """Read everything and open nothing.

    Raises ConfigError with the problems of all files if `station.toml` has any; those of other files are part
    of the result and cost only their instruments.
    """
    directory = directory.absolute()
    station = _read_station(directory / "station.toml")
    profiles = directory / "profiles"
    around = Surroundings(station.lines, profiles)
    read = [config_instruments.read(file, around) for file in registry.files(directory / "instruments")]
    problems = [problem for one in read for problem in one.problems]
    problems += [*registry.site_problems(profiles), *config_instruments.doubles(read)]
    if station.problems:
        raise ConfigError(_in_order([*station.problems, *problems]))
    raw = station.raw
    return Config(
        directory=directory,
        station=config_station.station(raw["station"]),
        broker=config_station.broker(raw["broker"], directory, raw["station"]["id"]),
        spool=config_station.spool(raw["spool"], directory),
        clock=config_station.clock(raw["clock"]),
        lines={name: line for name, line in (station.lines or {}).items() if line},
        instruments={one.name: one.settings for one in read if one.settings},
        inactive=tuple(one.name for one in read if one.is_inactive),
        problems=_in_order(problems),
        notices=tuple(_notices(directory, raw["broker"])),
        hash=_hash(directory),
    )


def _read_station(file: Path) -> _Station:
    try:
        document = toml_file.load(file)
    except ConfigError as error:
        return _Station({}, None, list(error.problems))
    report = Report(document)
    raw = STATION.read(document.data, (), report) or {}
    if raw["broker"]:
        config_station.check_broker(raw["broker"], report)
    right = config_lines.lines(raw["lines"], report)
    lines = None if raw["lines"] is None else {name: right.get(name) for name in raw["lines"]}
    return _Station(raw, lines, report.problems)


def _in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Sort by file and line, `station.toml` first; what several instruments met in one profile is told once."""
    return tuple(sorted(dict.fromkeys(problems), key=lambda p: (p.file.name != "station.toml", p.file, p.line)))


def _notices(directory: Path, broker: dict[str, Any]) -> Iterable[str]:
    for name in registry.overrides(directory / "profiles"):
        yield f"profiles/{name}.toml of this site is used in place of the shipped driver {name}"
    for folder in ("instruments", "profiles"):
        for file in sorted((directory / folder).glob("*")):
            if file.suffix != registry.SUFFIX and not file.name.startswith(".") and file.is_file():
                yield f"{folder}/{printable(file.name)} is not read: its name does not end in {registry.SUFFIX}"
    if broker["username"] and broker["url"].startswith("mqtt:") and not _is_local(broker["url"]):
        yield "the password goes over the network unprotected; mqtts:// protects it"


def _is_local(url: str) -> bool:
    return url.split("/")[2].startswith(("localhost", "127.", "[::1]"))


def _hash(directory: Path) -> str:
    """Digest names and bytes of all files, short enough to be compared by eye."""
    digest = hashlib.sha256()
    folders = [directory / "instruments", directory / "profiles"]
    for file in [
        directory / "station.toml",
        *(file for folder in folders for file in registry.files(folder)),
    ]:
        data = _content(file)
        digest.update(bytes(file.relative_to(directory)) + b"\0%d\0" % len(data) + data)
    return digest.hexdigest()[:12]


def _content(file: Path) -> bytes:
    try:
        return toml_file.content(file)
    except ConfigError:
        return b""  # reported as a problem
