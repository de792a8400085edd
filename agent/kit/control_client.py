"""The other end of the daemon's socket: how a command finds it and asks."""

from __future__ import annotations

import json
import os
import pwd
import socket
from typing import TYPE_CHECKING, Any

from agent.spool import spool_lock

if TYPE_CHECKING:
    from pathlib import Path

ANSWER_S = 700.0
"""Longer than any answer may take: an errand waits for room, and a poll may have ten time-outs of a minute."""


class Unreachable(Exception):
    """There is a daemon, but it cannot be asked."""


class Declined(Exception):
    """The daemon understood and said no; `reason` is its word for why."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Client:
    """A connection to the daemon. Raises Unreachable if there is none or it breaks."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(5.0)
            self._socket.connect(address)
        except OSError as error:
            self._socket.close()
            advice = "; use sudo, or join the group stationd" if isinstance(error, PermissionError) else ""
            raise Unreachable(f"{address}: {error.strerror or error}{advice}") from error
        self._socket.settimeout(ANSWER_S)
        self._file = self._socket.makefile("rb")

    def ask(self, **request: Any) -> dict[str, Any]:
        """Ask one thing. Raises Declined or Unreachable."""
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            line = self._file.readline()
        except OSError as error:
            raise Unreachable(f"the connection broke: {error.strerror or error}") from error
        if not line.endswith(b"\n"):
            raise Unreachable("it ended, or closed the connection")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise Declined(reply["error"], reply["text"])
        return reply

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()


def running(spool: Path) -> int | None:
    """Give the process number of the daemon that holds a spool, or None. Raises Unreachable if that cannot be told."""
    if not os.access(spool.parent, os.X_OK) and spool.parent.exists():
        raise Unreachable(f"{spool.parent}: not permitted; use sudo, or join the group stationd")
    return spool_lock.holder(spool)


def connect(spool: Path) -> Client:
    """Connect to the daemon that holds a spool. Raises Unreachable."""
    if why := spool_lock.waits(spool):
        raise Unreachable(f"it measures nothing: {why}")
    address = spool_lock.address(spool)
    if not address:
        raise Unreachable("it has no socket for commands; its log says why")
    return Client(address)


def user() -> str:
    """Say who uses this command, behind sudo too."""
    if name := os.environ.get("SUDO_USER"):
        return name
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
