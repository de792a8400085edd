"""A station of all drivers there are, as often as it takes: profiles over every kind of Modbus, others on ptys and TCP.

The options of a code driver or a text profile are those of one of its transcripts, so that it can be played.
"""

from __future__ import annotations

import random
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.simulate.toml import text_of
from drivers import registry, transcript
from drivers.registers import ProfileDriver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHARED = {
    "rtu": {"serial": "/dev/none/rtu", "framer": "rtu", "baud": 115_200},
    "ascii": {"serial": "/dev/none/ascii", "framer": "ascii", "baud": 115_200},
    "device_server": {"tcp": "192.0.2.1:4001", "framer": "rtu", "baud": 115_200},
    "rfc2217": {"url": "rfc2217://192.0.2.1:4002", "framer": "rtu", "baud": 115_200},
}
"""Lines that several Modbus instruments share; on the last there is one of another protocol as well."""

OTHERS_IN_A_ROW = 4


class Planned(NamedTuple):
    """One instrument: its file, and its line if it has one of its own."""

    name: str
    file: dict[str, Any]
    line: dict[str, Any] | None


def plan(count: int, seed: int) -> list[Planned]:
    """Choose so many instruments: every driver in turn, every protocol before every profile of registers."""
    dice = random.Random(seed)
    modbus, others = cycle(["tcp", *SHARED]), cycle(_lines_of_others())
    turns = cycle(_in_turn(dice))
    return [_planned(number, next(turns), modbus, others, dice) for number in range(count)]


def write(directory: Path, instruments: list[Planned], broker: str) -> None:
    """Write the configuration of a station that is nowhere: `stationd simulate` puts its lines on this machine."""
    (directory / "instruments").mkdir(parents=True)
    lines = {name: dict(line) for name, line in SHARED.items() if any(one.file["line"] == name for one in instruments)}
    lines |= {one.file["line"]: one.line for one in instruments if one.line}
    broker_keys = {"url": broker, "reconnect_max": "2s"}
    station = {"station": {"id": "MIXED"}, "broker": broker_keys, "clock": {"trust": "always"}, "lines": lines}
    (directory / "station.toml").write_text(text_of(station), encoding="utf-8")
    for one in instruments:
        (directory / "instruments" / f"{one.name}.toml").write_text(text_of(one.file), encoding="utf-8")


def _in_turn(dice: random.Random) -> list[str]:
    """Give all drivers: one profile of registers, all of which speak Modbus, after some others as long as there are."""
    names = registry.names()
    dice.shuffle(names)
    registers = [name for name in names if _case(name, dice).framer != "none"]
    others = [name for name in names if name not in registers]
    for place in range(OTHERS_IN_A_ROW, len(names), OTHERS_IN_A_ROW + 1):
        others[place:place] = registers[:1]
        del registers[:1]
    return others + registers


def _lines_of_others() -> list[dict[str, Any]]:
    """Give the kinds of lines of instruments that speak no Modbus."""
    return [{"serial": "/dev/none/{}", "framer": "none"}, {"tcp": "192.0.2.1:{}", "framer": "none"}]


def _planned(
    number: int, driver: str, modbus: Iterator[str], others: Iterator[dict[str, Any]], dice: random.Random
) -> Planned:
    name = f"i{number:02d}_{driver}"
    case = _case(driver, dice)
    built = registry.load(driver, case.options)
    if isinstance(built, ProfileDriver):
        place = next(modbus)
        own = {"tcp": f"192.0.2.1:{5000 + number}"} if place == "tcp" else None
        file = {"driver": driver, "line": name if own else place, "address": 1 + number, "interval": "1s"}
        return Planned(name, file, own)
    file = {"driver": driver, "line": name, "address": case.address, "interval": "2s", "options": case.options}
    is_silent_listener = not any(entry.mark == ">" for poll in case.polls for entry in poll.entries)
    if is_silent_listener and dice.random() < 0.5:  # who acknowledges what is pushed needs a line to write to
        return Planned(name, file, {"udp": f"127.0.0.1:{6000 + number}", "framer": "none"})
    line = {key: where.format(6000 + number) for key, where in next(others).items()}
    return Planned(name, file, line)


def _case(driver: str, dice: random.Random) -> transcript.Transcript:
    return dice.choice([case for case in map(transcript.load, transcript.files(driver)) if _is_good(case)])


def _is_good(case: transcript.Transcript) -> bool:
    return any(poll.samples and not poll.error for poll in case.polls)
