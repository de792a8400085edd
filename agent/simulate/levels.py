"""Values that a simulated instrument might measure: plausible in size, moving slowly, never twice the same."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from drivers.sample import Channel

_BY_PARAMETER = {
    "SO2": (4.0, 2.5),
    "NO": (6.0, 5.0),
    "NO2": (18.0, 9.0),
    "NOx": (24.0, 12.0),
    "O3": (38.0, 22.0),
    "CO": (0.6, 0.3),
    "PM10": (48.0, 20.0),
    "PM2.5": (27.0, 12.0),
    "PM1": (15.0, 7.0),
    "primary_gas": (0.006, 0.004),
    "stability": (0.15, 0.05),
    "slope": (1.0, 0.01),
    "offset": (0.4, 0.2),
    "measure_reference_ratio": (1.19, 0.01),
    "value_1": (7.2, 0.3),
    "value_2": (6.8, 1.2),
    "value_3": (640.0, 40.0),
    "value_4": (18.0, 1.5),
    "wind_direction": (200.0, 120.0),
    "wind_speed": (3.2, 2.4),
}
_BY_UNIT = {
    "°C": (28.0, 3.0),
    "%": (55.0, 10.0),
    "hPa": (1013.0, 5.0),
    "kPa": (101.3, 0.5),
    "Pa": (101_300.0, 500.0),
    "inHg": (29.9, 0.2),
    "mmHg": (760.0, 4.0),
    "mV": (3200.0, 60.0),
    "Hz": (95_000.0, 800.0),
    "L/min": (0.7, 0.02),
    "mL/min": (700.0, 15.0),
}
_ANY = (50.0, 10.0)
_PERIOD_S = 180.0


def level(channel: Channel, of: str, at_s: float) -> float:
    """Give the value of a channel of the instrument `of` at a time, rounded as a display would."""
    middle, swing = _BY_PARAMETER.get(channel.parameter) or _BY_UNIT.get(channel.unit, _ANY)
    phase = crc32(f"{of}/{channel.name}".encode()) % 1000 / 1000
    turn = 2 * math.pi * (at_s / (_PERIOD_S * (0.5 + phase)) + phase)
    noise = random.gauss(0, 0.02)
    return float(f"{middle + swing * (0.8 * math.sin(turn) + 0.15 * math.sin(7 * turn) + noise):.4g}")
