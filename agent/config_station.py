"""What station.toml says, apart from its lines: checked as a whole, paths made absolute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.config_definitions import BROKER_URL
from agent.settings import BrokerSettings, ClockSettings, SpoolSettings, StationSettings

if TYPE_CHECKING:
    from pathlib import Path

    from drivers.fields import Report

Raw = dict[str, Any]

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_TLS_KEYS = ("ca_file", "certificate_file", "key_file")
_NEEDS = (
    ("password_file", "username"),
    ("key_file", "certificate_file"),
    ("certificate_file", "key_file"),
)


def check_broker(raw: Raw, report: Report) -> None:
    """Report keys of [broker] that do not fit together."""
    scheme, _, port = _url(raw)
    for key in _TLS_KEYS:
        if raw[key] is not None and scheme == "mqtt":
            report.add(("broker", key), raw[key], "needs an address that begins with mqtts://")
    for key, needed in _NEEDS:
        if raw[key] is not None and raw[needed] is None:
            report.add(("broker", key), raw[key], f"needs {needed} as well")
    if raw["url"] is not None and not 1 <= port <= 65_535:
        report.add(("broker", "url"), raw["url"], "allowed: a port from 1 to 65535")


def station(raw: Raw) -> StationSettings:
    """Convert [station]."""
    return StationSettings(raw["id"], raw["name"] or raw["id"])


def broker(raw: Raw, directory: Path, station_id: str) -> BrokerSettings:
    """Convert [broker]."""
    scheme, host, port = _url(raw)
    return BrokerSettings(
        host=host,
        port=port,
        uses_tls=scheme == "mqtts",
        protocol=raw["protocol"],
        client_id=raw["client_id"] or station_id,
        prefix=raw["prefix"],
        username=raw["username"],
        password_file=_path(raw["password_file"], directory),
        ca_file=_path(raw["ca_file"], directory),
        certificate_file=_path(raw["certificate_file"], directory),
        key_file=_path(raw["key_file"], directory),
        keepalive_s=raw["keepalive"],
        reconnect_max_s=raw["reconnect_max"],
        connect_timeout_s=raw["connect_timeout"],
        ack_timeout_s=raw["ack_timeout"],
        in_flight=raw["in_flight"],
        message_bytes=int(raw["message_size"]),
        backfill_values_s=raw["backfill_rate"],
        backfill_bytes_s=raw["backfill_traffic"],
        pack_after_s=raw["pack_after"],
        waits_for_receipt=raw["delivered_by"] == "receipt",
        receipt_timeout_s=raw["receipt_timeout"],
    )


def spool(raw: Raw, directory: Path) -> SpoolSettings:
    """Convert [spool]."""
    return SpoolSettings(directory / raw["path"], raw["commit_interval"], raw["keep"], int(raw["size"]))


def clock(raw: Raw) -> ClockSettings:
    """Convert [clock]."""
    return ClockSettings(raw["trust"], raw["hold"])


def _url(raw: Raw) -> tuple[str, str, int]:
    """Give scheme, host and port of the broker's address; nothing, if it was wrong."""
    found = BROKER_URL.fullmatch(raw["url"] or "")
    if not found:
        return "", "", 0
    scheme, host, port = found.groups()
    return scheme, host.strip("[]"), int(port) if port else _PORTS[scheme]


def _path(written: str | None, directory: Path) -> Path | None:
    return None if written is None else directory / written
