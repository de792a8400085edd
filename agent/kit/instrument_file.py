"""Writes the file of an instrument as a technician would: with what the driver measures, and what it can be told."""

from __future__ import annotations

import re
import textwrap
from importlib import import_module
from typing import TYPE_CHECKING, Any

from agent.toml_value import toml_key, toml_value
from drivers import catalogue, registry
from drivers.fields import REQUIRED, Quantity, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from drivers.fields import Key
    from drivers.sample import Channel

WIDTH = 116
_BEFORE_USE = re.compile(r"^BEFORE USE:? ?(.*?)(?=\n\s*\n|\Z)", re.DOTALL | re.MULTILINE)


def text(
    keys: Mapping[str, Any], options: Mapping[str, Any], remarks: Iterable[str] = (), *, has_all: bool = False
) -> str:
    """Write a file. `keys` are driver, line and so on; `has_all`: with the options that are not set as well."""
    width = max(map(len, keys))
    lines = [f"{key:{width}} = {toml_value(value)}" for key, value in keys.items()]
    return "\n".join([*commented(remarks), *lines, *_options(keys["driver"], options, has_all=has_all)]) + "\n"


def commented(remarks: Iterable[str]) -> list[str]:
    """Write remarks as comments, no longer than a line."""
    return [f"## {line}" if line else "" for remark in remarks for line in (textwrap.wrap(remark, WIDTH) or [""])]


def about(driver: str, site: Path | None, channels: Sequence[Channel]) -> list[str]:
    """Say what a driver is for, what it measures, and what its head says under BEFORE USE."""
    head = catalogue.head(driver, site)
    measured = ", ".join(f"{one.name} ({' '.join(filter(None, (one.parameter, one.unit)))})" for one in channels)
    before = _BEFORE_USE.search(head)
    return [
        head.partition("\n")[0],
        f"`stationd drivers {driver}` says how it was checked. Compare the first values with the display.",
        *([f"It measures: {measured}"] if measured else []),
        *([f"BEFORE USE: {' '.join(before[1].split())}"] if before else []),
        "",
    ]


def missing(driver: str, options: Mapping[str, Any]) -> list[str]:
    """Name the options that a driver needs and has not."""
    return [key.name for key in _keys(driver) if key.default is REQUIRED and key.name not in options]


def _keys(driver: str) -> list[Key]:
    if driver not in registry.CODE_DRIVERS:
        return []
    table: Table = import_module(f"drivers.{driver}").OPTIONS
    return list(table.keys.values())


def _options(driver: str, options: Mapping[str, Any], *, has_all: bool) -> list[str]:
    known = {key.name: key for key in _keys(driver)}
    shown = [name for name, key in known.items() if has_all or name in options or key.default is REQUIRED]
    names = [*shown, *(name for name in options if name not in known)]
    if not names:
        return []
    tables = [name for name in names if _is_table(options.get(name))]
    lines: list[str] = []
    for name in (name for name in names if name not in tables):
        lines += [*([] if lines else ["", "[options]"]), *_option(name, known.get(name), options)]
    for name in tables:
        lines += ["", *_doc(known.get(name)), f"[options.{toml_key(name)}]"]
        lines += [f"{toml_key(str(key))} = {toml_value(value)}" for key, value in options[name].items()]
    return lines


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and bool(value)


def _option(name: str, key: Key | None, options: Mapping[str, Any]) -> list[str]:
    if name in options:
        return [*_doc(key), f"{toml_key(name)} = {toml_value(options[name])}"]
    if key is None or key.default is None:
        return [*_doc(key), f"#{toml_key(name)} ="]
    if key.default is REQUIRED:
        return [*_doc(key, "MUST BE SET: "), f"#{toml_key(name)} ="]
    return [*_doc(key), f"#{toml_key(name)} = {toml_value(_default(key))}"]


def _doc(key: Key | None, before: str = "") -> list[str]:
    if key is None:
        return []
    words = getattr(key.kind, "words", None)
    allowed = f" ({', '.join(words)})" if words else ""
    return commented([f"{before}{key.doc}{allowed}"])


def _default(key: Key) -> Any:
    if isinstance(key.kind, Quantity) and not isinstance(key.default, str):
        return f"{key.default:g}s"
    return list(key.default) if isinstance(key.default, tuple) else key.default
