"""An instrument that answers as a transcript says, over TCP, on a line of any framer but Modbus TCP."""

from __future__ import annotations

import socket
import threading


class PlayingInstrument:
    """Takes one connection after the other and plays on; what was asked otherwise stands in `wrong`."""

    def __init__(self, case):
        self._entries = [entry for poll in case.polls for entry in poll.entries]
        self.wrong = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def stop(self):
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _serve(self):
        try:
            while True:
                connection, _ = self._server.accept()
                with connection:
                    self._play(connection)
        except OSError:
            return

    def _play(self, connection):
        while self._entries:
            mark, data, _ = self._entries[0]
            if mark == "<":
                connection.sendall(data)
            else:
                asked = b""
                while len(asked) < len(data) and (piece := connection.recv(len(data) - len(asked))):
                    asked += piece
                if not asked:
                    return
                if asked != data:
                    self.wrong.append((asked, data))
            del self._entries[0]
        connection.recv(1)
