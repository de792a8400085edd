"""The daemon's socket: a Unix socket that its own user and group may use, for the commands that need the daemon.

Each client has a thread of its own while it is connected, and there are only a few. So one that says nothing, or does
not read what it asked for, blocks nobody, and is sent away after a while.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pwd
import socket
import stat
import struct
from functools import partial
from pathlib import Path
from threading import Event, Semaphore
from typing import TYPE_CHECKING

from agent.control_answers import Asker
from agent.control_requests import REQUEST_BYTES
from drivers.clock import monotonic_s

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Thread

    from agent.control_answers import Answers, Reply

log = logging.getLogger("stationd")

CLIENTS_MOST = 8
IDLE_S = 60.0
"""A client that asks nothing for so long is sent away."""
PIECE_S = 5.0
"""So long a request may take to arrive, and an answer to be taken."""
_PAUSE_S = 1.0
_OVERFLOW_UID = 65_534
"""Whoever the sandbox does not know (PrivateUsers=) seems to be this one."""


def place(spool: Path) -> Path:
    """Say where the socket belongs: into the unit's RuntimeDirectory, or beside the spool where there is none."""
    folder = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(folder) / "control.sock" if folder else spool.with_suffix(".sock")


class Control:
    """Listens and hands requests to `answers`. `thread(name, run)` makes a thread of the daemon."""

    def __init__(self, path: Path, answers: Answers, thread: Callable[[str, Callable[[], None]], Thread]) -> None:
        self.path = path
        self._answers, self._thread = answers, thread
        self._socket: socket.socket | None = None
        self._ending = Event()
        self._free = Semaphore(CLIENTS_MOST)

    def open(self) -> bool:
        """Listen; says whether that was possible. A station measures without a socket too."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            _clear(self.path)
            sock.bind(str(self.path))
            self.path.chmod(0o660)
            sock.listen(CLIENTS_MOST)
        except OSError as error:  # a path that is too long for a socket is one too
            sock.close()
            log.warning("no socket for commands at %s: %s", self.path, error.strerror or error)
            return False
        self._socket = sock
        return True

    def run(self) -> None:
        """Take clients until closed."""
        while self._socket and not self._ending.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:  # closed, or no descriptor is left
                self._ending.wait(_PAUSE_S)
                continue
            if self._free.acquire(blocking=False):
                self._thread("client", partial(self._serve, connection)).start()
            else:
                _send_away(connection)

    def close(self) -> None:
        """Take no more clients and remove the socket."""
        self._ending.set()
        if self._socket:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
            self._socket.close()
            self.path.unlink(missing_ok=True)

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError):  # the client is gone, or too slow
                client, asker = _Client(connection), _asker(connection)
                while (line := client.request()) is not None:
                    client.send(self._answers.answer(line, asker))
        finally:
            self._free.release()


class _Client:
    """One connection: requests and replies, a line each."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._came = b""

    def request(self) -> bytes | None:
        """Give the next line, or None when the client has gone. Raises OSError when it is too slow or says too much."""
        deadline_s = monotonic_s() + (PIECE_S if self._came else IDLE_S)
        while b"\n" not in self._came:
            if len(self._came) > REQUEST_BYTES:
                self.send({"error": "not_valid", "text": f"a request has at most {REQUEST_BYTES} bytes"})
                raise OSError("too much")
            self._connection.settimeout(max(deadline_s - monotonic_s(), 0.001))
            piece = self._connection.recv(4096)
            if not piece:
                return None
            if not self._came:
                deadline_s = monotonic_s() + PIECE_S
            self._came += piece
        line, _, self._came = self._came.partition(b"\n")
        return line

    def send(self, reply: Reply) -> None:
        """Send a reply. Raises OSError if it is not taken."""
        self._connection.settimeout(PIECE_S)
        self._connection.sendall(json.dumps(reply, separators=(",", ":")).encode() + b"\n")


def _clear(path: Path) -> None:
    """Remove the socket of a process that was killed. Raises OSError if the place is taken."""
    if not path.is_symlink() and not path.exists():
        return
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise FileExistsError(0, "there is a file that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(1.0)
        try:
            sock.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise FileExistsError(0, "another process listens there")


def _asker(connection: socket.socket) -> Asker:
    """Ask the kernel who is at the other end. Root may be anybody, and the sandbox hides most others."""
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if uid == _OVERFLOW_UID:
        return Asker("unknown", is_sure=False)
    try:
        return Asker(pwd.getpwuid(uid).pw_name, is_sure=uid != 0)
    except KeyError:
        return Asker(f"uid {uid}", is_sure=True)


def _send_away(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        connection.settimeout(0.1)
        connection.sendall(b'{"error":"busy","text":"too many clients; try again"}\n')
