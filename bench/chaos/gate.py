"""A forwarder between daemon and broker that understands MQTT packets, and can be told what to do at one of them."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Rule = Callable[["Connection", bool, bytes], bool]
    """Connection, whether the packet goes to the broker, the packet: gives whether it may pass."""

PUBLISH, PUBACK = 3, 4
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def _pass_all(_connection: Connection, _to_broker: bool, _packet: bytes) -> bool:  # noqa: FBT001  the form of a rule
    return True


class Gate:
    """Accepts the station's connections on a free port and forwards them to the broker; `rule` is asked each time."""

    def __init__(self, address: str, broker_port: int) -> None:
        self.broker_port = broker_port
        self.rule: Rule = _pass_all
        self.opened = 0
        self._thawed = threading.Event()
        self._thawed.set()
        self._open: set[Connection] = set()
        self._server = socket.create_server((address, 0))
        self.port = self._server.getsockname()[1]
        self.is_shut = False
        threading.Thread(target=self._accept, name="gate", daemon=True).start()

    def calm(self) -> None:
        """Let everything pass."""
        self.rule, self.is_shut = _pass_all, False
        self._thawed.set()

    def reset(self) -> None:
        """Reset every connection, losing what was in it."""
        for connection in list(self._open):
            connection.reset()

    def freeze(self) -> None:
        """Let nothing through, and tell nobody, until it is calm."""
        self._thawed.clear()

    def wait_thawed(self) -> None:
        """Wait while frozen."""
        self._thawed.wait()

    def forget(self, connection: Connection) -> None:
        """Note that a connection has ended."""
        self._open.discard(connection)

    def _accept(self) -> None:
        while True:
            near, _ = self._server.accept()
            self.opened += 1
            far = None if self.is_shut else self._reach_broker()
            if far is None:
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                near.close()
                continue
            connection = Connection(self, near, far)
            self._open.add(connection)
            connection.start()

    def _reach_broker(self) -> socket.socket | None:
        with contextlib.suppress(OSError):
            far = socket.create_connection(("127.0.0.1", self.broker_port), 2)
            far.settimeout(None)
            return far
        return None


class Connection:
    """One connection of the station."""

    def __init__(self, gate: Gate, near: socket.socket, far: socket.socket) -> None:
        self._gate, self._near, self._far = gate, near, far
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        """Forward both ways until one end closes."""
        for ends in ((self._near, self._far, True), (self._far, self._near, False)):
            threading.Thread(target=self._forward, args=ends, daemon=True).start()

    def reset(self) -> None:
        """End it without a farewell."""
        for end in (self._near, self._far):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                end.shutdown(socket.SHUT_RDWR)

    def answer(self, packet: bytes) -> None:
        """Say something to the station as if it came from the broker."""
        self._near.sendall(packet)

    def _forward(self, source: socket.socket, target: socket.socket, to_broker: bool) -> None:  # noqa: FBT001  see Rule
        with contextlib.suppress(OSError, IndexError), source.makefile("rb") as stream:
            while packet := _packet(stream):
                self._gate.wait_thawed()
                if self._gate.rule(self, to_broker, packet):
                    target.sendall(packet)
        self._gate.forget(self)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def kind(packet: bytes) -> int:
    """Give the type of a packet (MQTT 5.0, 2.1.2)."""
    return packet[0] >> 4


def refusal(packet: bytes, reason: int) -> bytes:
    """Give the acknowledgement that refuses a QoS 1 publication (MQTT 5.0, 3.4)."""
    place = 1
    while packet[place] & 0x80:
        place += 1
    topic_at = place + 1
    end = topic_at + 2 + int.from_bytes(packet[topic_at : topic_at + 2], "big")
    return b"\x40\x03" + packet[end : end + 2] + bytes([reason])


def topic(packet: bytes) -> str:
    """Give the topic of a publication."""
    place = 1
    while packet[place] & 0x80:
        place += 1
    length = int.from_bytes(packet[place + 1 : place + 3], "big")
    return packet[place + 3 : place + 3 + length].decode()


def _packet(stream: socket.SocketIO) -> bytes:
    """Read one packet; nothing at the end."""
    head = stream.read(1)
    if not head:
        return b""
    length = shift = 0
    while True:
        byte = stream.read(1)
        head += byte
        length |= (byte[0] & 0x7F) << shift
        shift += 7
        if not byte[0] & 0x80:
            break
    rest = stream.read(length)
    return head + rest if len(rest) == length else b""
