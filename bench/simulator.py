"""N Modbus TCP instruments in one cheap process, on neighbouring ports of 127.0.0.1.

    python -m bench.simulator --log requests.bin

prints `ready PORT` with the first port and serves until it is terminated. Reads of holding and input
registers (functions 3 and 4) are answered from `bench.truth`; each request is logged with its arrival.

    request  TT TT 00 00 00 06 UU FF SS SS CC CC  transaction, protocol, length, unit, function, start, count
    answer   TT TT 00 00 LL LL UU FF BB DD …      length, unit, function, bytes, data
"""

from __future__ import annotations

import argparse
import os
import random
import selectors
import signal
import socket
import struct
import time
from pathlib import Path

from bench.truth import CHANNELS_MOST, INSTRUMENTS_MOST, Request, registers, write_requests

_REQUEST = struct.Struct(">HHHBBHH")
_PORTS = range(15_000, 31_000)  # below the ports that the kernel gives away
_ILLEGAL_FUNCTION, _ILLEGAL_ADDRESS = 1, 2


class Instrument:
    """One listening port and what is answered on it."""

    def __init__(self, number: int, channels: int, listener: socket.socket) -> None:
        self.number, self.channels, self.listener = number, channels, listener
        self.asked = 0

    def answer(self, frame: bytes) -> bytes:
        """Answer one whole request frame."""
        transaction, _, _, unit, function, start, count = _REQUEST.unpack(frame)
        if function not in {3, 4}:
            return struct.pack(">HHHBBB", transaction, 0, 3, unit, function | 0x80, _ILLEGAL_FUNCTION)
        if not count or start + count > 2 * self.channels:
            return struct.pack(">HHHBBB", transaction, 0, 3, unit, function | 0x80, _ILLEGAL_ADDRESS)
        self.asked += 1
        data = registers(self.number, self.asked, self.channels)[2 * start : 2 * (start + count)]
        return struct.pack(">HHHBBB", transaction, 0, 3 + len(data), unit, function, len(data)) + data


class Simulator:
    """All instruments, one selector and the log."""

    def __init__(self, count: int, channels: int, log: Path) -> None:
        self.first_port, listeners = _neighbouring_ports(count)
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._selector = selectors.DefaultSelector()
        self._unsaid: dict[socket.socket, bytes] = {}
        self._seen: list[Request] = []
        self.is_to_drop = False
        for number, listener in enumerate(listeners):
            self._selector.register(listener, selectors.EVENT_READ, Instrument(number, channels, listener))

    def serve(self) -> None:
        """Serve for ever."""
        while True:
            ready = self._selector.select()
            if self.is_to_drop:
                self._drop()
                continue
            for key, _ in ready:
                if key.fileobj is key.data.listener:
                    self._accept(key.data)
                else:
                    self._read(key.fileobj, key.data)
            if self._seen:
                os.write(self._log, write_requests(self._seen))
                self._seen.clear()

    def _drop(self) -> None:
        """End every connection, as instruments do that are switched off and on."""
        self.is_to_drop = False
        for connection in self._unsaid:
            self._selector.unregister(connection)
            connection.close()
        self._unsaid.clear()

    def _accept(self, instrument: Instrument) -> None:
        connection, _ = instrument.listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(connection, selectors.EVENT_READ, instrument)
        self._unsaid[connection] = b""

    def _read(self, connection: socket.socket, instrument: Instrument) -> None:
        try:
            data = self._unsaid[connection] + connection.recv(4096)
            if data == self._unsaid[connection]:
                raise ConnectionError
            while len(data) >= _REQUEST.size:
                answer = instrument.answer(data[: _REQUEST.size])
                self._seen.append(Request(instrument.number, instrument.asked, time.time_ns()))
                connection.sendall(answer)
                data = data[_REQUEST.size :]
            self._unsaid[connection] = data
        except OSError:
            self._selector.unregister(connection)
            self._unsaid.pop(connection)
            connection.close()


def _neighbouring_ports(count: int) -> tuple[int, list[socket.socket]]:
    for _ in range(50):
        first = random.randrange(_PORTS.start, _PORTS.stop - count)
        listeners: list[socket.socket] = []
        try:
            ports = range(first, first + count)
            listeners.extend(socket.create_server(("127.0.0.1", port), backlog=16) for port in ports)
        except OSError:
            for listener in listeners:
                listener.close()
        else:
            return first, listeners
    raise SystemExit(f"no {count} neighbouring ports are free")


def main() -> None:
    """Run as a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instruments", type=int, default=50, choices=range(1, INSTRUMENTS_MOST + 1), metavar="N")
    parser.add_argument("--channels", type=int, default=20, choices=range(1, CHANNELS_MOST + 1), metavar="N")
    parser.add_argument(
        "--log", type=Path, required=True, help="each request, 14 bytes: u16 instrument, u32 number, i64 ns"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    simulator = Simulator(options.instruments, options.channels, options.log)
    signal.signal(signal.SIGUSR1, lambda *_: setattr(simulator, "is_to_drop", True))
    print(f"ready {simulator.first_port}", flush=True)
    simulator.serve()


if __name__ == "__main__":
    main()
