"""What a simulated instrument answers, so that every published value can be traced to one request.

Registers 0, 2, 4 … hold one float32 (ABCD) a channel. Channel 0 is the number of the request, counted per
instrument from 1; every other channel packs instrument, channel and the low bits of that number into 24 bits,
over 100, so that a value that was shifted, swapped, stale or a neighbour's cannot be right by accident.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INSTRUMENTS_MOST, CHANNELS_MOST = 127, 32
_COUNT_BITS = 0xFFF
_REQUEST = struct.Struct("<HIq")


class Request(NamedTuple):
    """One request as the simulator saw it; `arrived_ns` is wall-clock time."""

    instrument: int
    number: int
    arrived_ns: int


def registers(instrument: int, number: int, channels: int) -> bytes:
    """Give the bytes of all registers of one instrument at one request."""
    base = instrument * CHANNELS_MOST
    count = number & _COUNT_BITS
    coded = [((base + channel << 12) | count) / 100 for channel in range(1, channels)]
    return struct.pack(f">{channels}f", number, *coded)


def channel_names(channels: int) -> list[str]:
    """Give the names of the channels in the order of their registers."""
    return [f"c{channel:02d}" for channel in range(channels)]


def instrument_name(instrument: int) -> str:
    """Name an instrument in the configuration."""
    return f"sim{instrument:03d}"


def instrument_number(name: str) -> int:
    """Read what `instrument_name` wrote."""
    return int(name.removeprefix("sim"))


def is_right(instrument: int, values: dict[str, float]) -> bool:
    """Say whether published values are bit by bit what one request was answered with."""
    names = channel_names(len(values))
    if sorted(values) != names:
        return False
    try:
        found = struct.pack(f">{len(names)}f", *(values[name] for name in names))
    except struct.error:
        return False
    return found == registers(instrument, int(values["c00"]), len(names))


def write_requests(requests: list[Request]) -> bytes:
    """Encode requests for the log."""
    return b"".join(_REQUEST.pack(*request) for request in requests)


def read_requests(log: Path) -> Iterator[Request]:
    """Read a log, up to the last whole entry."""
    data = log.read_bytes()
    whole = len(data) // _REQUEST.size * _REQUEST.size
    return map(Request._make, _REQUEST.iter_unpack(data[:whole]))
