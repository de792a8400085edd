"""Simulated instruments with protocols of their own: a Thermo 49i (C-Link) and a Gill WindSonic."""

from __future__ import annotations

from datetime import UTC, datetime

from agent.simulate import frames
from agent.simulate.damage import Sum
from agent.simulate.instrument import Reply
from agent.simulate.levels import level
from agent.simulate.mood import Mood
from drivers.checksum import sum16, xor8
from drivers.clock import wall_s
from drivers.sample import Channel, Flag

_WORDS = {
    "o3": Channel("o3", "O3", "ppb"),
    "cellai": Channel("cell_a", "cell", "Hz"),
    "cellbi": Channel("cell_b", "cell", "Hz"),
    "bncht": Channel("bench", "temperature", "°C"),
    "lmpt": Channel("lamp", "temperature", "°C"),
    "o3lt": Channel("ozonator", "temperature", "°C"),
    "flowa": Channel("flow_a", "flow", "L/min"),
    "flowb": Channel("flow_b", "flow", "L/min"),
    "pres": Channel("pressure", "pressure", "mmHg"),
}
_NORMAL, _LAMP_TEMPERATURE = 0x0C00_0000, 0x0C00_0004
_DIRECTION = Channel("wind_direction", "wind_direction", "deg")
_SPEED = Channel("wind_speed", "wind_speed", "m/s")


class _Talker:
    """What both have in common: a checksum, and a fault that they can show."""

    about = "made for the demo"
    every_s: float | None = None
    sum = Sum.CHECKSUM

    def __init__(self, name: str) -> None:
        self._name = name

    def request_in(self, data: bytes) -> int:
        """See Voice."""
        del data
        return frames.NONE

    def can(self, mood: Mood, flag: Flag | None) -> bool:
        """See Voice."""
        return mood is Mood.FLAG and flag in {None, Flag.FAULT}


class CLink(_Talker):
    """The voice of a Thermo 49i."""

    def request_in(self, data: bytes) -> int:
        """See Voice."""
        return data.find(b"\r") + 1 or frames.MAY_BECOME

    def reply(self, request: bytes, mood: Mood, flag: Flag | None) -> Reply:
        """See Voice."""
        del flag
        return Reply((c_link(request, self._name, wall_s(), is_faulty=mood is Mood.FLAG),))


class WindSonic(_Talker):
    """The voice of a WindSonic."""

    every_s: float | None = 1.0

    def reply(self, request: bytes, mood: Mood, flag: Flag | None) -> Reply:
        """See Voice."""
        del request, flag
        return Reply((wind_sonic(self._name, wall_s(), is_faulty=mood is Mood.FLAG),))


def c_link(command: bytes, name: str, at_s: float, *, is_faulty: bool) -> bytes:
    """Answer a command of C-Link, its prefix byte and CR included, with a checksum."""
    word = command.lstrip(bytes(range(0x80, 0x100))).rstrip(b"\r").decode("ascii", "replace").lower()
    text = f"lrec\n{_record(name, at_s, is_faulty=is_faulty)}*" if word == "lrec" else f"{word} bad cmd"
    return f"{text}\nsum {sum16(text.encode()):04x}\r".encode()


def _record(name: str, at_s: float, *, is_faulty: bool) -> str:
    moment = datetime.fromtimestamp(at_s, UTC).strftime("%H:%M %m-%d-%y")
    values = " ".join(f"{word} {level(channel, name, at_s):.3f}" for word, channel in _WORDS.items())
    return f"{moment}  flags {_LAMP_TEMPERATURE if is_faulty else _NORMAL:X} {values}"


def wind_sonic(name: str, at_s: float, *, is_faulty: bool) -> bytes:
    """Give one message of a WindSonic in its continuous polar format."""
    direction, speed = level(_DIRECTION, name, at_s) % 360, abs(level(_SPEED, name, at_s))
    status = "01" if is_faulty else "00"
    text = f"Q,{int(direction):03d},{speed:06.2f},M,{status},".encode()
    return b"\x02" + text + b"\x03" + f"{xor8(text):02X}\r\n".encode()
