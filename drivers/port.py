"""Ways to move bytes: a serial port, a TCP connection, a serial port behind RFC 2217. The only owner of pyserial.

A port knows nothing of conversations: it opens, moves bytes, and says `LineDown` when it is gone.
"""

from __future__ import annotations

import math
import select
import socket
import struct
import termios
from typing import TYPE_CHECKING, Protocol

import serial

from drivers.clock import monotonic_s
from drivers.errors import LineDown

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECT_TIMEOUT_S = 3.0
CHUNK = 4096
_UNSENT_TIMEOUT_MS = 15_000
_OLD_SO_RCVTIMEO = 20
PARITIES = {"none": serial.PARITY_NONE, "even": serial.PARITY_EVEN, "odd": serial.PARITY_ODD}


class Port(Protocol):
    """What a line needs of the thing below it."""

    where: str
    """What a technician would look for: `/dev/serial/…` or `192.0.2.10:502`."""
    is_network: bool
    """Whether silence can mean that the connection died unnoticed (half-open)."""

    def open(self) -> None:
        """Open it; raises LineDown with the reason."""

    def close(self) -> None:
        """Close it; closing twice is fine."""

    def write(self, data: bytes) -> None:
        """Send all bytes; raises LineDown."""

    def read(self, timeout_s: float) -> bytes:
        """Give what has arrived, waiting at most that long for the first byte; b"" if nothing. Raises LineDown."""


class TcpPort:
    """A TCP connection to an instrument or to a serial device server.

    Time-outs are the kernel's (SO_RCVTIMEO), so that a read is one system call: with fifty lines, each further one
    costs every thread a wait for the interpreter.
    """

    is_network = True

    def __init__(self, host: str, port: int) -> None:
        self.where = f"{host}:{port}"
        self._address = (host, port)
        self._socket: socket.socket | None = None
        self._timeout_s = 0.0

    def open(self) -> None:
        """Connect, with a bound on the time and without delaying small requests."""
        try:
            sock = socket.create_connection(self._address, CONNECT_TIMEOUT_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNSENT_TIMEOUT_MS)
            sock.settimeout(None)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(CONNECT_TIMEOUT_S))
            self._socket, self._timeout_s = sock, 0.0
        except (OSError, UnicodeError) as error:  # a name like "a..b" is no name at all
            raise LineDown(f"{self.where}: cannot connect: {_why(error)}") from error

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def write(self, data: bytes) -> None:
        """Send all bytes."""
        try:
            self._connected().sendall(data)
        except OSError as error:
            raise LineDown(f"{self.where}: connection lost: {_why(error)}") from error

    def read(self, timeout_s: float) -> bytes:
        """Receive what is there."""
        sock = self._connected()
        try:
            if timeout_s <= 0:
                data = sock.recv(CHUNK, socket.MSG_DONTWAIT)
            else:
                steps = 1000 if timeout_s < 0.02 else 100  # in few steps, so that it seldom has to be set anew
                self._wait_at_most(sock, math.ceil(timeout_s * steps) / steps)
                data = sock.recv(CHUNK)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise LineDown(f"{self.where}: connection lost: {_why(error)}") from error
        if not data:
            raise LineDown(f"{self.where}: closed by the other side")
        return data

    def _wait_at_most(self, sock: socket.socket, timeout_s: float) -> None:
        if timeout_s != self._timeout_s:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(timeout_s))
            self._timeout_s = timeout_s

    def _connected(self) -> socket.socket:
        if self._socket is None:
            raise LineDown(f"{self.where}: not connected")
        return self._socket


class SerialPort:
    """A local serial port, opened for this process alone."""

    is_network = False

    def __init__(self, path: str, *, baud: int = 9600, bits: int = 8, parity: str = "none", stop: int = 1) -> None:
        self.where = path
        self._open_port: Callable[[], serial.Serial] = lambda: serial.Serial(
            path, baud, bits, PARITIES[parity], stop, timeout=0, write_timeout=5, exclusive=True
        )
        self._serial: serial.Serial | None = None

    def open(self) -> None:
        """Open by name, so that an adapter which was plugged in again is found."""
        try:
            self._serial = self._open_port()
        except (OSError, ValueError, termios.error) as error:  # SerialException is an OSError, termios.error is not
            raise LineDown(f"{self.where}: cannot open: {_why(error)}") from error

    def close(self) -> None:
        """Close the port."""
        if self._serial is not None:
            try:
                self._serial.close()
            except OSError:
                pass  # the adapter is gone already
            finally:
                self._serial = None

    def write(self, data: bytes) -> None:
        """Send all bytes."""
        try:
            self._opened().write(data)
        except OSError as error:
            raise LineDown(f"{self.where}: cannot write: {_why(error)}") from error

    def read(self, timeout_s: float) -> bytes:
        """Read what is there."""
        port = self._opened()
        try:
            ready, _, _ = select.select([port.fileno()], [], [], max(timeout_s, 0))
            return bytes(port.read(CHUNK)) if ready else b""
        except (OSError, TypeError, ValueError) as error:
            raise LineDown(f"{self.where}: port is gone: {_why(error)}") from error

    def _opened(self) -> serial.Serial:
        if self._serial is None:
            raise LineDown(f"{self.where}: not open")
        return self._serial


class UrlPort(SerialPort):
    """A serial port of a device server that speaks RFC 2217: `rfc2217://host:port`."""

    is_network = True

    def __init__(self, url: str, *, baud: int = 9600, bits: int = 8, parity: str = "none", stop: int = 1) -> None:
        super().__init__(url)
        # A change of the timeout would be negotiated with the far side, so it is short and stays; none for writing.
        self._open_port = lambda: serial.serial_for_url(url, baud, bits, PARITIES[parity], stop, timeout=0.02)

    def read(self, timeout_s: float) -> bytes:
        """Read what is there; such a port has no descriptor to wait on, so pyserial waits in short turns."""
        port, deadline = self._opened(), monotonic_s() + timeout_s
        try:
            while not (first := bytes(port.read(1))) and monotonic_s() < deadline:
                pass
            return first + bytes(port.read(min(port.in_waiting, CHUNK))) if first else b""
        except (OSError, TypeError, ValueError) as error:
            raise LineDown(f"{self.where}: connection lost: {_why(error)}") from error


def _timeval(seconds: float) -> bytes:
    """Write a time as the kernel reads it: 64 bits each where a 32-bit system has the newer option (66)."""
    form = "ll" if socket.SO_RCVTIMEO == _OLD_SO_RCVTIMEO else "qq"
    return struct.pack(form, int(seconds), int(seconds % 1 * 1_000_000))


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
