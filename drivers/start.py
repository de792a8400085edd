"""What a profile sends when an instrument is started: the only writes that a profile ever makes.

The commands of `[start]` are sent before the first read, and again before the next one when the instrument did not
answer, the line was gone, or something else answered than the profile expects: it may have lost what it was told. Each
must be answered as it should; an instrument that refuses or garbles one is not read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from drivers.driver import Exchange
from drivers.modbus import READ_NONE, Command, frame_sizes, send_command

if TYPE_CHECKING:
    from drivers.line import Line


class Start(NamedTuple):
    """The commands, and how many reads bring nothing after them because the instrument needs the time.

    The first of these reads is the one that sends the commands; it asks for nothing else.
    """

    commands: tuple[Command, ...] = ()
    wait_reads: int = 0

    def plan(self, framer: str) -> list[Exchange]:
        """Name the commands as `stationd check` shows them."""
        return [
            Exchange(_named(command), *frame_sizes(framer, command), is_once=True, is_order=True)
            for command in self.commands
        ]


class Starter:
    """Knows whether one instrument must be started, and whether its values count yet."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._is_due = bool(start.commands)
        self._waiting = 0

    def again(self) -> None:
        """Start the instrument before it is read the next time."""
        self._is_due = bool(self._start.commands)

    def run(self, line: Line, address: int) -> bool:
        """Send the commands if they are due, and say whether this read may ask for values. Raises as a read does."""
        if not self._is_due:
            return True
        for command in self._start.commands:
            send_command(line, address, command)
        self._is_due = False
        self._waiting = max(self._start.wait_reads - 1, 0)
        return not self._start.wait_reads

    def is_settling(self) -> bool:
        """Say whether the values of the read that just ended do not count yet. To be asked once in each read."""
        self._waiting = max(self._waiting - 1, -1)
        return self._waiting >= 0


def _named(command: Command) -> str:
    last = command.register + max(len(command.values), 1) - 1
    span = f"{command.register}" if last == command.register else f"{command.register} to {last}"
    if command.function == READ_NONE:
        return f"at start: READ none from {span}"
    return f"at start: WRITE holding {span}"
