"""The simulated instruments of the demo on their lines, in a thread of their own, with a spell of trouble now and then.

They know nothing of the daemon, and it nothing of them: it opens ports and gets answers.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from agent.config import load
from agent.demo.plan import C_LINK, INSTRUMENTS, WIND, write_files
from agent.demo.talkers import CLink, WindSonic
from agent.simulate.mood import Mood
from agent.simulate.station import Station
from drivers.clock import wall_s
from drivers.sample import Flag

if TYPE_CHECKING:
    from pathlib import Path

    from agent.simulate.instrument import Voice

_SPELL_EVERY_S, _SPELL_S = 60, 8
_SPELLS = (None, Flag.CALIBRATION, Flag.FAULT, Flag.MAINTENANCE)
_TURN_S = 0.2


class Simulation:
    """All instruments; starts on `start`. `places` says where their lines are; `has_spells`: they have trouble."""

    def __init__(self, directory: Path) -> None:
        write_files(directory / "plan", 1883, directory / "none.db", "5")
        voices: dict[str, Voice] = {C_LINK: CLink(C_LINK), WIND: WindSonic(WIND)}
        self._station = Station(load(directory / "plan"), directory, voices=voices)
        self.instruments = self._station.instruments
        self.places = {name: end.place for name, end in self._station.ends.items()}
        self.has_spells = True
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="instruments", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """End, and close every port."""
        self._is_closed = True
        self._thread.join()
        self._station.close()

    def _run(self) -> None:
        while not self._is_closed:
            if self.has_spells:
                self._spells()
            self._station.wires.turn(_TURN_S)

    def _spells(self) -> None:
        """Let each instrument show its flag for a few seconds in every minute, if it is neither silent nor without."""
        for number, planned in enumerate(INSTRUMENTS):
            since_s = (wall_s() - 5 * number) % _SPELL_EVERY_S
            flag, instrument = _SPELLS[number % len(_SPELLS)], self.instruments[planned.name]
            is_due = flag is not None and since_s < _SPELL_S and instrument.voice.can(Mood.FLAG, flag)
            if instrument.mood is (Mood.WELL if is_due else Mood.FLAG):
                instrument.be(Mood.FLAG if is_due else Mood.WELL, flag=flag)
