"""The far ends of lines, where the instruments are: a TCP port, a pty with a lasting name, or a sender of datagrams."""

from __future__ import annotations

import contextlib
import os
import pty
import socket
import tty
from functools import partial
from typing import TYPE_CHECKING, Protocol

from agent.simulate.talk import Talk

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.settings import LineSettings
    from agent.simulate.instrument import Instrument, Piece
    from agent.simulate.wires import Wires

_CHUNK = 4096
LOCAL = "127.0.0.1"


class End(Protocol):
    """The far end of a line. `place` is what stands in station.toml in place of where the line really is."""

    place: dict[str, str]

    def plug(self) -> None:
        """Put it in; it is in at first."""

    def unplug(self) -> None:
        """Take it out."""

    def say(self, pieces: Sequence[Piece]) -> None:
        """Send what nobody asked for to all who listen."""


class TcpEnd:
    """A port of this machine that takes connections: an instrument, or a serial device server."""

    def __init__(self, settings: LineSettings, instruments: Sequence[Instrument], wires: Wires, port: int) -> None:
        self._settings, self._instruments, self._wires = settings, instruments, wires
        self._talks: dict[socket.socket, Talk] = {}
        self._server: socket.socket | None = None
        self._port = port
        self.plug()
        self.place = {"tcp": f"{LOCAL}:{self._port}"}

    def plug(self) -> None:
        """See End."""
        if self._server is None:
            server = socket.create_server((LOCAL, self._port))
            self._server, self._port = server, server.getsockname()[1]
            self._wires.watch(server, lambda: self._accept(server))

    def unplug(self) -> None:
        """See End."""
        if self._server is not None:
            self._wires.forget(self._server)
            self._server.close()
            self._server = None
        for connection in list(self._talks):
            self._drop(connection)

    def say(self, pieces: Sequence[Piece]) -> None:
        """See End."""
        for talk in self._talks.values():
            talk.send(pieces)

    def _accept(self, server: socket.socket) -> None:
        connection, _ = server.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)

        def write(data: bytes) -> None:
            with contextlib.suppress(OSError):  # nobody reads, or it was closed before the answer was due
                connection.send(data)

        self._talks[connection] = Talk(self._settings, self._instruments, self._wires, write)
        self._wires.watch(connection, lambda: self._read(connection))

    def _read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._talks[connection].arrived(data)
        else:
            self._drop(connection)

    def _drop(self, connection: socket.socket) -> None:
        self._wires.forget(connection)
        connection.close()
        del self._talks[connection]


class SerialEnd:
    """Behind a serial adapter, as a pty: it has another number each time it is put in, its link stays."""

    def __init__(self, settings: LineSettings, instruments: Sequence[Instrument], wires: Wires, link: Path) -> None:
        self._wires, self._link = wires, link
        self._near = self._far = -1
        self._talk = Talk(settings, instruments, wires, self._write)
        self.plug()
        self.place = {"serial": str(link)}

    def plug(self) -> None:
        """See End."""
        if self._near >= 0:
            return
        taken = pty.openpty()  # so that the number which has just become free is not given again
        self._near, self._far = pty.openpty()  # the far one stays open, so that a daemon may come and go
        for end in taken:
            os.close(end)
        tty.setraw(self._far)
        os.set_blocking(self._near, False)
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(os.ttyname(self._far))
        self._wires.watch(self._near, self._read)

    def unplug(self) -> None:
        """See End."""
        if self._near < 0:
            return
        self._wires.forget(self._near)
        self._link.unlink(missing_ok=True)
        os.close(self._near)
        os.close(self._far)
        self._near = self._far = -1

    def say(self, pieces: Sequence[Piece]) -> None:
        """See End."""
        self._talk.send(pieces)

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            self._talk.arrived(os.read(self._near, _CHUNK))

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # unplugged, or nobody reads and what is said is lost as on a wire
            if self._near >= 0:
                os.write(self._near, data)


class UdpEnd:
    """An instrument that sends datagrams to a port of this machine, where the daemon listens; it cannot be asked."""

    def __init__(self, wires: Wires, port: int) -> None:
        self._wires = wires
        self._is_in = True
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._to = (LOCAL, port or _free_udp_port())
        self.place = {"udp": f"{LOCAL}:{self._to[1]}"}

    def plug(self) -> None:
        """See End."""
        self._is_in = True

    def unplug(self) -> None:
        """See End."""
        self._is_in = False

    def say(self, pieces: Sequence[Piece]) -> None:
        """See End."""
        for after_s, data in pieces:
            self._wires.after(after_s, partial(self._send, data))

    def _send(self, data: bytes) -> None:
        if self._is_in:
            with contextlib.suppress(OSError):  # nobody listens
                self._socket.sendto(data, self._to)


def _free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((LOCAL, 0))
        return int(taken.getsockname()[1])
