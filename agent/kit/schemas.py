"""The JSON Schemas of our three kinds of file, for editors; made of the definitions that read the files."""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING, Any

from agent.config_definitions import INSTRUMENT, STATION
from drivers.profile_kinds import ANY_PROFILE
from drivers.registry import CODE_DRIVERS

if TYPE_CHECKING:
    from pathlib import Path

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TITLES = {
    "station": "station.toml of stationd: the station, its broker, spool, clock and lines",
    "instrument": "instruments/<name>.toml of stationd: one instrument",
    "profile": "profiles/<maker>_<model>.toml of stationd: registers of a Modbus instrument, or lines of text",
}


def schemas() -> dict[str, dict[str, Any]]:
    """Give each schema by the kind of file: station, instrument, profile."""
    bodies = {"station": STATION.schema(), "instrument": _instrument(), "profile": ANY_PROFILE.schema()}
    return {kind: {"$schema": DIALECT, "title": _TITLES[kind]} | body for kind, body in bodies.items()}


def write(directory: Path) -> None:
    """Write station.schema.json, instrument.schema.json and profile.schema.json."""
    directory.mkdir(parents=True, exist_ok=True)
    for kind, schema in schemas().items():
        (directory / f"{kind}.schema.json").write_text(text(schema), encoding="utf-8")


def text(schema: dict[str, Any]) -> str:
    """Write one schema as it stands in its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _instrument() -> dict[str, Any]:
    """Describe an instrument, with the options of each code driver where its name is given."""
    return INSTRUMENT.schema() | {"allOf": [_options(name) for name in CODE_DRIVERS]}


def _options(name: str) -> dict[str, Any]:
    options = import_module(f"drivers.{name}").OPTIONS.schema()
    needed = {"required": ["options"]} if options["required"] else {}
    is_it = {"properties": {"driver": {"const": name}}, "required": ["driver"]}
    return {"if": is_it, "then": {"properties": {"options": options}} | needed}
