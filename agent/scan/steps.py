"""What a scan does in which order: the wires that are tried, and what is done on each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from agent.kit.place import with_wire

if TYPE_CHECKING:
    from agent.kit.place import Place
    from agent.settings import LineSettings

USUAL_ADDRESSES = (*range(1, 33), 240, 247)
"""The lowest, and those of Vaisala probes and of Liquiline transmitters as delivered."""
QUICK_ADDRESSES = tuple(range(1, 9))
NEW_BAUDS = (9600, 19200)
_MODBUS_PORT = 502
_SERIAL_S, _TCP_S = 0.3, 1.0
_RANGE = re.compile(r"(\d{1,3})(?:-(\d{1,3}))?")
_LAST_ADDRESS = 247


class Wanted(NamedTuple):
    """What the command was told; None where it was told nothing."""

    line: str
    addresses: tuple[int, ...] | None = None
    bauds: tuple[int, ...] | None = None
    parities: tuple[str, ...] | None = None
    timeout_s: float | None = None
    listen_s: float | None = None
    is_quick: bool = False

    @property
    def modbus_addresses(self) -> tuple[int, ...]:
        """Which addresses are asked for registers."""
        return self.addresses or (QUICK_ADDRESSES if self.is_quick else USUAL_ADDRESSES)


class Step(NamedTuple):
    """One wire, and what is done on it: listening for so long, questions, a sweep of Modbus addresses."""

    settings: LineSettings
    listen_s: float
    asks: bool
    sweeps: bool
    timeout_s: float


def steps(place: Place, wanted: Wanted, *, is_through_daemon: bool) -> list[Step]:
    """Plan a scan, wire by wire."""
    line = place.settings
    listen_s = wanted.listen_s if wanted.listen_s is not None else 2.0 if wanted.is_quick else 5.0
    timeout_s = wanted.timeout_s or (_TCP_S if line.kind == "tcp" else _SERIAL_S)
    if is_through_daemon or (line.framer == "tcp" and place.config):
        asks = line.framer != "tcp" and not talkers(place)
        return [Step(line, 0.0, asks=asks, sweeps=line.speaks_modbus, timeout_s=timeout_s)]
    if line.kind == "udp":
        return [Step(line, listen_s, asks=False, sweeps=False, timeout_s=timeout_s)]
    if line.framer == "tcp":
        return _new_tcp(line, listen_s, timeout_s)
    return [one for wire in _wires(place, wanted) for one in _on_wire(wire, line.framer, listen_s, timeout_s)]


def talkers(place: Place) -> list[str]:
    """Name the instruments of a line that talk unasked: who asks there garbles them."""
    known = place.config.instruments.values() if place.config else ()
    return [one.name for one in known if one.line == place.name and getattr(one.driver, "unsolicited", False)]


def span_s(step: Step, addresses: int, *, is_quick: bool) -> float:
    """Give how long listening and the sweep of a step take at most if nobody answers."""
    wire_s = step.timeout_s + step.settings.silence_s + 8 * step.settings.char_time_s
    sweep_s = addresses * wire_s * (1 if is_quick else 2) if step.sweeps else 0.0
    return step.listen_s + sweep_s


def wire(line: LineSettings) -> str:
    """Say what a wire is like."""
    if not line.char_time_s or line.kind == "tcp":
        return "" if line.framer == "none" else f"Modbus {line.framer.upper()}"
    return f"{line.baud} {line.bits}{line.parity[0].upper()}{line.stop}"


def read_ranges(text: str, last: int = _LAST_ADDRESS) -> tuple[int, ...]:
    """Read "1-32,247". Raises ValueError."""
    found: dict[int, None] = {}
    for part in text.replace(" ", "").split(","):
        bounds = _RANGE.fullmatch(part)
        low, high = (int(bounds[1]), int(bounds[2] or bounds[1])) if bounds else (1, 0)
        if not 0 <= low <= high <= last:
            raise ValueError(f"found {part!r}; expected addresses from 0 to {last}, like 1-32,247")
        found |= dict.fromkeys(range(low, high + 1))
    return tuple(found)


def _new_tcp(line: LineSettings, listen_s: float, timeout_s: float) -> list[Step]:
    """Try what a TCP port may speak: that of Modbus is asked for Modbus first, for some servers hang up on others."""
    modbus = Step(line, 0.0, asks=False, sweeps=True, timeout_s=timeout_s)
    text = with_wire(line, line.baud, line.parity, "none")
    rtu = with_wire(line, line.baud, line.parity, "rtu")
    others = [
        Step(text, listen_s, asks=True, sweeps=False, timeout_s=timeout_s),
        Step(rtu, 0.0, asks=False, sweeps=True, timeout_s=timeout_s),
    ]
    return [modbus, *others] if line.port == _MODBUS_PORT else [others[0], modbus, others[1]]


def _wires(place: Place, wanted: Wanted) -> list[LineSettings]:
    line = place.settings
    if line.kind == "tcp":
        return [line]
    usual = (line.baud,) if place.config or wanted.is_quick else NEW_BAUDS
    return [
        with_wire(line, baud, parity, line.framer)
        for baud in wanted.bauds or usual
        for parity in wanted.parities or (line.parity,)
    ]


def _on_wire(line: LineSettings, framer: str, listen_s: float, timeout_s: float) -> list[Step]:
    modbus = "ascii" if framer == "ascii" else "rtu"
    text, registers = (with_wire(line, line.baud, line.parity, one) for one in ("none", modbus))
    return [
        Step(text, listen_s, asks=True, sweeps=False, timeout_s=timeout_s),
        Step(registers, 0.0, asks=False, sweeps=True, timeout_s=timeout_s),
    ]
