"""A line with instruments and its poller in simulated time: hours of polling in an instant."""

from __future__ import annotations

import json
import math
from queue import Empty

from instrument_peers import answer_pdu, framed, unframed

from agent import poller as poller_module
from agent.poller import Poller
from agent.record import SEPARATOR, joined
from agent.say import Say
from agent.settings import InstrumentSettings, LineSettings
from drivers.clock import Moment
from drivers.errors import LineDown
from drivers.line import Line
from drivers.modbus import Block, read_block
from drivers.sample import Channel, Sample

CHAR_S = 10 / 9600
START_WALL_S = 1_795_428_000.25
SETTINGS = LineSettings(
    name="rs485",
    kind="serial",
    where="simulated",
    port=0,
    framer="rtu",
    baud=9600,
    bits=8,
    parity="none",
    stop=1,
    timeout_s=1.0,
    silence_s=3.5 * CHAR_S,
    max_block=125,
    char_time_s=CHAR_S,
)


class Clock:
    """The clocks of a machine; time passes only when somebody waits."""

    def __init__(self):
        self.elapsed_s, self.wall_offset_s = 50.0, START_WALL_S - 50.0

    def monotonic_s(self):
        return self.elapsed_s

    def wall_s(self):
        return self.elapsed_s + self.wall_offset_s

    def now(self):
        return Moment(round(self.wall_s() * 1000), round(self.elapsed_s * 1000))


def prompt(request):
    """Answer at once, each register with its own address."""
    unit, pdu, _ = unframed("rtu", request)
    return framed("rtu", unit, answer_pdu(pdu))


def silent(request):
    return None


def damaged(request):
    return prompt(request)[:-1] + b"\x00"


def refusing(request):
    unit, pdu, _ = unframed("rtu", request)
    return framed("rtu", unit, bytes([pdu[0] | 0x80, 2]))


class Wire:
    """An RS-485 pair at 9600 baud; `instruments` are what answers at each address, after 5 ms."""

    where, is_network = "simulated", False

    def __init__(self, clock):
        self._clock = clock
        self.instruments = {}
        self.is_gone = False
        self.busy_s = 0.0
        self._coming = []

    def open(self):
        self._check()

    def close(self):
        self._coming.clear()

    def write(self, data):
        self._check()
        answer = self.instruments[data[0]](data)
        if answer:
            self._coming.append((self._clock.elapsed_s + 0.005 + (len(data) + len(answer)) * CHAR_S, answer))

    def read(self, timeout_s):
        self._check()
        until_s = self._clock.elapsed_s + timeout_s
        if self._coming and self._coming[0][0] <= until_s:
            at_s, data = self._coming.pop(0)
            self._clock.elapsed_s = max(self._clock.elapsed_s, at_s)
            return data
        self._clock.elapsed_s = until_s + 1e-6
        return b""

    def _check(self):
        if self.is_gone:
            raise LineDown("simulated: unplugged")


class TenRegisters:
    """A driver that reads ten registers which hold their own addresses; `asked` is called first."""

    channels = tuple(Channel(f"r{number}", "none", "1") for number in range(10))

    def __init__(self, start=100):
        self._block = Block("holding", start, 10)

    def read(self, line, address):
        data = read_block(line, address, self._block)
        return [
            Sample(channel.name, int.from_bytes(data[2 * place : 2 * place + 2], "big"))
            for place, channel in enumerate(self.channels)
        ]


class Simulation:
    """A poller with its line and its instruments, all in simulated time."""

    def __init__(self, monkeypatch, count=1, interval_s=1.0, drivers=None, *, is_dated=True):
        self.clock = Clock()
        for name in ("monotonic_s", "wall_s", "now"):
            monkeypatch.setattr(poller_module, name, getattr(self.clock, name))
        self.wire = Wire(self.clock)
        self.line = Line("rs485", self.wire, framer="rtu", now_s=self.clock.monotonic_s)
        self.records = []
        self.is_trusted = is_dated  # this object is the poller's timekeeper, too
        self._events = []
        instruments = []
        for number in range(1, count + 1):
            self.wire.instruments[number] = prompt
            driver = drivers[number - 1] if drivers else TenRegisters(100 * number)
            names = tuple(channel.name for channel in driver.channels)
            instruments.append(
                InstrumentSettings(f"i{number}", "test", driver, "rs485", number, interval_s, None, 0.0, names)
            )
        self.begin_s = math.ceil(self.clock.wall_s() / interval_s) * interval_s - self.clock.wall_offset_s
        self.poller = Poller(self.line, SETTINGS, instruments, self._append, self, Say())
        self.poller._inbox = self

    def at(self, seconds, action):
        """Do something that long after the first slot."""
        self._events.append((self.begin_s + seconds, action))
        self._events.sort(key=lambda event: event[0])

    def set(self, number, behaviour, at_s=0.0):
        """Let an instrument behave differently from then on."""
        self.at(at_s, lambda: self.wire.instruments.__setitem__(number, behaviour))

    def run(self, seconds):
        """Poll for so long from the first slot; ends as the daemon ends it."""
        self._end_s = self.begin_s + seconds - 0.01
        self.poller.run()
        return self

    def of(self, number, kind="raw"):
        """Give the records of an instrument; `t` is their time in seconds after the first slot."""
        return [r for r in self.records if r["kind"] == kind and r.get("instrument") == f"i{number}"]

    def good(self, number):
        return [record for record in self.of(number) if "error" not in record]

    def slots(self, number):
        """Count the slots that records account for: polls, and those that outages say were not asked."""
        ended = [record for record in self.of(number, "outage") if "span_s" in record]
        return len(self.of(number)) + sum(record["slots"] for record in ended)

    def get(self, timeout):
        """Stand in for the poller's inbox: wait in simulated time, raise Empty until it is time to stop."""
        target_s = min(self.clock.elapsed_s + timeout, self._end_s)
        while self._events and self._events[0][0] <= target_s:
            at_s, action = self._events.pop(0)
            self.clock.elapsed_s = max(self.clock.elapsed_s, at_s)
            action()
        self.clock.elapsed_s = max(self.clock.elapsed_s, target_s)
        if self.clock.elapsed_s < self._end_s:
            raise Empty

    def _append(self, record, notes=None):
        shape = record.shape.encode().split(SEPARATOR.encode())
        whole = joined(shape, record.body) if record.shape else record.body
        t = record.moment.elapsed_ms / 1000 - self.begin_s
        self.records.append({"t": t, "wall_ms": record.moment.wall_ms} | json.loads(b"{" + whole + b"}"))
