"""What becomes of answers on a bad line. Only damage that can be noticed: the rest looks like a value."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

_BABBLE = 40
_MBAP = range(2, 8)
"""Where in a Modbus TCP frame damage shows: protocol, length, unit, function. Its data has the sums of TCP."""

_CASE = 5
"""The bit that makes a small letter of a capital one: to many a protocol that is the same."""


class Sum(StrEnum):
    """How damage of an answer shows: by a checksum, by the head of Modbus TCP, or by its form alone."""

    CHECKSUM = "checksum"
    HEAD = "head"
    FORM = "form"


def damaged(data: bytes, shows_by: Sum, dice: random.Random) -> bytes:
    """Turn one bit where that shows; else lose the end in noise, or altogether where noise might mean something."""
    if not data:
        return data
    if shows_by is Sum.FORM:
        place = dice.randrange(len(data))
        return data[:place] + (_noise(len(data) - place, dice) if data.isascii() else b"")
    places = _MBAP if shows_by is Sum.HEAD and len(data) >= _MBAP.stop else range(len(data))
    turned, place = bytearray(data), dice.choice(places)
    bits = [bit for bit in range(8) if bit != _CASE or not data[place : place + 1].isalpha()]
    turned[place] ^= 1 << dice.choice(bits)
    return bytes(turned)


def babble(dice: random.Random) -> bytes:
    """Give bytes that mean nothing."""
    return dice.randbytes(_BABBLE)


def _noise(count: int, dice: random.Random) -> bytes:
    return bytes(dice.randrange(0x80, 0x100) for _ in range(count))
