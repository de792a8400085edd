"""The far ends of the station's lines: TCP connections and ptys, served by one thread."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import pty
import selectors
import socket
import threading
import time
import tty
from typing import TYPE_CHECKING, Any

from bench.chaos.instruments import TIMEOUT_S, Instrument, Wind
from drivers.checksum import crc16

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from bench.chaos.network import Network

_LONGEST = 4096
WIND_EVERY_S = 1.0


class Wire(threading.Thread):
    """The thread that serves every line, with what is to be sent later."""

    def __init__(self) -> None:
        super().__init__(name="wire", daemon=True)
        self._selector = selectors.DefaultSelector()
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._lock = threading.RLock()

    def watch(self, end: Any, ready: Callable[[], None]) -> None:
        """Call `ready` whenever there is something to read."""
        with self._lock:
            self._selector.register(end, selectors.EVENT_READ, ready)

    def forget(self, end: Any) -> None:
        """Stop watching."""
        with self._lock, contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(end)

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something later."""
        with self._lock:
            heapq.heappush(self._later, (time.monotonic() + seconds, next(self._count), do))

    def run(self) -> None:
        """Serve for ever."""
        while True:
            for key, _ in self._selector.select(0.02):
                with self._lock, contextlib.suppress(OSError):
                    key.data()
            with self._lock:
                while self._later and self._later[0][0] <= time.monotonic():
                    with contextlib.suppress(OSError):
                        heapq.heappop(self._later)[2]()


class Line:
    """What TCP and serial lines have in common. `instruments` share it, told apart by their address."""

    def __init__(self, name: str, wire: Wire, instruments: Sequence[Instrument]) -> None:
        self.name, self.wire, self.instruments = name, wire, instruments
        self._data = b""

    def answer_all(self, data: bytes, write: Callable[[bytes], object]) -> None:
        """Answer every whole request."""
        self._data = (self._data + data)[-_LONGEST:]
        for request, instrument in self._requests():
            for piece in instrument.answer(request):  # type: ignore[attr-defined]
                if piece.after_s:
                    self.wire.after(piece.after_s, lambda data=piece.data: write(data))  # type: ignore[misc]
                else:
                    write(piece.data)

    def _requests(self) -> Iterator[tuple[bytes, Instrument]]:
        framer = self.instruments[0].framer
        while request := _first(framer, self._data):
            self._data = self._data[len(request) :]
            for instrument in self.instruments:
                if framer == "none" or request[6 if framer == "tcp" else 0] == instrument.address:
                    yield request, instrument


def _first(framer: str, data: bytes) -> bytes:
    """Give the first whole request, or nothing."""
    if framer == "tcp":
        return data[:12] if len(data) >= 12 else b""
    if framer == "none":
        return data[: data.index(b"\r") + 1] if b"\r" in data else b""
    return data[:8] if len(data) >= 8 and not crc16(data[:8]) else b""


class TcpLine(Line):
    """An instrument that takes connections on a free port of the station's 127.0.0.1."""

    def __init__(self, name: str, wire: Wire, instruments: Sequence[Instrument], network: Network) -> None:
        super().__init__(name, wire, instruments)
        self._network = network
        self._connections: list[socket.socket] = []
        self._server: socket.socket | None = None
        self.port = 0
        self.plug()

    @property
    def config(self) -> str:
        """What stands in station.toml."""
        return f'tcp = "127.0.0.1:{self.port}"\nframer = "tcp"\ntimeout = "{TIMEOUT_S}s"\n'

    def plug(self) -> None:
        """Listen, on the same port as before."""
        server = self._network.at_station(lambda: socket.create_server(("127.0.0.1", self.port)))
        self._server, self.port = server, server.getsockname()[1]
        self.wire.watch(server, lambda: self._accept(server))

    def unplug(self) -> None:
        """Refuse connections and end those there are."""
        if self._server:
            self.wire.forget(self._server)
            self._server.close()
        for connection in [*self._connections]:
            self._drop(connection)

    def _accept(self, server: socket.socket) -> None:
        connection, _ = server.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections.append(connection)
        self._data = b""
        self.wire.watch(connection, lambda: self._read(connection))

    def _read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(_LONGEST)
        except OSError:
            data = b""
        if not data:
            self._drop(connection)
            return
        self.answer_all(data, connection.send)

    def _drop(self, connection: socket.socket) -> None:
        self.wire.forget(connection)
        connection.close()
        with contextlib.suppress(ValueError):
            self._connections.remove(connection)


class SerialLine(Line):
    """Instruments behind a serial adapter, as a pty; `link` is its lasting name, as below /dev/serial."""

    def __init__(self, name: str, wire: Wire, instruments: Sequence[Instrument], link: Path) -> None:
        super().__init__(name, wire, instruments)
        self.link = link
        self._near = self._far = -1
        self.plug()
        if isinstance(instruments[0], Wind):
            self._talk()

    @property
    def config(self) -> str:
        """What stands in station.toml."""
        framer = self.instruments[0].framer
        return f'serial = "{self.link}"\nframer = "{framer}"\ntimeout = "{TIMEOUT_S}s"\nbaud = 115200\n'

    def plug(self) -> None:
        """Put the adapter in: it has another number each time, its link stays."""
        taken = pty.openpty()  # so that the number which has just become free is not given again
        self._near, self._far = pty.openpty()
        for end in taken:
            os.close(end)
        tty.setraw(self._far)
        os.set_blocking(self._near, False)
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(os.ttyname(self._far))
        self._data = b""
        self.wire.watch(self._near, self._read)

    def unplug(self) -> None:
        """Take the adapter out."""
        with self.wire._lock:  # noqa: SLF001  nothing may be written to a descriptor that is another's by then
            self.wire.forget(self._near)
            self.link.unlink(missing_ok=True)
            os.close(self._near)
            os.close(self._far)
            self._near = self._far = -1

    def _read(self) -> None:
        self.answer_all(os.read(self._near, _LONGEST), self._write)

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(BlockingIOError):  # nobody reads: a real line does not wait either
            os.write(self._near, data)

    def _talk(self) -> None:
        self.wire.after(WIND_EVERY_S, self._talk)
        wind = self.instruments[0]
        for piece in wind.message() if self._near >= 0 and isinstance(wind, Wind) else ():
            self.wire.after(piece.after_s, lambda data=piece.data: self._write(data))  # type: ignore[misc]
