"""Scripted instruments at the far end of real ports: a pty, a TCP socket, a serial port behind RFC 2217.

A script is a function from a request to what comes back: a list of pieces, each after its delay in seconds.
Instruments answer every register with its own address, so that a value shows which question it belongs to.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import socket
import threading
import time
import tty
from typing import TYPE_CHECKING

import serial
import serial.rfc2217

from drivers.checksum import crc16, sum8

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Pieces = list[tuple[float, bytes]]
    Script = Callable[[bytes], Pieces]

REQUEST_PDU = 5
REQUEST_LENGTH = {"rtu": 8, "tcp": 12}
POLL_S = 0.01


def registers(start: int, count: int) -> bytes:
    """Give the content of registers that hold their own address."""
    return b"".join(number.to_bytes(2, "big") for number in range(start, start + count))


def answer_pdu(pdu: bytes) -> bytes:
    """Answer a read of registers."""
    start, count = int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
    return bytes([pdu[0], 2 * count]) + registers(start, count)


def framed(framer: str, unit: int, pdu: bytes, transaction: bytes = b"\0\0") -> bytes:
    """Put a PDU into a frame, independently of the code under test."""
    body = bytes([unit]) + pdu
    if framer == "tcp":
        return transaction + b"\0\0" + len(body).to_bytes(2, "big") + body
    if framer == "rtu":
        return body + crc16(body).to_bytes(2, "little")
    return b":" + (body + bytes([-sum8(body) & 0xFF])).hex().upper().encode() + b"\r\n"


def unframed(framer: str, request: bytes) -> tuple[int, bytes, bytes]:
    """Take unit, PDU and transaction number out of a request."""
    if framer == "tcp":
        return request[6], request[7:], request[:2]
    body = request[:-2] if framer == "rtu" else bytes.fromhex(request[1:-4].decode())
    return body[0], body[1:], b""


def good(framer: str) -> Script:
    """Answer every read at once and rightly."""

    def script(request: bytes) -> Pieces:
        unit, pdu, transaction = unframed(framer, request)
        return [(0, framed(framer, unit, answer_pdu(pdu), transaction))]

    return script


def next_request(framer: str, data: bytes) -> int:
    """Give the length of the first whole request, 0 if there is none."""
    if framer in REQUEST_LENGTH:
        return REQUEST_LENGTH[framer] if len(data) >= REQUEST_LENGTH[framer] else 0
    end = b"\r\n" if framer == "ascii" else b"\r"
    return data.find(end) + len(end) if end in data else 0


class Peer(threading.Thread):
    """One instrument on one descriptor; `script` may be exchanged while it runs."""

    def __init__(self, fd: int, framer: str, script: Script) -> None:
        super().__init__(daemon=True)
        self.fd, self.framer, self.script = fd, framer, script
        self.requests: list[tuple[float, bytes]] = []
        self.sent_at: list[float] = []
        self._stop_asked = threading.Event()

    def run(self) -> None:
        """Answer until stopped or disconnected."""
        data = b""
        try:
            while not self._stop_asked.is_set():
                data += self._arrived()
                while length := next_request(self.framer, data):
                    request, data = data[:length], data[length:]
                    self.requests.append((time.monotonic(), request))
                    self._answer(self.script(request))
        except OSError:
            return

    def say(self, data: bytes) -> None:
        """Send without having been asked."""
        os.write(self.fd, data)

    def stop(self) -> None:
        """Stop answering."""
        self._stop_asked.set()
        self.join(5)

    def _arrived(self) -> bytes:
        ready, _, _ = select.select([self.fd], [], [], POLL_S)
        if not ready:
            return b""
        data = os.read(self.fd, 4096)
        if not data:
            raise OSError("disconnected")
        return data

    def _answer(self, pieces: Pieces) -> None:
        for delay_s, data in pieces:
            if self._stop_asked.wait(delay_s):
                return
            rest = data
            while rest and not self._stop_asked.is_set():
                _, ready, _ = select.select([], [self.fd], [], POLL_S)
                if ready:
                    rest = rest[os.write(self.fd, rest[:512]) :]
            self.sent_at.append(time.monotonic())


class PtyInstrument:
    """An instrument on a pty; `link` is the lasting name of the port, as a link below /dev/serial is."""

    def __init__(self, link: Path, framer: str, script: Script | None = None) -> None:
        self.link = link
        self._framer, self._script = framer, script or good(framer)
        self.plug()

    def plug(self) -> None:
        """Put the adapter in; it may get another number, its link stays."""
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(os.ttyname(self._slave))
        self.peer = Peer(self._master, self._framer, self._script)
        self.peer.start()

    def unplug(self) -> None:
        """Take the adapter out."""
        self.peer.stop()
        self.link.unlink(missing_ok=True)
        os.close(self._master)
        os.close(self._slave)


class TcpInstrument:
    """An instrument, or a serial device server, that takes connections one after the other."""

    def __init__(self, framer: str, script: Script | None = None) -> None:
        self._framer = framer
        self.script = script or good(framer)
        self.peers: list[Peer] = []
        self._connections: list[socket.socket] = []
        self.port = 0
        self.start()

    def start(self) -> None:
        """Listen, on the same port as before if it was stopped."""
        self._server = socket.create_server(("127.0.0.1", self.port))
        self.port = self._server.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, args=(self._server,), daemon=True)
        self._acceptor.start()

    def stop(self) -> None:
        """Stop listening and drop every connection."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._acceptor.join(5)  # else a late connection's descriptor would be read by two
        for peer in self.peers:
            peer.stop()
        for connection in self._connections:
            connection.close()
        self.peers, self._connections = [], []

    def _respond(self, request: bytes) -> Pieces:
        return self.script(request)

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            self._connections.append(connection)
            self.peers.append(Peer(connection.fileno(), self._framer, self._respond))
            self.peers[-1].start()


class _PtySerial(serial.Serial):
    """A pty has no modem lines, which RFC 2217 asks for."""

    dsr = cts = ri = cd = True

    def _update_dtr_state(self) -> None: ...

    def _update_rts_state(self) -> None: ...


class Rfc2217Server:
    """A device server with one port, made of pyserial's own RFC 2217 engine."""

    def __init__(self, path: Path) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"rfc2217://127.0.0.1:{self._server.getsockname()[1]}"
        self._serial = _PtySerial(str(path), timeout=POLL_S)
        self.settings: list[int] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def drop(self) -> None:
        """End the connection that there is; the next one is taken."""
        self._connection.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        """Close the door and end the connection."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        with contextlib.suppress(OSError):
            self.drop()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # stopped
            while True:
                self._connection, _ = self._server.accept()
                self._take(self._connection)

    def _take(self, connection: socket.socket) -> None:
        lock = threading.Lock()
        writer = type("Writer", (), {"write": lambda _, data: self._send(connection, lock, data)})()
        manager = serial.rfc2217.PortManager(self._serial, writer)
        to_network = threading.Thread(target=self._to_network, args=(manager, connection, lock), daemon=True)
        to_network.start()
        with contextlib.suppress(OSError):  # the client has gone
            while data := connection.recv(1024):
                self._serial.write(b"".join(manager.filter(data)))
                self.settings.append(self._serial.baudrate)
        connection.close()
        to_network.join(5)

    def _to_network(self, manager: serial.rfc2217.PortManager, connection: socket.socket, lock: threading.Lock) -> None:
        with contextlib.suppress(OSError):
            while connection.fileno() >= 0:
                if data := self._serial.read(self._serial.in_waiting or 1):
                    self._send(connection, lock, b"".join(manager.escape(data)))

    @staticmethod
    def _send(connection: socket.socket, lock: threading.Lock, data: bytes) -> None:
        with lock:
            connection.sendall(data)
