"""Puts what was answered into the shipped station.toml, which explains every key."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from agent.config_definitions import ABSENT, LINE
from agent.toml_value import toml_key, toml_value

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLACES = {
    "id": ("station", "id"),
    "name": ("station", "name"),
    "broker": ("broker", "url"),
    "username": ("broker", "username"),
    "password_file": ("broker", "password_file"),
}
_WIRE = ("baud", "bits", "parity", "stop")
_WHERE = ("tcp", "udp", "serial", "url", "sender")


def station_text(example: str, given: Mapping[str, Any]) -> str:
    """Give the whole file; the lines of the example make place for those that are given."""
    head = example.partition("\n[lines.")[0]
    for name, (section, key) in _PLACES.items():
        if given.get(name) is not None:
            head = _set(head, section, key, given[name])
    lines = [_line(name, keys, has_all=not place) for place, (name, keys) in enumerate(given.get("lines", {}).items())]
    return "\n".join([head.rstrip("\n"), *(lines or ["", "#[lines.rs485]", '#serial = "/dev/serial/by-id/…"'])]) + "\n"


def _set(text: str, section: str, key: str, value: Any) -> str:
    """Set a key of a section, where it stands already, as a comment or not."""
    begin = text.index(f"[{section}]")
    end = text.find("\n[", begin)
    end = len(text) if end < 0 else end
    row = f"{key} = {toml_value(value)}"
    body = re.sub(rf"^#?{key} *=.*$", lambda _: row, text[begin:end], count=1, flags=re.MULTILINE)
    return text[:begin] + body + text[end:]


def _line(name: str, keys: Mapping[str, Any], *, has_all: bool) -> str:
    """Write a line; the first one shows all the keys that it may have."""
    rows = ["", f"[lines.{toml_key(name)}]", *(f"{key} = {toml_value(value)}" for key, value in keys.items())]
    has_wire = "tcp" not in keys or keys.get("framer", "tcp") != "tcp"
    for key in LINE.keys.values() if has_all else ():
        if key.name in keys or key.name in _WHERE or (key.name in _WIRE and not has_wire) or key.name == "framer":
            continue
        shown = f" {toml_value(key.default)}" if key.default not in {None, ABSENT} else ""
        rows += [f"## {key.doc}", f"#{key.name} ={shown}"]
    return "\n".join(rows)
