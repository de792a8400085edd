"""Talks to the daemon's socket as any program may, without the client under test."""

from __future__ import annotations

import json
import socket


class Asking:
    """One connection."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(20)
        self.socket.connect(str(path))
        self._file = self.socket.makefile("rb")

    def ask(self, **request):
        return self.send(json.dumps(request).encode() + b"\n")

    def send(self, data):
        self.socket.sendall(data)
        return self.reply()

    def reply(self):
        """Give the next reply, None if it hung up."""
        line = self._file.readline()
        return json.loads(line) if line else None

    def close(self):
        self._file.close()
        self.socket.close()
