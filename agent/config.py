"""Reads the configuration directory: `station.toml`, `instruments/*.toml` and the site's `profiles/*.toml`."""

from agent.settings import (
    BrokerSettings,
    ClockSettings,
    Config,
    InstrumentSettings,
    LineSettings,
    SpoolSettings,
    StationSettings,
)

__all__ = [
    "BrokerSettings",
    "ClockSettings",
    "Config",
    "InstrumentSettings",
    "LineSettings",
    "SpoolSettings",
    "StationSettings",
]
