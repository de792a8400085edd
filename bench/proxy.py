"""A TCP proxy that can freeze as a cellular link does: connections stay, new ones too, no byte passes."""

from __future__ import annotations

import selectors
import socket
import struct
import threading

_CHUNK = 65536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards one port of 127.0.0.1 to another in a thread of its own."""

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._other: dict[socket.socket, socket.socket | None] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self.accepted_frozen = 0
        self._is_frozen = False
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def freeze(self) -> None:
        """Let nothing through any more, and tell no one."""
        with self._lock:
            self._is_frozen = True
            for end in self._other:
                self._selector.unregister(end)

    def reset(self) -> None:
        """Reset every connection, losing what was in them, and forward new ones again."""
        with self._lock:
            for end in list(self._other):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                self._drop(end)
            self._is_frozen = False

    def close(self) -> None:
        """End the proxy."""
        self._is_closed = True
        self._thread.join()
        self.reset()
        self._listener.close()

    def _run(self) -> None:
        while not self._is_closed:
            for key, _ in self._selector.select(0.05):
                with self._lock:
                    self._turn(key.fileobj)

    def _turn(self, end: socket.socket) -> None:
        if end is self._listener:
            self._accept()
        elif end in self._other and not self._is_frozen:
            self._forward(end)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        if self._is_frozen:
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
