"""Numbers in registers: how the bytes of a register block become values, all of a block in one go.

Orders name the bytes of a 32-bit value, A being the highest, as they come over the wire:

    ABCD  the standard: high byte first, high register first
    CDAB  low register first, high byte first in each        (the order of the registers is turned)
    BADC  high register first, low byte first in each        (the two bytes of each register are turned)
    DCBA  low register first, low byte first                 (both)

The same two turns are meant for values of four registers (CDAB: the last register holds the highest 16 bits),
of one register (only the bytes can be turned) and for text.

A float32 becomes the Python float with the fewest digits that is still that float32: 42 26 CC CD is 41.7, not
41.70000076293945. A scaled integer becomes the float nearest to the exact product: 3 x 0.1 is 0.3.

`datetime` is six registers, year, month, day, hour, minute, second, and becomes text: "2017-08-26 13:44:10".
"""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from itertools import compress
from math import frexp, isfinite
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from drivers.sample import Value

    Finish = Callable[[Any], Value]

ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")
_STRING, _TIME = "string", "datetime"
_NO_NUMBER = frozenset({_STRING, _TIME})
_CODES = {
    "u16": ("H", 1),
    "i16": ("h", 1),
    "u32": ("I", 2),
    "i32": ("i", 2),
    "u64": ("Q", 4),
    "i64": ("q", 4),
    "float32": ("f", 2),
    "float64": ("d", 4),
    "bcd16": ("H", 1),
    "bcd32": ("I", 2),
    "bit": ("H", 1),
}
_TIME_FIELDS = Struct(">6H")
FORMATS = (*_CODES, _STRING, _TIME)
WHOLE = ("u16", "i16", "u32", "i32", "u64", "i64", "bcd16", "bcd32")
MASKED = ("u16", "u32", "u64")
_DIGITS = {"float32": 9, "float64": 15}
_BLOCK_BYTES = 256


class Number(NamedTuple):
    """How one value lies in its registers, and what is made of it: raw x scale + offset.

    `bit` (0 the lowest) belongs to the format `bit`, `text_registers` to `string`. Of a number with a `mask` only
    the bits that are 1 there count, moved down. `sentinels` are raw values (masked, before scale and offset) that
    mean "no value".
    """

    format: str
    order: str = "ABCD"
    scale: float = 1
    offset: float = 0
    sentinels: tuple[float, ...] = ()
    bit: int = 0
    text_registers: int = 0
    mask: int = 0

    @property
    def registers(self) -> int:
        """How many registers it fills."""
        if self.format in _NO_NUMBER:
            return 6 if self.format == _TIME else self.text_registers
        return _CODES[self.format][1]

    @property
    def has_file_order(self) -> bool:
        """Whether the order of a whole profile is meant for it: not for single registers and text."""
        return self.registers > 1 and self.format not in _NO_NUMBER

    @property
    def code(self) -> str:
        """Its letter for `struct`, once its bytes are in the standard order."""
        return f"{2 * self.registers}s" if self.format in _NO_NUMBER else _CODES[self.format][0]

    def places(self, register: int) -> list[int]:
        """Where in a block its bytes are, highest first, if it begins at that register of the block."""
        words = range(register, register + self.registers)
        turned = (1, 0) if self.order in {"BADC", "DCBA"} else (0, 1)
        return [
            2 * word + byte for word in (words[::-1] if self.order in {"CDAB", "DCBA"} else words) for byte in turned
        ]


class Decoder:
    """Decodes the numbers of one block, given as pairs of register within the block and Number."""

    def __init__(self, numbers: Sequence[tuple[int, Number]]) -> None:
        ranked = sorted(enumerate(numbers), key=lambda item: item[1][1].format != "float32")
        order = [index for index, _ in ranked]
        ordered = [number for _, (_, number) in ranked]
        self._floats = sum(number.format == "float32" for number in ordered)
        self._places = bytes(place for _, (register, number) in ranked for place in number.places(register))
        self._struct = Struct(">" + "".join(number.code for number in ordered))
        self._finish = [(index, step) for index, number in enumerate(ordered) if (step := finish(number))]
        self._back = [] if order == sorted(order) else sorted(range(len(order)), key=order.__getitem__)

    def __call__(self, data: bytes) -> list[Value]:
        """Give the values in the order of the numbers; None where there is none (NaN, a sentinel, bad BCD).

        `data` are the bytes of the whole block, at most 250.
        """
        # The block serves as the table of a translation, so that one call picks all bytes in their order.
        picked = self._places.translate(data.ljust(_BLOCK_BYTES, b"\0"))
        found = self._struct.unpack(picked)
        values: list[Value] = [*shortest(found[: self._floats]), *found[self._floats :]]
        for index, step in self._finish:
            if values[index] is not None:
                values[index] = step(values[index])
        return [values[index] for index in self._back] if self._back else values


def finish(number: Number) -> Finish | None:
    """Give what makes the value of a raw number (a float32: of its shortest form); None: it is the value."""
    steps = [step for step in (_meaning(number), _sentinel(number), _scaling(number)) if step]
    if len(steps) < 2:
        return steps[0] if steps else None

    def all_steps(value: Any) -> Value:
        for step in steps:
            if value is None:
                return None
            value = step(value)
        return value  # type: ignore[no-any-return]

    return all_steps


def _meaning(number: Number) -> Finish | None:
    meanings: dict[str, Finish] = {
        "bcd16": _bcd,
        "bcd32": _bcd,
        "float64": lambda value: value if isfinite(value) else None,
        "bit": lambda value: value >> number.bit & 1,
        _STRING: _text,
        _TIME: _time,
    }
    return _masked(number.mask) if number.mask else meanings.get(number.format)


def _masked(mask: int) -> Finish:
    down = (mask & -mask).bit_length() - 1
    return lambda value: (value & mask) >> down


def _time(value: bytes) -> str | None:
    year, month, day, hour, minute, second = _TIME_FIELDS.unpack(value)
    try:
        on = date(year, month, day).isoformat()
    except ValueError:
        return None
    return f"{on} {hour:02}:{minute:02}:{second:02}" if hour < 24 and minute < 60 and second < 60 else None


def _bcd(value: int) -> int | None:
    digits = f"{value:x}"
    return int(digits) if digits.isdecimal() else None


def _text(value: bytes) -> str:
    text = value.partition(b"\0")[0].decode("utf-8", "replace")
    return "".join(filter(str.isprintable, text)).strip()


def _sentinel(number: Number) -> Finish | None:
    if not number.sentinels:
        return None
    narrow = number.format == "float32"
    sentinels = frozenset(shortest(map(_as_float32, number.sentinels)) if narrow else number.sentinels)
    return lambda value: None if value in sentinels else value


def _scaling(number: Number) -> Finish | None:
    if (number.scale == 1 and number.offset == 0) or number.format in _NO_NUMBER | {"bit"}:
        return None
    if number.format in _DIGITS:
        return _float_scaling(number.scale, number.offset, _DIGITS[number.format])
    scale, offset = Fraction(str(number.scale)), Fraction(str(number.offset))
    below = scale.denominator * offset.denominator
    times, plus = int(scale * below), int(offset * below)
    if times % below == 0 and plus % below == 0:
        return lambda value: (value * times + plus) // below
    return lambda value: (value * times + plus) / below


def _float_scaling(scale: float, offset: float, digits: int) -> Finish:
    def scaled(value: float) -> float | None:
        product = float("%.*g" % (digits, value * scale + offset))  # noqa: UP031 (twice as fast as f"")
        return product if isfinite(product) else None

    return scaled


def _steps_of_ten() -> dict[int, tuple[float, float, float]]:
    """For each binary exponent: the finest power of ten coarser than the steps of float32 there; half a step.

    At most one of its multiples lies within half a step of a float32; if one does, no shorter number does.
    The next finer power always has one.
    """
    table = {}
    for exponent in range(-48, 24):
        step = 2.0 ** (exponent - 24)
        coarse = next(10.0**places for places in range(22, -1, -1) if 10.0**-places > step or places == 0)
        table[exponent] = (coarse, coarse * 10, step / 2)
    return table


_TEN = _steps_of_ten()


def shortest(values: Iterable[float]) -> list[float | None]:
    """Give each float32 with the fewest decimal digits that still mean it; None if it is not finite."""
    values = tuple(values)
    found: list[float | None] = []
    try:
        for value in values:
            coarse, fine, half = _TEN[frexp(value)[1]]
            short = round(value * coarse) / coarse
            found.append(short if -half <= short - value <= half else round(value * fine) / fine)
        floats = Struct(f"{len(values)}f")
        if floats.unpack(floats.pack(*found)) == values:
            return found
    except (KeyError, ValueError, OverflowError):
        return _shortest_of_some(values)
    return [_shortest(value) for value in values]


def _shortest_of_some(values: tuple[float, ...]) -> list[float | None]:
    """Do the same where some are NaN, infinite, very small or very large, and are taken one by one."""
    tame = [isfinite(value) and frexp(value)[1] in _TEN for value in values]
    found = iter(shortest(compress(values, tame)))
    return [next(found) if is_tame else _shortest(value) for value, is_tame in zip(values, tame, strict=True)]


def _shortest(value: float) -> float | None:
    if not isfinite(value):
        return None
    least = 6 if abs(value) >= _LEAST_NORMAL else 1  # below, a float32 holds fewer digits the smaller it is
    tries = (float("%.*g" % (digits, value)) for digits in range(least, 9))  # noqa: UP031 (as above)
    return next((short for short in tries if _as_float32(short) == value), float(f"{value:.9g}"))


def _as_float32(value: float) -> float:
    try:
        return float(_FLOAT32.unpack(_FLOAT32.pack(value))[0])
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


_FLOAT32 = Struct("f")
_LEAST_NORMAL = 2.0**-126
