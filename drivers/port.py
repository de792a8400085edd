"""Ways to move bytes: a serial port, TCP, a serial port behind RFC 2217, datagrams. The only owner of pyserial.

A port knows nothing of conversations: it opens, moves bytes, and says `LineDown` when it is gone.
"""

from __future__ import annotations

import math
import select
import socket
import struct
import termios
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Protocol

import serial

from drivers.clock import monotonic_s
from drivers.errors import LineDown

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECT_TIMEOUT_S = 3.0
CHUNK = 4096
DATAGRAM = 65_535
_STRANGERS_AT_ONCE = 1000
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


class UdpPort:
    """Datagrams that arrive at a port of this machine: for instruments that talk unasked, nothing is ever sent.

    `host` is the address they arrive at, `0.0.0.0` or `::` for any. With `sender`, those of others are passed over;
    without, two senders are not told apart.
    """

    is_network = False  # silence is silence: there is no connection that could be half-open
    only_listens = True

    def __init__(self, host: str, port: int, sender: str = "") -> None:
        self.where = f"udp [{host}]:{port}" if ":" in host else f"udp {host}:{port}"
        self._address = (host, port)
        self._sender = _plain(sender) if sender else None
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Take the port; what arrived before is not there."""
        try:
            family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            self._socket.bind(self._address)
        except OSError as error:
            self.close()
            raise LineDown(f"{self.where}: cannot listen: {_why(error)}") from error

    def close(self) -> None:
        """Give the port back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def write(self, data: bytes) -> None:
        """Refuse: nobody is there to be asked."""
        raise LineDown(f"{self.where}: only listens, nothing can be asked over it ({len(data)} bytes)")

    def read(self, timeout_s: float) -> bytes:
        """Give the next datagram, or b"" after that time."""
        if self._socket is None:
            raise LineDown(f"{self.where}: not open")
        deadline = monotonic_s() + timeout_s
        try:
            for _ in range(_STRANGERS_AT_ONCE):
                ready, _, _ = select.select([self._socket], [], [], max(deadline - monotonic_s(), 0))
                if not ready:
                    break
                if data := self._received(self._socket):
                    return data
        except OSError as error:
            raise LineDown(f"{self.where}: cannot listen: {_why(error)}") from error
        return b""

    def _received(self, sock: socket.socket) -> bytes:
        """Give a datagram; b"" if it is a stranger's, or fell to the kernel's check of its sum."""
        try:
            data, (sender, *_) = sock.recvfrom(DATAGRAM)
        except BlockingIOError:
            return b""
        return data if self._sender in {None, _plain(sender)} else b""


def _plain(address: str) -> IPv4Address | IPv6Address:
    """Read an address; one of IPv4 inside IPv6 (::ffff:192.0.2.7) is that of IPv4."""
    found = ip_address(address)
    return getattr(found, "ipv4_mapped", None) or found


def _timeval(seconds: float) -> bytes:
    """Write a time as the kernel reads it: 64 bits each where a 32-bit system has the newer option (66)."""
    form = "ll" if socket.SO_RCVTIMEO == _OLD_SO_RCVTIMEO else "qq"
    return struct.pack(form, int(seconds), int(seconds % 1 * 1_000_000))


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
