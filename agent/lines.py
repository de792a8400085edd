"""Makes a line of what the configuration says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.line import Line, Timing
from drivers.port import SerialPort, TcpPort, UdpPort, UrlPort

if TYPE_CHECKING:
    from agent.settings import InstrumentSettings, LineSettings
    from drivers.line import Trace
    from drivers.port import Port


def open_line(settings: LineSettings, trace: Trace | None = None) -> Line:
    """Make the line; its port is opened by the first conversation, and raises LineDown then."""
    timing = Timing(settings.timeout_s, settings.silence_s)
    port, framer = port_of(settings), settings.framer
    return Line(settings.name, port, framer=framer, echo=settings.echo, timing=timing, trace=trace)


def timing(instrument: InstrumentSettings, line: LineSettings) -> Timing:
    """Say how a line keeps time for one of its instruments."""
    return Timing(instrument.timeout_s or line.timeout_s, line.silence_s + instrument.silence_s)


def port_of(settings: LineSettings) -> Port:
    """Make the port of a line; it is not opened."""
    if settings.kind == "tcp":
        return TcpPort(settings.where, settings.port)
    if settings.kind == "udp":
        return UdpPort(settings.where, settings.port, settings.sender)
    make = SerialPort if settings.kind == "serial" else UrlPort
    return make(settings.where, baud=settings.baud, bits=settings.bits, parity=settings.parity, stop=settings.stop)
