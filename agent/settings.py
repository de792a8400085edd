"""What the configuration says, checked and converted: times in seconds, sizes in bytes, paths absolute."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping
    from pathlib import Path

    from drivers.driver import Driver
    from drivers.errors import Problem


@dataclass(frozen=True, slots=True)
class StationSettings:
    """Who this station is."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Where records go, and how patiently. `protocol` is "5" or "3.1.1".

    `backfill_values_s` and `backfill_bytes_s` pace the backlog and what was asked for. `waits_for_receipt`: a record
    counts as delivered when the platform says so, not when the broker does. `pack_after_s`: so long
    without a session, and messages are made of the backlog.
    """

    host: str
    port: int
    uses_tls: bool
    protocol: str
    client_id: str
    prefix: str
    username: str | None
    password_file: Path | None
    ca_file: Path | None
    certificate_file: Path | None
    key_file: Path | None
    keepalive_s: float
    reconnect_max_s: float
    connect_timeout_s: float
    ack_timeout_s: float
    in_flight: int
    message_bytes: int
    backfill_values_s: float = 50_000.0
    backfill_bytes_s: float = 1e6
    pack_after_s: float = 60.0
    waits_for_receipt: bool = False
    receipt_timeout_s: float = 300.0


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """Where records are stored, how soon they are safe and how long they stay."""

    path: Path
    commit_interval_s: float
    keep_s: float
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ClockSettings:
    """What makes the clock trusted (`auto`, `ntp`, `rtc`, `always`), and how long records wait for that."""

    trust: str
    hold_s: float


@dataclass(frozen=True, slots=True)
class LineSettings:
    """One line. `kind` is `tcp`, `udp`, `serial` or `rfc2217`; `where` the host, the path or the URL.

    `silence_s` is what the line needs between conversations; `char_time_s` the time of one character on its wire,
    0 where the wire has no baud rate. `max_block` bounds the registers of one request; `echo` is `local`
    where the adapter hears itself. `answer_delay_s` is how long instruments think before they answer: it is planned
    with, never waited for. `sender` is the only one listened to on `udp`, "" for anyone.
    """

    name: str
    kind: str
    where: str
    port: int
    framer: str
    baud: int
    bits: int
    parity: str
    stop: int
    timeout_s: float
    silence_s: float
    max_block: int
    char_time_s: float
    echo: str = "none"
    answer_delay_s: float = 0.02
    sender: str = ""

    @property
    def speaks_modbus(self) -> bool:
        """Whether Modbus frames are on it, rather than the instruments' own protocols."""
        return self.framer != "none"


@dataclass(frozen=True, slots=True)
class InstrumentSettings:
    """One instrument to be polled. `channels` are the names to publish, in the driver's order.

    `timeout_s` overrides the line's; `silence_s` is asked for on top of the line's. `options` are the driver's, as
    they stand in the file. `reads` matches what the driver sends that changes no instrument, None: all that it sends.
    """

    name: str
    driver_name: str
    driver: Driver
    line: str
    address: int
    interval_s: float
    timeout_s: float | None
    silence_s: float
    channels: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    reads: re.Pattern[bytes] | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """A whole station. `problems` are those of instrument and profile files: each costs only its instrument.

    `inactive` names the instruments that are switched off; `notices` are worth a line at start and are no mistakes.
    `hash` changes with any byte of any file.
    """

    directory: Path
    station: StationSettings
    broker: BrokerSettings
    spool: SpoolSettings
    clock: ClockSettings
    lines: Mapping[str, LineSettings]
    instruments: Mapping[str, InstrumentSettings]
    inactive: tuple[str, ...]
    problems: tuple[Problem, ...]
    notices: tuple[str, ...]
    hash: str
