"""The simulated instruments on their lines: Modbus TCP ports, a Modbus RTU pty and two ptys for text, in one thread.

They know nothing of the daemon, and it nothing of them: it opens ports and gets answers.
"""

from __future__ import annotations

import os
import pty
import selectors
import socket
import threading
import tty
from typing import TYPE_CHECKING, Any

from agent.demo.memory import Memory
from agent.demo.modbus import serve_rtu, serve_tcp
from agent.demo.plan import CLINK_LINE, INSTRUMENTS, RTU_LINE, WIND_LINE, Planned
from agent.demo.talkers import c_link, wind_sonic
from drivers import profile, toml_file
from drivers.clock import monotonic_s, wall_s
from drivers.registry import SHIPPED
from drivers.sample import Flag

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WIND_EVERY_S = 1.0
_SPELL_EVERY_S, _SPELL_S = 60, 8
_SPELLS = (None, Flag.CALIBRATION, Flag.FAULT, Flag.MAINTENANCE)
_TURN_S = 0.2


class Instrument:
    """One instrument behind a line; `is_silent` makes it deaf, `held` is the flag it shows now and then."""

    def __init__(self, planned: Planned, number: int) -> None:
        self.name, self.address = planned.name, planned.address
        self.is_silent = False
        self._number = number
        path = SHIPPED / f"{planned.driver}.toml"
        self._memory = Memory(planned.name, profile.load(toml_file.load(path))) if path.exists() else None

    def held(self, at_s: float) -> Flag | None:
        """Give the flag of its current spell of trouble: a few seconds in every minute, each in its turn."""
        since_s = (at_s - 5 * self._number) % _SPELL_EVERY_S
        return _SPELLS[self._number % len(_SPELLS)] if since_s < _SPELL_S else None

    def read(self, table: str, start: int, count: int) -> bytes | None:
        """Answer a read: b"" where the address does not exist, None for silence."""
        if self.is_silent or self._memory is None:
            return None
        self._memory.refresh(wall_s(), self.held(wall_s()))
        return self._memory.read(table, start, count) or b""


class Simulation:
    """All instruments; starts on `start`. `lines` describes them in the words of station.toml."""

    def __init__(self, directory: Path) -> None:
        self.instruments = {one.name: Instrument(one, number) for number, one in enumerate(INSTRUMENTS)}
        self.lines: dict[str, str] = {}
        self._directory = directory
        self._selector = selectors.DefaultSelector()
        self._descriptors: list[int] = []
        self._is_closed = False
        self._wind_at_s = 0.0
        for name in dict.fromkeys(one.line for one in INSTRUMENTS):
            self._add_line(name)
        self._thread = threading.Thread(target=self._run, name="instruments", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """End, and close every port."""
        self._is_closed = True
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        for descriptor in self._descriptors:
            os.close(descriptor)

    def _add_line(self, name: str) -> None:
        if name == RTU_LINE:
            master = self._pty(name, 'framer = "rtu"')
            self._watch(master, _Talk(self._bus(name, serve_rtu)))
        elif name == CLINK_LINE:
            self._watch(self._pty(name, 'framer = "none"'), _Talk(self._answer_c_link))
        elif name == WIND_LINE:
            self._wind = self._pty(name, 'framer = "none"')
        else:
            listener = socket.create_server(("127.0.0.1", 0))
            self.lines[name] = f'tcp = "127.0.0.1:{listener.getsockname()[1]}"\nframer = "tcp"\n'
            serve = self._bus(name, serve_tcp)
            self._selector.register(listener, selectors.EVENT_READ, lambda: self._accept(listener, serve))

    def _pty(self, name: str, framer: str) -> int:
        """Open a pty; its far end is kept open, so that ours survives a daemon that goes away."""
        master, slave = pty.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        self._descriptors += [master, slave]
        link = self._directory / name
        link.symlink_to(os.ttyname(slave))
        self.lines[name] = f'serial = "{link}"\nbaud = 9600\n{framer}\n'
        return master

    def _bus(self, line: str, serve: Any) -> Callable[[bytes], tuple[bytes, bytes]]:
        """Bind the instruments of a line to a server of frames."""
        names = [one.name for one in INSTRUMENTS if one.line == line]
        units = {self.instruments[name].address: self.instruments[name] for name in names}

        def answer(unit: int, table: str, start: int, count: int) -> bytes | None:
            return units[unit].read(table, start, count) if unit in units else None

        return lambda data: serve(data, answer)

    def _answer_c_link(self, data: bytes) -> tuple[bytes, bytes]:
        command, end, rest = data.partition(b"\r")
        instrument = next(self.instruments[one.name] for one in INSTRUMENTS if one.line == CLINK_LINE)
        if not end or instrument.is_silent:
            return b"", rest if end else data
        at_s = wall_s()
        return c_link(command, instrument.name, at_s, is_faulty=bool(instrument.held(at_s))), rest

    def _accept(self, listener: socket.socket, serve: Callable[[bytes], tuple[bytes, bytes]]) -> None:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        talk = _Talk(serve)

        def turn() -> None:
            if not talk.turn(connection.fileno()):
                self._selector.unregister(connection)
                connection.close()

        self._selector.register(connection, selectors.EVENT_READ, turn)

    def _watch(self, descriptor: int, talk: _Talk) -> None:
        self._selector.register(descriptor, selectors.EVENT_READ, lambda: talk.turn(descriptor))

    def _run(self) -> None:
        while not self._is_closed:
            for key, _ in self._selector.select(_TURN_S):
                key.data()
            self._blow()

    def _blow(self) -> None:
        instrument = next(self.instruments[one.name] for one in INSTRUMENTS if one.line == WIND_LINE)
        if instrument.is_silent or monotonic_s() < self._wind_at_s:
            return
        self._wind_at_s = monotonic_s() + WIND_EVERY_S
        at_s = wall_s()
        _write(self._wind, wind_sonic(instrument.name, at_s, is_faulty=bool(instrument.held(at_s))))


class _Talk:
    """A conversation on one descriptor: collects bytes until the server finds whole requests in them."""

    def __init__(self, serve: Callable[[bytes], tuple[bytes, bytes]]) -> None:
        self._serve = serve
        self._left = b""

    def turn(self, descriptor: int) -> bool:
        """Read and answer; False when the other side is gone."""
        try:
            data = os.read(descriptor, 4096)
        except BlockingIOError:
            return True
        except OSError:
            return False
        answers, self._left = self._serve(self._left + data)
        return bool(data) and (not answers or _write(descriptor, answers))


def _write(descriptor: int, data: bytes) -> bool:
    """Write, or lose it as a wire does where nobody reads; False when the other side is gone."""
    try:
        os.write(descriptor, data)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True
