"""Simulated instruments that know what they said: every answer could come from one request of one instrument only.

`mood` says how an instrument behaves. What a liar says has numbers of its own, which must never arrive.
"""

from __future__ import annotations

import os
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

from bench.truth import channel_names, instrument_name, is_right, registers
from drivers.checksum import crc16, sum16, xor8

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    Values = Mapping[str, float | str | None]

TIMEOUT_S = 0.5
CHANNELS = 6
GOOD = "good"
LIES = ("sum", "unit", "length", "late", "neighbour")
MOODS = (GOOD, "silent", "slow", "babble", *LIES)


class Said(NamedTuple):
    """One answer: when (UTC by the true clock, and monotonic) it was asked for, and whether it must never be believed.

    `is_late`: it comes when the question has been given up, but a machine that stands still may not have noticed.
    """

    at_s: float
    moment_s: float
    is_lie: bool
    is_late: bool = False


class Piece(NamedTuple):
    """Bytes to send after a time in seconds."""

    after_s: float
    data: bytes


class Instrument:
    """What all have in common: a number for each answer and the memory of it. `place` is its number among all."""

    framer = "none"

    def __init__(self, place: int, address: int = 1) -> None:
        self.place, self.address = place, address
        self.name = instrument_name(place)
        self.mood = GOOD
        self.said: dict[int, Said] = {}

    def next_number(self) -> int:
        """Begin another answer."""
        number = len(self.said) + 1
        self.said[number] = Said(time.time(), time.monotonic(), self.mood in LIES, self.mood == "late")
        return number

    def found(self, values: Values) -> int | None:
        """Give the number of the answer that these values are, None if nobody ever said them."""
        try:
            number = self.number(values)
        except (KeyError, TypeError, ValueError):
            return None
        return number if number in self.said and self.is_right(values, number) else None

    def number(self, values: Values) -> int:
        """Read the number out of published values."""
        raise NotImplementedError

    def is_right(self, values: Values, number: int) -> bool:
        """Say whether every value is what was said under that number."""
        raise NotImplementedError

    def spoilt(self, answer: bytes) -> list[Piece]:
        """Give an answer as the mood will have it."""
        if self.mood == "silent":
            return []
        if self.mood == "babble":
            return [Piece(0.02 * turn, os.urandom(40)) for turn in range(20)]
        if self.mood == "slow":
            third = len(answer) // 3
            pieces = (answer[:third], answer[third : 2 * third], answer[2 * third :])
            return [Piece(TIMEOUT_S * 0.25 * turn, piece) for turn, piece in enumerate(pieces)]
        return [Piece(TIMEOUT_S + 0.15 if self.mood == "late" else 0.0, answer)]


class Modbus(Instrument):
    """Float32 registers as `bench.truth` has them, over Modbus TCP or RTU."""

    def __init__(self, place: int, framer: str, address: int = 1) -> None:
        super().__init__(place, address)
        self.framer = framer

    def config(self) -> str:
        """Give what stands in the instrument's file."""
        return f'driver = "bench"\naddress = {self.address}\n'

    def number(self, values: Values) -> int:
        """See Instrument."""
        return int(values["c00"])  # type: ignore[arg-type]

    def is_right(self, values: Values, number: int) -> bool:
        """See Instrument."""
        del number
        return is_right(self.place, dict(values))  # type: ignore[arg-type]

    def answer(self, request: bytes) -> list[Piece]:
        """Answer a whole frame for this unit."""
        pdu = request[7:] if self.framer == "tcp" else request[1:-2]
        data = registers(self.place, self.next_number(), CHANNELS)
        start, count = struct.unpack(">HH", pdu[1:5])
        data = data[2 * start : 2 * (start + count)]
        data = data[:-2] if self.mood == "length" else data
        unit = self.address + (self.mood in {"unit", "neighbour"})
        body = bytes([unit, pdu[0], len(data)]) + data
        if self.framer == "rtu":
            return self.spoilt(body + struct.pack("<H", crc16(body) ^ (self.mood == "sum")))
        transaction = struct.unpack(">H", request[:2])[0] ^ (self.mood == "sum")
        return self.spoilt(struct.pack(">HHH", transaction, 0, len(body)) + body)


class Ozone(Instrument):
    """A Thermo 49i over C-Link, with a checksum."""

    words = ("o3", "cellai", "cellbi", "bncht", "lmpt", "o3lt", "flowa", "flowb", "pres")
    names = ("o3", "cell_a_intensity", "cell_b_intensity", "bench_temperature", "lamp_temperature")

    def config(self) -> str:
        """Give what stands in the instrument's file."""
        channels = ", ".join(f'"{name}"' for name in self.names)
        options = '[options]\nmodel = "49i"\nchecksum = "required"\n'
        return f'driver = "thermo_c_link"\naddress = 49\nchannels = [{channels}]\n{options}'

    def number(self, values: Values) -> int:
        """See Instrument."""
        return round(float(values["o3"]) * 1000) >> 4  # type: ignore[arg-type]

    def is_right(self, values: Values, number: int) -> bool:
        """See Instrument."""
        return [values[name] for name in self.names] == [(number * 16 + place) / 1000 for place in range(5)]

    def answer(self, request: bytes) -> list[Piece]:
        """Answer a command from its prefix byte to CR."""
        number = self.next_number()
        prefix = request[:1] if self.mood not in {"unit", "neighbour"} else b"\x80"
        del prefix  # the answer does not name the instrument
        shown = self.words[:-1] if self.mood == "length" else self.words
        words = " ".join(f"{word} {(number * 16 + place) / 1000:.3f}" for place, word in enumerate(shown))
        moment = time.strftime("%H:%M %m-%d-%y", time.gmtime())
        text = f"lrec\n{moment}  flags C000000 {words}*".encode()
        wrong = self.mood in {"sum", "unit", "neighbour"}
        return self.spoilt(text + f"\nsum {sum16(text) ^ wrong:04x}\r".encode())


class Wind(Instrument):
    """A WindSonic that talks unasked once a second; its speed is the number of the message."""

    def config(self) -> str:
        """Give what stands in the instrument's file."""
        return 'driver = "gill_windsonic"\n'

    def number(self, values: Values) -> int:
        """See Instrument."""
        return round(float(values["wind_speed"]) * 100)  # type: ignore[arg-type]

    def is_right(self, values: Values, number: int) -> bool:
        """See Instrument."""
        return values == {"wind_direction": number * 7 % 360, "wind_speed": number / 100}

    def message(self) -> list[Piece]:
        """Give the next message."""
        number = self.next_number()
        node = "R" if self.mood in {"unit", "neighbour"} else "Q"
        unit = "N" if self.mood == "length" else "M"
        text = f"{node},{number * 7 % 360:03d},{number / 100:06.2f},{unit},00,".encode()
        total = xor8(text) ^ (self.mood == "sum")
        return self.spoilt(b"\x02" + text + b"\x03" + f"{total:02X}\r\n".encode())


def lies_for(instrument: Instrument, chance: random.Random) -> str:
    """Choose how an instrument may lie; what comes late from one that talks unasked is no lie."""
    return chance.choice([lie for lie in LIES if lie != "late" or not isinstance(instrument, Wind)])


PROFILE_HEAD = '# Invented, see bench/truth.py\ntable = "input"\norder = "ABCD"\n\n[channels]\n'


def profile() -> str:
    """Write the profile of the Modbus instruments."""
    form = '{} = {{ parameter = "simulated", unit = "1", register = {}, format = "float32" }}\n'
    return PROFILE_HEAD + "".join(form.format(name, 2 * n) for n, name in enumerate(channel_names(CHANNELS)))
