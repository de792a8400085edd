"""`stationd simulate`: plays all instruments of a configuration, on ports of this machine."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from agent.config import load
from agent.simulate import files
from agent.simulate.commands import Commands, Wrong, script
from agent.simulate.station import Station
from agent.simulate.truth import Truth
from drivers.clock import monotonic_s

if TYPE_CHECKING:
    import argparse

    from agent.settings import Config

_TURN_S = 0.5
_KEEP = "keep"


def run(arguments: argparse.Namespace) -> int:
    """Play until `quit`, a signal or the end of the seconds; gives the exit status."""
    directory: Path = arguments.directory or arguments.config
    config = load(directory)
    for problem in config.problems:
        print(problem, file=sys.stderr)
    try:
        strokes = script(arguments.script)
    except Wrong as error:
        print(f"--script {error}", file=sys.stderr)
        return 2
    out = arguments.out or Path(tempfile.mkdtemp(prefix="stationd-simulate-"))
    files.check(out, directory)
    links = (out / "lines").absolute()
    links.mkdir(parents=True, exist_ok=True)
    for end in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(end, _interrupt)
    with contextlib.ExitStack() as ends:
        log = ends.enter_context(arguments.log.open("w", encoding="utf-8")) if arguments.log else None
        try:
            dice = random.Random(arguments.seed)  # noqa: S311  no secret
            station = Station(config, links, truth=Truth(log), first_port=arguments.port_base, dice=dice)
        except (OSError, OverflowError) as error:
            print(f"a port cannot be had: {error}", file=sys.stderr)
            return 1
        ends.callback(station.close)
        broker = None if arguments.broker == _KEEP else arguments.broker
        spool = (arguments.spool or out / "spool.db").absolute()
        files.write(out, directory, {name: end.place for name, end in station.ends.items()}, broker, spool)
        _introduce(config, station, out)
        with contextlib.suppress(KeyboardInterrupt):
            _Play(station).run(strokes, arguments.seconds)
    return 0


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _introduce(config: Config, station: Station, out: Path) -> None:
    """Say who is played where, and how the daemon is started on it."""
    for name, end in station.ends.items():
        print(f"line {name}: {' '.join(f'{key} {where}' for key, where in end.place.items())}")
        for one in config.instruments.values():
            if one.line == name:
                about = station.instruments[one.name].voice.about
                print(f"  {one.name} ({one.driver_name}, address {one.address}): {about}")
    for name in config.inactive:
        print(f"{name} is inactive and not played")
    print(f"ready; `help` lists the faults.  stationd --config {out} run", flush=True)


class _Play:
    """One run: commands from standard input and from a script."""

    def __init__(self, station: Station) -> None:
        self._station, self._commands = station, Commands(station)
        self._began_s = monotonic_s()
        self._typed = b""

    def run(self, strokes: list[tuple[float, str]], seconds: float) -> None:
        """Go on until told to end; 0 seconds are without end."""
        wires = self._station.wires
        for at_s, text in strokes:
            wires.after(at_s, lambda text=text: self._do(text))  # type: ignore[misc]
        if seconds:
            wires.after(seconds, lambda: self._do("quit"))
        with contextlib.suppress(PermissionError):  # a file is always ready: then there is nothing to wait for
            wires.watch(sys.stdin.fileno(), self._type)
        while not self._commands.is_over:
            wires.turn(_TURN_S)

    def _type(self) -> None:
        """Take what was typed; the end of it ends nothing."""
        data = os.read(sys.stdin.fileno(), 4096)
        if not data:
            self._station.wires.forget(sys.stdin.fileno())
        *lines, self._typed = (self._typed + data).split(b"\n")
        for line in lines:
            self._do(line.decode(errors="replace"))

    def _do(self, text: str) -> None:
        if not text.strip():
            return
        try:
            said = self._commands.do(text)
        except Wrong as error:
            said = str(error)
        print(f"{monotonic_s() - self._began_s:6.1f} s  {said}", flush=True)
