"""Decoding turned round: what stands in registers for a value; and what must be read from them, worked out apart.

Nothing of this is shared with `drivers.number`, whose answers it is held against.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drivers.number import Number

    Raw = int | float | str

_CODES = {
    "u16": "H", "i16": "h", "u32": "I", "i32": "i", "u64": "Q", "i64": "q",
    "float32": "f", "float64": "d", "bcd16": "H", "bcd32": "I", "bit": "H",
}  # fmt: skip
_FLOATS = ("float32", "float64")


def raw_of(number: Number, value: float) -> Raw:
    """Give the raw number nearest to a value that is neither out of bounds nor a sentinel; a time is left as it is."""
    if number.format == "string":
        return "SIM-1"
    if number.format == "datetime":
        return value
    if number.format == "bit":
        return int(value) & 1
    raw = (value - number.offset) / number.scale
    if number.format in _FLOATS:
        return raw if raw not in number.sentinels else raw + 0.5
    low, high = _bounds(number)
    whole = min(max(round(raw), low), high)
    while whole in number.sentinels:
        whole += 1 if whole < high else -1
    return whole


def words_of(number: Number, raw: Raw, before: bytes) -> bytes:
    """Give the bytes of its registers; bits and parts of a number leave the others as they were `before`."""
    if number.format == "string":
        data = str(raw).encode().ljust(len(before), b"\0")[: len(before)]
    elif number.format == "datetime":
        data = struct.pack(">6H", *datetime.fromtimestamp(float(raw), UTC).timetuple()[:6])
    elif mask := _mask(number):
        whole = int.from_bytes(_turned(before, number.order), "big")
        data = (whole & ~mask | int(raw) << _low(mask) & mask).to_bytes(len(before), "big")
    else:
        shown = int(str(raw), 16) if number.format.startswith("bcd") else raw
        data = struct.pack(f">{_CODES[number.format]}", shown)
    return _turned(data, number.order)


def value_in(number: Number, words: bytes) -> float | str:
    """Give the value that these registers mean."""
    data = _turned(words, number.order)
    if number.format == "string":
        return data.rstrip(b"\0").decode()
    if number.format == "datetime":
        return "{:04}-{:02}-{:02} {:02}:{:02}:{:02}".format(*struct.unpack(">6H", data))
    (raw,) = struct.unpack(f">{_CODES[number.format]}", data)
    if mask := _mask(number):
        raw = (raw & mask) >> _low(mask)
    if number.format == "bit":
        return int(raw)
    if number.format in _FLOATS:
        return _shown(raw, number)
    whole = int(f"{raw:x}") if number.format.startswith("bcd") else raw
    exact = whole * Fraction(str(number.scale)) + Fraction(str(number.offset))
    return int(exact) if exact.denominator == 1 else float(exact)


def _shown(raw: float, number: Number) -> float:
    """Scale the decimal number that was meant: what a float32 adds to it beyond seven digits is noise."""
    meant = float(f"{raw:.7g}") if number.format == "float32" else raw
    return float(f"{meant * number.scale + number.offset:.9g}")


def fits(number: Number, raw: int) -> bool:
    """Say whether a whole number can be written."""
    low, high = _bounds(number)
    return low <= raw <= high


def _mask(number: Number) -> int:
    return 1 << number.bit if number.format == "bit" else number.mask


def _low(mask: int) -> int:
    """Give the number of the lowest bit of a mask."""
    return f"{mask:b}"[::-1].index("1")


def _bounds(number: Number) -> tuple[int, int]:
    if number.mask:
        return 0, number.mask >> _low(number.mask)
    if number.format.startswith("bcd"):
        return 0, 10 ** (4 * number.registers) - 1
    bits = 16 * number.registers
    return (0, 2**bits - 1) if number.format.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _turned(data: bytes, order: str) -> bytes:
    """Turn registers, or the bytes in them, from the standard order to another or back: both are the same."""
    words = [data[place : place + 2] for place in range(0, len(data), 2)]
    if order in {"CDAB", "DCBA"}:
        words.reverse()
    return b"".join(word[::-1] if order in {"BADC", "DCBA"} else word for word in words)
