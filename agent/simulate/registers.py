"""A Modbus instrument: answers requests from the registers of its profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.simulate import frames
from agent.simulate.damage import Sum
from agent.simulate.instrument import Reply
from agent.simulate.memory import Memory
from agent.simulate.mood import Mood
from drivers.clock import wall_s
from drivers.modbus import Block
from drivers.sample import Flag

if TYPE_CHECKING:
    from drivers.places import Profile

_ILLEGAL_FUNCTION, _ILLEGAL_ADDRESS = 1, 2
_USUAL = (Flag.FAULT, Flag.CALIBRATION, Flag.MAINTENANCE)


class Registers:
    """The voice of one instrument. It measures once a second, so that the answers of one read belong together.

    The commands of its profile's `[start]` are obeyed, and nothing else that is written.
    """

    every_s: float | None = None

    def __init__(self, name: str, profile: Profile, framer: str, address: int) -> None:
        self._framer, self._address = framer, address
        self._memory = Memory(name, profile)
        self._commands = {command.request: command.answer for command in profile.start.commands}
        self._measured: tuple[int, Flag | None] | None = None
        self.about = "registers of its profile"
        self.sum = Sum.HEAD if framer == "tcp" else Sum.CHECKSUM

    def request_in(self, data: bytes) -> int:
        """See Voice."""
        length = frames.request_in(self._framer, data)
        if length > 0 and frames.opened(self._framer, data[:length]).unit != self._address:
            return frames.NONE
        return length

    def can(self, mood: Mood, flag: Flag | None) -> bool:
        """See Voice."""
        return mood is Mood.REFUSE or self._memory.can_say(flag)

    def reply(self, request: bytes, mood: Mood, flag: Flag | None) -> Reply | None:
        """See Voice."""
        asked = frames.opened(self._framer, request)
        if asked.pdu in self._commands and mood is not Mood.REFUSE:
            return Reply((frames.framed(self._framer, asked, self._commands[asked.pdu]),))
        if asked.read is None:
            return self._exception(asked, _ILLEGAL_FUNCTION)
        self._measure(self._shown(flag) if mood is Mood.FLAG else None)
        block = Block(*asked.read)
        data = None if mood is Mood.REFUSE else self._memory.read(block)
        if data is None:
            return self._exception(asked, _ILLEGAL_ADDRESS)
        answer = frames.framed(self._framer, asked, bytes([asked.pdu[0], len(data)]) + data)
        return Reply((answer,), self._memory.samples(block))

    def _exception(self, asked: frames.Request, code: int) -> Reply:
        return Reply((frames.framed(self._framer, asked, bytes([asked.pdu[0] | 0x80, code])),))

    def _shown(self, flag: Flag | None) -> Flag | None:
        return flag or next((one for one in (*_USUAL, *Flag) if self._memory.can_say(one)), None)

    def _measure(self, flag: Flag | None) -> None:
        at_s = int(wall_s())
        if self._measured != (at_s, flag):
            self._measured = at_s, flag
            self._memory.refresh(at_s, flag)
