"""The command `stationd add`: writes the file of one instrument, with what is known of its driver, and checks it."""

from __future__ import annotations

import tomllib
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from agent.config import load
from agent.config_definitions import NAMES
from agent.config_instruments import OWN_NAME
from agent.kit import instrument_file
from agent.plan import line_plans
from drivers import registry
from drivers.errors import ConfigError
from drivers.fields import NAME, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from agent.settings import Config
    from drivers.sample import Channel


class Wanted(NamedTuple):
    """What the command was told; `options` are written KEY=VALUE."""

    driver: str
    name: str
    line: str
    address: int | None = None
    interval: str = "60s"
    options: tuple[str, ...] = ()


class WrongWords(Exception):
    """What was told cannot be; nothing was written."""


def add(directory: Path, wanted: Wanted, out: IO[str]) -> int:
    """Write the file and check it; gives the exit status, 1 if it was not written or has problems."""
    config = load(directory)
    file = directory / "instruments" / f"{wanted.name}{registry.SUFFIX}"
    try:
        _check(config, wanted)
        _write(file, text(config, wanted))
    except WrongWords as error:
        print(error, file=out)
        return 1
    print(f"{file} is written", file=out)
    return _checked(load(directory), file, wanted, out)


def text(config: Config, wanted: Wanted) -> str:
    """Give the file. Raises WrongWords for an option that is not written KEY=VALUE."""
    options = read_options(wanted.options)
    site = config.directory / "profiles"
    keys: dict[str, Any] = {"driver": wanted.driver, "line": wanted.line}
    keys |= {} if wanted.address is None else {"address": wanted.address}
    remarks = instrument_file.about(wanted.driver, site, _channels(wanted.driver, options, site))
    return instrument_file.text(keys | {"interval": wanted.interval}, options, remarks, has_all=True)


def read_options(words: Iterable[str]) -> dict[str, Any]:
    """Read options: a key may have dots, and a value that is not TOML is a text. Raises WrongWords."""
    options: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.strip():
            raise WrongWords(f"option {word!r}: expected KEY=VALUE, like model=49i")
        _lay(options, _option(key.strip(), value.strip()))
    return options


def _option(key: str, value: str) -> dict[str, Any]:
    try:
        return tomllib.loads(f"{key} = {value}")
    except tomllib.TOMLDecodeError:
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    try:
        return tomllib.loads(f'{key} = "{quoted}"')
    except tomllib.TOMLDecodeError as error:
        raise WrongWords(f"option {key}={value}: cannot be read: {error}") from error


def _lay(into: dict[str, Any], what: dict[str, Any]) -> None:
    for key, value in what.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _lay(into[key], value)
        else:
            into[key] = value


def _check(config: Config, wanted: Wanted) -> None:
    """Refuse what can only be a slip; other mistakes are told by the check of the file."""
    drivers = registry.names(config.directory / "profiles")
    if wanted.driver not in drivers:
        near = did_you_mean(wanted.driver, drivers)
        raise WrongWords(f"no driver {wanted.driver!r}{near}\n`stationd drivers` lists those that there are")
    if wanted.line not in config.lines:
        there = ", ".join(config.lines) or "none"
        near = did_you_mean(wanted.line, config.lines)
        raise WrongWords(f"no line {wanted.line!r}; lines of station.toml: {there}{near}")
    if not NAME.fullmatch(wanted.name) or wanted.name == OWN_NAME:
        raise WrongWords(f"name {wanted.name!r}: allowed are {NAMES}, and not {OWN_NAME!r}")


def _channels(driver: str, options: dict[str, Any], site: Path) -> Sequence[Channel]:
    try:
        return registry.load(driver, options, site).channels
    except ConfigError:
        return ()  # the check tells what is missing


def _write(file: Path, content: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(content)
    except FileExistsError as error:
        raise WrongWords(f"{file} is there already; edit it, or take another name") from error
    except OSError as error:
        advice = "; use sudo" if isinstance(error, PermissionError) else ""
        raise WrongWords(f"{file}: cannot be written: {error.strerror}{advice}") from error


def _checked(config: Config, file: Path, wanted: Wanted, out: IO[str]) -> int:
    profile = registry.profile_file(wanted.driver, config.directory / "profiles")
    files = {one.absolute() for one in (file, profile) if one}
    problems = [one for one in config.problems if one.file.absolute() in files]
    for problem in problems:
        print(problem, file=out)
    if problems:
        print("it is not asked until this is mended; `stationd check` says whether it is", file=out)
        return 1
    for plan in line_plans(config):
        if plan.line.name == wanted.line and (hurt := plan.overload() or plan.lateness()):
            print(f"notice: {hurt}", file=out)
    print(f"no problems; `stationd poll {wanted.name}` asks once, then: systemctl restart stationd", file=out)
    return 0
