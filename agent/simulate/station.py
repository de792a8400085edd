"""All lines of a configuration with their instruments, played on this machine."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

from agent.simulate import casting
from agent.simulate.ends import SerialEnd, TcpEnd, UdpEnd
from agent.simulate.instrument import Instrument
from agent.simulate.truth import Truth
from agent.simulate.wires import Wires

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from agent.settings import Config, LineSettings
    from agent.simulate.ends import End
    from agent.simulate.instrument import Voice


class Station:
    """Begins to play as soon as it is made, as often as `wires.turn` is called.

    `links` is the folder for the names of serial ports; `voices` are those of instruments that are not played from
    profile or transcripts; TCP ports count up from `first_port`, 0: any that are free.
    """

    def __init__(
        self,
        config: Config,
        links: Path,
        *,
        truth: Truth | None = None,
        voices: Mapping[str, Voice] | None = None,
        first_port: int = 0,
        dice: random.Random | None = None,
    ) -> None:
        self.wires = Wires()
        self.truth = truth or Truth()
        self.instruments: dict[str, Instrument] = {}
        self.ends: dict[str, End] = {}
        self._links, self._port = links, first_port
        dice = dice or random.Random()  # noqa: S311  no secret
        for name, one in config.instruments.items():
            voice = (voices or {}).get(name) or casting.voice(one, config.lines[one.line], config.directory)
            self.instruments[name] = Instrument(name, voice, self.truth, dice)
        for name, line in config.lines.items():
            here = [self.instruments[one.name] for one in config.instruments.values() if one.line == name]
            self.ends[name] = self._end(line, here)
            for instrument in here:
                if instrument.voice.every_s:
                    self._talk(self.ends[name], instrument, instrument.voice.every_s)

    def close(self) -> None:
        """Take every line out."""
        for end in self.ends.values():
            end.unplug()
        self.wires.close()

    def _end(self, line: LineSettings, instruments: list[Instrument]) -> End:
        if line.kind == "serial":
            return SerialEnd(line, instruments, self.wires, self._links / line.name)
        port = self._port
        self._port += bool(port)
        return UdpEnd(self.wires, port) if line.kind == "udp" else TcpEnd(line, instruments, self.wires, port)

    def _talk(self, end: End, instrument: Instrument, every_s: float) -> None:
        """Let an instrument talk unasked, for good."""
        end.say(instrument.answers())
        self.wires.after(every_s, partial(self._talk, end, instrument, every_s))
