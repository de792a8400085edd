"""Writes the configuration of the simulated station: that of the real one, with its lines put elsewhere."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from agent.simulate.toml import text_of
from drivers import toml_file
from drivers.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HEAD = "# Written by `stationd simulate`; changes are lost.\n"
_PLACES = ("tcp", "serial", "url", "udp", "sender")
_OF_THE_REAL_BROKER = ("username", "password_file", "ca_file", "certificate_file", "key_file")
_FILES = _OF_THE_REAL_BROKER[1:]
_FOLDERS = ("instruments", "profiles")


def check(out: Path, directory: Path) -> None:
    """Raise ConfigError if something that was written by hand would be written over, or deleted."""
    file = out / "station.toml"
    is_ours = file.is_file() and file.read_bytes().startswith(HEAD.encode())
    there = [out / name for name in (file.name, *_FOLDERS) if (out / name).exists()]
    if there and (out.resolve() == directory.resolve() or not is_ours):
        raise ConfigError([Problem(there[0], 0, "", "", "is not from here; choose another folder")])


def write(out: Path, directory: Path, places: Mapping[str, Mapping[str, str]], broker: str | None, spool: Path) -> None:
    """Copy a configuration; `places` says for each line where it is now, `broker` None keeps that of the station."""
    check(out, directory)
    data = toml_file.load(directory / "station.toml").data
    for name, line in data.get("lines", {}).items():
        data["lines"][name] = dict(places[name]) | {key: it for key, it in line.items() if key not in _PLACES}
    data["broker"] = _broker(data["broker"], broker, directory)
    data["spool"] = data.get("spool", {}) | {"path": str(spool)}
    out.mkdir(parents=True, exist_ok=True)
    (out / "station.toml").write_text(HEAD + text_of(data), encoding="utf-8")
    for folder in _FOLDERS:
        shutil.rmtree(out / folder, ignore_errors=True)
        if (directory / folder).is_dir():
            shutil.copytree(directory / folder, out / folder)


def _broker(keys: dict[str, Any], url: str | None, directory: Path) -> dict[str, Any]:
    if url:
        return {key: it for key, it in keys.items() if key not in _OF_THE_REAL_BROKER} | {"url": url}
    return keys | {key: str(directory.absolute() / keys[key]) for key in _FILES if key in keys}
