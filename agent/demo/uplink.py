"""The network between station and broker, as a TCP forwarder that can be shut, opened and frozen.

Shut, it refuses connections. Frozen, it does what a cellular link does: connections stay and new ones are made, but no
byte passes and nobody is told.
"""

from __future__ import annotations

import selectors
import socket
import struct
import threading

_CHUNK = 65536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_TURN_S = 0.2


class Uplink:
    """Forwards a port of 127.0.0.1 to another, in a thread of its own; shut at first."""

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._listener: socket.socket | None = None
        self.port = _free_port()
        self.accepted_frozen = 0
        self.is_frozen = False
        self._lock = threading.Lock()
        self._other: dict[socket.socket, socket.socket | None] = {}
        self._selector = selectors.DefaultSelector()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="uplink", daemon=True)
        self._thread.start()

    @property
    def is_open(self) -> bool:
        """Whether connections are accepted."""
        return self._listener is not None

    def open(self) -> None:
        """Accept connections."""
        with self._lock:
            if self._listener is None:
                self._listener = socket.create_server(("127.0.0.1", self.port))
                self._selector.register(self._listener, selectors.EVENT_READ)

    def shut(self) -> None:
        """Refuse new connections and reset those there are."""
        with self._lock:
            if self._listener is not None:
                self._selector.unregister(self._listener)
                self._listener.close()
                self._listener = None
        self.reset()

    def freeze(self) -> None:
        """Let nothing through any more, and tell no one."""
        with self._lock:
            if not self.is_frozen:
                self.is_frozen = True
                for end in self._other:
                    self._selector.unregister(end)

    def reset(self) -> None:
        """Reset every connection, losing what was in them; new ones are forwarded again."""
        with self._lock:
            self.is_frozen = False
            for end in self._other:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            while self._other:
                self._drop(next(iter(self._other)))

    def close(self) -> None:
        """End it."""
        self._is_closed = True
        self._thread.join()
        self.shut()
        self._selector.close()

    def _run(self) -> None:
        while not self._is_closed:
            for key, _ in self._selector.select(_TURN_S):
                with self._lock:
                    self._turn(key.fileobj)

    def _turn(self, end: object) -> None:
        if self._listener is not None and end is self._listener:
            self._accept(self._listener)
        elif isinstance(end, socket.socket) and end in self._other and not self.is_frozen:
            self._forward(end)

    def _accept(self, listener: socket.socket) -> None:
        near, _ = listener.accept()
        if self.is_frozen:
            self._other[near] = None
            self.accepted_frozen += 1
            return
        try:
            far = socket.create_connection(self._target, 1)
        except OSError:
            near.close()
            return
        for end, other in ((near, far), (far, near)):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._other[end] = other
            self._selector.register(end, selectors.EVENT_READ)

    def _forward(self, end: socket.socket) -> None:
        other = self._other[end]
        try:
            data = end.recv(_CHUNK)
            if data and other is not None:
                other.sendall(data)
                return
        except OSError:
            pass
        self._drop(end)

    def _drop(self, end: socket.socket) -> None:
        other = self._other.pop(end, None)
        if end in self._selector.get_map():
            self._selector.unregister(end)
        end.close()
        if other is not None and other in self._other:
            self._drop(other)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
