"""The line that a technician means: one of station.toml, or a place that no file knows yet.

    rs485                       a line of station.toml
    tcp:192.0.2.10:502          a TCP connection
    udp:0.0.0.0:56790           datagrams that arrive here
    serial:/dev/ttyUSB0         a serial port; its path alone will do
    rfc2217://192.0.2.10:4001   a port of a device server

A place that is one of a line in station.toml is that line.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agent import config_lines
from agent.config import load
from agent.config_definitions import LINE
from agent.kit.by_hand import Cannot
from drivers.errors import ConfigError
from drivers.fields import Report, did_you_mean

if TYPE_CHECKING:
    from agent.settings import Config, LineSettings

NEW = "new"
"""What a line is called of which no file knows."""
_PLACES = re.compile(r"(tcp|serial|udp):(?!//)(.+)|(?:url:)?((?:rfc2217|socket)://.+)")
_ANY_PORT = "/dev/serial"
_BY_NAME = ("/dev/serial/by-id", "/dev/serial/by-path")


class Place(NamedTuple):
    """A line, and the configuration that knows it (None: none does)."""

    settings: LineSettings
    config: Config | None = None

    @property
    def name(self) -> str:
        """What an instrument's file calls it."""
        return self.settings.name

    @property
    def described(self) -> str:
        """Say where it is."""
        one = self.settings
        where = f"{one.where}:{one.port}" if one.kind in {"tcp", "udp"} else one.where
        return f"line {one.name} ({where})" if self.config else where


def find(directory: Path, text: str) -> Place:
    """Find the line that is meant. Raises Cannot, or ConfigError if the files that should name it are wrong."""
    found = _PLACES.fullmatch(f"serial:{text}" if text.startswith("/") else text)
    if found is None:
        return _named(load(directory), text)
    settings = _unnamed(found[1] or "url", found[2] or found[3])
    try:
        config = load(directory)
    except ConfigError:
        return Place(settings)  # there is no station yet, or none that runs
    same = next((line for line in config.lines.values() if _is_same(line, settings)), None)
    return Place(same, config) if same else Place(settings)


def with_wire(line: LineSettings, baud: int, parity: str, framer: str) -> LineSettings:
    """Give the line with other bytes on its wire."""
    bits = 8 if framer == "rtu" else line.bits
    char_s = config_lines.char_time_s(baud, bits, parity, line.stop) if framer != "tcp" else 0.0
    least_s = config_lines.rtu_silence_s(baud, char_s) if framer == "rtu" else 0.0
    silence_s = max(least_s, _wanted_silence_s(line))
    return replace(line, baud=baud, bits=bits, parity=parity, framer=framer, char_time_s=char_s, silence_s=silence_s)


def lasting_names(path: str) -> list[str]:
    """List the names of a serial port that stay when adapters are plugged in."""
    real = Path(path).resolve()
    links = (link for folder in _BY_NAME for link in sorted(Path(folder).glob("*")))
    return [str(link) for link in links if link.resolve() == real]


def serial_ports() -> list[str]:
    """List the serial ports that there are, by the names that stay, one for each port."""
    found: dict[Path, str] = {}
    for folder in _BY_NAME:
        for link in sorted(Path(folder).glob("*")):
            found.setdefault(link.resolve(), str(link))
    return list(found.values())


def _wanted_silence_s(line: LineSettings) -> float:
    """Give the silence that its file asks for, 0 if it is that of its speed."""
    is_usual = line.framer == "rtu" and line.silence_s <= config_lines.rtu_silence_s(line.baud, line.char_time_s)
    return 0.0 if is_usual else line.silence_s


def _named(config: Config, name: str) -> Place:
    if name not in config.lines:
        there = ", ".join(config.lines) or "none"
        near = did_you_mean(name, config.lines)
        raise Cannot(
            f"no line {name!r}; lines of station.toml: {there}{near}\n"
            "a place without configuration is written tcp:HOST:PORT or serial:/dev/serial/by-id/…"
        )
    return Place(config.lines[name], config)


def _unnamed(key: str, value: str) -> LineSettings:
    """Make a line as its file would; a port may be called by a name that does not last, for now."""
    report = Report(Words("LINE"))
    path = value if key == "serial" else ""
    raw = LINE.read({key: _ANY_PORT if path else value} | ({"framer": "rtu"} if path else {}), (), report)
    lines = config_lines.lines({NEW: raw}, report)
    if report.problems or NEW not in lines:
        raise Cannot("\n".join(f"{key}:{value}: {one.allowed}" for one in report.problems))
    return replace(lines[NEW], where=path) if path else lines[NEW]


def _is_same(one: LineSettings, other: LineSettings) -> bool:
    if (one.kind, one.port) != (other.kind, other.port):
        return False
    if one.kind == "serial":
        return Path(one.where).resolve() == Path(other.where).resolve()
    return one.where == other.where


class Words:
    """In place of a document: what stands on the command line."""

    def __init__(self, name: str) -> None:
        self.path = Path(name)

    @staticmethod
    def line(_path: tuple[str, ...]) -> int:
        """Give no line."""
        return 0
