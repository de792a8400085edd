"""How close a cycle on an RS-485 pair comes to the best that its baud rate allows, and how well `check` foretells it.

    python -m bench.wire --seconds 60

Ten Modbus RTU instruments of 20 registers at 9600 baud on one pty, the real daemon, a poll of each once a second. The
far end of the pty takes the time of the bytes: it takes a request for whole when its last bit would be there, lets the
instrument think for `--delay`, and gives each byte of the answer when its last bit would be there. The best cycle is
that of a master which loses no time: all bytes, the instruments' delays, and 3.5 characters of silence before each
request (Modbus over serial line V1.02, 2.5.1.1).
"""

from __future__ import annotations

import argparse
import os
import pty
import re
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import tty
from pathlib import Path

from bench.figures import Figures
from bench.process import free_port, start, stop
from drivers.checksum import crc16

INSTRUMENTS, REGISTERS, BAUD = 10, 20, 9600
CHAR_S = 10 / BAUD
SILENCE_S = 3.5 * CHAR_S
REQUEST_BYTES, ANSWER_BYTES = 8, 5 + 2 * REGISTERS
FIFO_BYTES = 8
"""An answer reaches the reader in pieces of so many bytes, as from the buffer of a UART."""
WARM_UP_CYCLES = 2

PROFILE = """# Bench: 20 registers of an instrument that is none
table = "holding"
[channels]
"""


class Wire(threading.Thread):
    """The pair and its instruments. `exchanges` has the beginning and the end of each, in monotonic seconds."""

    def __init__(self, delay_s: float) -> None:
        super().__init__(name="wire", daemon=True)
        self._delay_s = delay_s
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        self.exchanges: list[tuple[float, float]] = []

    def run(self) -> None:
        """Answer for ever."""
        request = b""
        while True:
            request += os.read(self._master, REQUEST_BYTES - len(request))
            if len(request) == REQUEST_BYTES:
                self._answer(request, time.monotonic())
                request = b""

    def _answer(self, request: bytes, begin_s: float) -> None:
        answer = _answer_to(request)
        first_s = begin_s + REQUEST_BYTES * CHAR_S + self._delay_s
        for place in range(0, len(answer), FIFO_BYTES):
            piece = answer[place : place + FIFO_BYTES]
            _wait_until(first_s + (place + len(piece)) * CHAR_S)
            os.write(self._master, piece)
        self.exchanges.append((begin_s, time.monotonic()))

    def cycles_s(self) -> list[float]:
        """Give how long each cycle took, from the first bit of its first request to the last of its last answer."""
        cycles: list[list[tuple[float, float]]] = [[]]
        for exchange in list(self.exchanges):
            if len(cycles[-1]) == INSTRUMENTS:
                cycles.append([])
            cycles[-1].append(exchange)
        return [cycle[-1][1] - cycle[0][0] for cycle in cycles if len(cycle) == INSTRUMENTS]


def _answer_to(request: bytes) -> bytes:
    unit, function, first, count = struct.unpack(">BBHH", request[:6])
    data = b"".join(struct.pack(">H", number) for number in range(first, first + count))
    body = bytes([unit, function, len(data)]) + data
    return body + crc16(body).to_bytes(2, "little")


def _wait_until(moment_s: float) -> None:
    while (left_s := moment_s - time.monotonic()) > 0:
        time.sleep(left_s)


def best_s(delay_s: float) -> float:
    """Give the shortest time that a cycle can take."""
    exchange_s = (REQUEST_BYTES + ANSWER_BYTES) * CHAR_S + delay_s
    return INSTRUMENTS * exchange_s + (INSTRUMENTS - 1) * SILENCE_S


def write_config(directory: Path, path: str, delay_s: float) -> None:
    """Write the files of the station."""
    for name in ("instruments", "profiles"):
        (directory / name).mkdir(parents=True)
    delay = f'answer_delay = "{delay_s * 1000:g}ms"\n'
    (directory / "station.toml").write_text(
        f'[station]\nid = "WIRE"\nname = "bench"\n[broker]\nurl = "mqtt://127.0.0.1:{free_port()}"\n'
        f'[spool]\npath = "{directory.parent / "spool.db"}"\n'
        f'[lines.pair]\nserial = "{path}"\nframer = "rtu"\nbaud = {BAUD}\n{delay}'
    )
    channels = [
        f'r{number} = {{ parameter = "none", unit = "1", register = {number}, format = "u16" }}'
        for number in range(REGISTERS)
    ]
    (directory / "profiles" / "twenty.toml").write_text(PROFILE + "\n".join(channels) + "\n")
    for number in range(1, INSTRUMENTS + 1):
        text = f'driver = "twenty"\nline = "pair"\naddress = {number}\ninterval = "1s"\n'
        (directory / "instruments" / f"i{number:02}.toml").write_text(text)


def foretold_s(stationd: str, config: Path) -> float:
    """Give how long `stationd check` says that a cycle takes."""
    done = subprocess.run([stationd, "--config", str(config), "check"], capture_output=True, text=True, check=False)
    found = re.search(r"all at once ([\d.]+) (ms|s);", done.stdout)
    if not found:
        raise SystemExit(done.stdout + done.stderr)
    return float(found[1]) / (1000 if found[2] == "ms" else 1)


def main() -> int:
    """Run, measure, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--delay", type=float, default=0.02, help="seconds that an instrument thinks; default: 0.02")
    parser.add_argument("--allow", type=float, default=1, help="widen the bound on a machine that is busy")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = Path(tempfile.mkdtemp(prefix="stationd-bench-"))
    stationd = str(Path(sys.executable).with_name("stationd"))
    wire = Wire(options.delay)
    write_config(folder / "config", wire.path, options.delay)
    foretold = foretold_s(stationd, folder / "config")
    wire.start()
    daemon, _ = start([stationd, "--config", str(folder / "config"), "run"], folder / "stationd.log")
    try:
        time.sleep(options.seconds)
    finally:
        stop(daemon)
    cycles = wire.cycles_s()[WARM_UP_CYCLES:]
    if not cycles:
        print((folder / "stationd.log").read_text())
        return 1
    shutil.rmtree(folder)
    return _judged(cycles, foretold, options)


def _judged(cycles: list[float], foretold: float, options: argparse.Namespace) -> int:
    figures = Figures(options.allow)
    best, median = best_s(options.delay), statistics.median(cycles)
    figures.show("cycles measured", len(cycles))
    figures.show("best cycle that the line allows", 1000 * best, "ms")
    figures.show("longest cycle", 1000 * max(cycles), "ms")
    figures.at_most("cycle, median, beside the best", median / best, 1.10, speed=True)
    figures.at_most("foretold by check, beside the median", foretold / median, 1.10, speed=True)
    figures.at_least("foretold by check, beside the median", foretold / median, 0.90, speed=True)
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
