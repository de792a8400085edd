"""A configuration in a folder, played by `agent.simulate` in a thread of the test and read as the daemon reads it."""

from __future__ import annotations

import io
import json
import threading

from agent.config import load
from agent.lines import open_line
from agent.simulate import files
from agent.simulate.commands import Commands
from agent.simulate.station import Station
from agent.simulate.toml import text_of
from agent.simulate.truth import Truth
from drivers.line import Timing

BROKER = {"url": "mqtt://192.0.2.1:1883"}


def write(folder, lines, instruments, **more):
    """Write a configuration; `instruments` are the contents of their files by name."""
    (folder / "instruments").mkdir(parents=True)
    station = {"station": {"id": "DL-001"}, "broker": BROKER, "lines": lines} | more
    (folder / "station.toml").write_text(text_of(station))
    for name, keys in instruments.items():
        (folder / "instruments" / f"{name}.toml").write_text(text_of({"interval": "1s"} | keys))
    return folder


class Played:
    """A station that is played until `close`."""

    def __init__(self, folder, lines, instruments):
        directory = write(folder / "etc", lines, instruments)
        config = load(directory)
        assert not config.problems, config.problems
        self._log = io.StringIO()
        links = folder / "lines"
        links.mkdir()
        self.station = Station(config, links, truth=Truth(self._log))
        self.commands = Commands(self.station)
        out = folder / "out"
        places = {name: end.place for name, end in self.station.ends.items()}
        files.write(out, directory, places, None, folder / "spool.db")
        self.config = load(out)
        assert not self.config.problems, self.config.problems
        self._todo, self._is_closed = [], False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def do(self, text):
        """Give a command, in the thread in which everything happens."""
        done = threading.Event()
        said = []
        self._todo.append(lambda: (said.append(self.commands.do(text)), done.set()))
        assert done.wait(5)
        return said[0]

    def line(self, name):
        """Open the line of an instrument."""
        return open_line(self.config.lines[self.config.instruments[name].line])

    def read(self, name, line=None):
        """Read an instrument once, as a poller does."""
        one = self.config.instruments[name]
        used = line or self.line(name)
        used.timing = Timing(one.timeout_s or used.timing.timeout_s, used.timing.silence_s + one.silence_s)
        try:
            return list(one.driver.read(used, one.address))
        finally:
            if line is None:
                used.close()

    def said(self, name):
        """Give what an instrument meant to say so far, by channel: all values, and all flags."""
        values, flags = {}, {}
        for line in map(json.loads, self._log.getvalue().splitlines()):
            if line.get("instrument") == name:
                for channel, value in line["values"].items():
                    values.setdefault(channel, []).append(value)
                    flags.setdefault(channel, set()).add(line.get("flags", {}).get(channel, "ok"))
        return values, flags

    def close(self):
        self._is_closed = True
        self._thread.join(5)
        self.station.close()

    def _run(self):
        while not self._is_closed:
            while self._todo:
                self._todo.pop(0)()
            self.station.wires.turn(0.02)
