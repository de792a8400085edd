"""Every form that a number may have in registers, and which of them could be a value."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from drivers.number import ORDERS, Decoder, Number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drivers.sample import Value

LEAST, MOST = 1e-6, 1e8
"""What a number of several registers is taken for: values are no smaller and no larger. Signed ones are shown where
they are negative, for else they are what the unsigned ones are."""
SCALES = (1, 0.1, 0.01, 0.001, 10, 100)
_NEAR = Decimal("0.01")
_ONE = ("u16", "i16", "bcd16")
_TWO = ("u32", "i32", "float32", "bcd32")
_FOUR = ("float64",)
_TEXT = "string"
_LETTERS_LEAST = 2


class Form(NamedTuple):
    """One way to read registers."""

    format: str
    order: str = "ABCD"
    registers: int = 1


class Reading(NamedTuple):
    """A row of the table. `base` is the number that the manual gives to address 0."""

    number: int
    table: str
    base: int
    form: Form
    value: Value

    @property
    def shown(self) -> str:
        """Write the value."""
        return f"{self.value:.7g}" if isinstance(self.value, float) else str(self.value)


def forms(most: int) -> list[Form]:
    """List all forms of at most so many registers, always in one order, so that a row keeps its number."""
    found = [Form(name, order) for name in _ONE for order in ("ABCD", "BADC")]
    found += [Form(name, order, 2) for name in _TWO for order in ORDERS]
    found += [Form(name, order, 4) for name in _FOUR for order in ORDERS]
    found += [Form(_TEXT, order, most) for order in ("ABCD", "BADC")]
    return [form for form in found if form.registers <= most]


def readings(number: int, table: str, base: int, form: Form, data: bytes) -> Iterator[Reading]:
    """Give the row of a form, if it could be a value."""
    registers = len(data) // 2 if form.format == _TEXT else form.registers
    form = form._replace(registers=registers)
    if not 0 < 2 * registers <= len(data):
        return
    made = Number(form.format, order=form.order, text_registers=registers if form.format == _TEXT else 0)
    (value,) = Decoder([(0, made)])(data)
    if _is_plausible(value, form):
        yield Reading(number, table, base, form, value)


def marked(row: Reading, display: str | None) -> float | None:
    """Give the scale with which a reading is what the display shows, None if there is none."""
    if display is None or row.value is None or isinstance(row.value, str):
        return None
    shown = Decimal(display)
    digit = Decimal(1).scaleb(int(shown.as_tuple().exponent))
    most = max(abs(shown) * _NEAR, digit)
    near = ((abs(Decimal(str(row.value)) * Decimal(str(scale)) - shown), scale) for scale in SCALES)
    return next((scale for distance, scale in near if distance <= most), None)


def _is_plausible(value: Value, form: Form) -> bool:
    if isinstance(value, str):
        return len(value) >= _LETTERS_LEAST and value.isascii()
    if value is None or abs(value) > MOST:
        return False
    if form.format in _ONE:
        return form.format == "u16" or (value < 0 if form.format == "i16" else value > 0)
    return value < 0 if form.format == "i32" else LEAST <= abs(value) <= MOST
